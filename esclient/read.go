package esclient

import (
	"context"
	"fmt"
	"iter"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// DefaultPageSize is how many events a read asks for at a time where nothing else is said.
const DefaultPageSize = 500

// MaxPageSize is the largest page that a server reads.
const MaxPageSize = esproto.MaxReadCount

// ReadOptions say what to read of a stream. The zero value reads all of it.
type ReadOptions struct {
	// From is the number of the first event to read.
	From int64
	// MaxCount ends the read after so many events; 0 reads to the end.
	MaxCount int64
	// PageSize is how many events are asked for at a time, 1 to MaxPageSize; 0 means DefaultPageSize.
	PageSize int
	// ResolveLinks reads the targets of link events instead of the links; see Event.Link.
	ResolveLinks bool
}

func (o *ReadOptions) validate() error {
	if o.From < 0 {
		return &ArgumentError{Argument: "ReadOptions.From", Reason: fmt.Sprintf("%d is negative", o.From)}
	}
	if o.MaxCount < 0 {
		return &ArgumentError{Argument: "ReadOptions.MaxCount", Reason: fmt.Sprintf("%d is negative", o.MaxCount)}
	}
	return validatePageSize("ReadOptions.PageSize", &o.PageSize)
}

func validatePageSize(argument string, n *int) error {
	if *n == 0 {
		*n = DefaultPageSize
	}
	if *n < 1 || *n > MaxPageSize {
		return &ArgumentError{Argument: argument, Reason: fmt.Sprintf("%d is not between 1 and %d", *n, MaxPageSize)}
	}
	return nil
}

// ReadStream reads a stream from its beginning to where its end is when the reading gets there. An error ends it, with a
// nil event: ErrStreamNotFound, ErrStreamDeleted, ErrAccessDenied, ErrInvalidArgument, or that of the context. Lost
// connections are made good inside: the read goes on where it was. Breaking out of the loop frees everything.
//
// The events of one page share memory; see Event.
func (c *Client) ReadStream(ctx context.Context, stream string, opts ReadOptions) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		if err := c.readStream(ctx, stream, opts, func(e *Event) bool { return yield(e, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

func (c *Client) readStream(ctx context.Context, stream string, opts ReadOptions, yield func(*Event) bool) error {
	if err := validateName("stream", stream); err != nil {
		return err
	}
	if err := opts.validate(); err != nil {
		return err
	}
	from, left := opts.From, opts.MaxCount
	for {
		count := opts.PageSize
		if opts.MaxCount > 0 {
			count = int(min(int64(count), left))
		}
		page, err := c.readStreamPage(ctx, stream, from, count, opts.ResolveLinks)
		if err != nil {
			return err
		}
		for i := range page.events {
			if !yield(&page.events[i]) {
				return nil
			}
		}
		left -= int64(len(page.events))
		if page.end || opts.MaxCount > 0 && left <= 0 {
			return nil
		}
		from = page.next
	}
}

// streamPage is a page of a stream, read forward.
type streamPage struct {
	events []Event
	next   int64 // where the next page begins
	last   int64 // the number of the stream's last event
	end    bool  // the page reached the end of the stream
}

func (c *Client) readStreamPage(ctx context.Context, stream string, from int64, count int, resolveLinks bool) (streamPage, error) {
	op := &readStreamOp{stream: stream, from: from, count: int32(count), resolveLinks: resolveLinks, requireLeader: !c.cfg.AllowFollower}
	err := c.do(ctx, op, readOnly)
	if err == nil {
		var page streamPage
		if page, err = op.page(); err == nil {
			return page, nil
		}
	}
	return streamPage{}, &OperationError{Operation: "read stream", Stream: stream, Err: err}
}

type readStreamOp struct {
	stream        string
	from          int64
	count         int32
	resolveLinks  bool
	requireLeader bool
	reply         esproto.PageView
}

func (o *readStreamOp) Command() esproto.Command { return esproto.CmdReadStreamEventsForward }

func (o *readStreamOp) about() (stream, group string) { return o.stream, "" }

func (o *readStreamOp) AppendPayload(b []byte) []byte {
	return esproto.AppendReadStreamEvents(b, o.stream, o.from, o.count, o.resolveLinks, o.requireLeader)
}

func (o *readStreamOp) Keeps(cmd esproto.Command) bool {
	return cmd == esproto.CmdReadStreamEventsForwardCompleted
}

// Decode looks at the page as a whole; page, which runs on the caller's goroutine, decodes the events.
func (o *readStreamOp) Decode(cmd esproto.Command, payload []byte) error {
	if cmd != esproto.CmdReadStreamEventsForwardCompleted {
		return &engine.UnexpectedReplyError{Request: o.Command(), Reply: cmd}
	}
	if err := o.reply.DecodeStream(payload); err != nil {
		return &engine.UnexpectedReplyError{Request: o.Command(), Reply: cmd, Err: err}
	}
	switch r := esproto.ReadStreamEventsCompleted_ReadStreamResult(o.reply.Result); r {
	case esproto.ReadStreamEventsCompleted_Success:
		return nil
	case esproto.ReadStreamEventsCompleted_NoStream:
		return ErrStreamNotFound
	case esproto.ReadStreamEventsCompleted_StreamDeleted:
		return ErrStreamDeleted
	case esproto.ReadStreamEventsCompleted_AccessDenied:
		return ErrAccessDenied
	default:
		return serverError(r, o.reply.Error)
	}
}

func (o *readStreamOp) page() (streamPage, error) {
	events, err := pageEvents(&o.reply, false)
	if err != nil {
		return streamPage{}, &engine.UnexpectedReplyError{Request: o.Command(), Reply: esproto.CmdReadStreamEventsForwardCompleted, Err: err}
	}
	if next := o.reply.NextEventNumber; !o.reply.IsEndOfStream && next <= o.from {
		return streamPage{}, fmt.Errorf("%w: a page from event %d says that the next one begins at %d", ErrServer, o.from, next)
	}
	return streamPage{events: events, next: o.reply.NextEventNumber, last: o.reply.LastEventNumber, end: o.reply.IsEndOfStream}, nil
}

func pageEvents(p *esproto.PageView, positions bool) ([]Event, error) {
	events := make([]Event, 0, p.Len)
	var v esproto.EventView
	for {
		more, err := p.NextEvent(&v)
		if err != nil || !more {
			return events, err
		}
		pos := UnknownPosition
		if positions {
			pos = Position{Commit: v.CommitPosition, Prepare: v.PreparePosition}
		}
		events = events[:len(events)+1]
		events[len(events)-1].fill(&v, pos)
	}
}
