package esclient

import (
	"context"
	"fmt"
	"iter"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// DefaultPageSize is the default of PageSize in events.
const DefaultPageSize = 500

// MaxPageSize is the largest page that a server reads.
const MaxPageSize = 4096

// ReadOptions are the options of a read of a stream. The zero value reads the whole stream, from its first event to its
// last.
type ReadOptions struct {
	// From is where to begin: [FromNumber] or [AfterNumber]. The default is the first event, or the last one with
	// Backward.
	From Start
	// Backward reads from later events to earlier ones.
	Backward bool
	// MaxCount is how many events to read at most; 0 reads to the end.
	MaxCount int64
	// PageSize is how many events the client asks for at a time, 1 to [MaxPageSize]. 0 means [DefaultPageSize]. The
	// client asks for fewer if the events are so large that a frame might not hold a page; see Config.MaxFrameSize.
	PageSize int
	// ResolveLinks reads the targets of link events instead of the links; see Event.Link. Servers up to 5.0 answer
	// ErrAccessDenied if the user may not read the target of a link; later ones do not look at the rights on targets.
	ResolveLinks bool
}

func (o *ReadOptions) validate(stream string) error {
	if err := validateStream(stream, "ReadAll"); err != nil {
		return err
	}
	if err := o.From.validateRead("ReadOptions.From", stream, o.Backward); err != nil {
		return err
	}
	if o.MaxCount < 0 {
		return &ArgumentError{Argument: "ReadOptions.MaxCount", Reason: fmt.Sprintf("%d is negative", o.MaxCount)}
	}
	return validatePageSize("ReadOptions.PageSize", &o.PageSize)
}

// validateStream refuses a name that is not that of a single stream. instead is the method for all streams.
func validateStream(stream, instead string) error {
	if stream == AllStream {
		return &ArgumentError{Argument: "stream", Reason: AllStream + " is no single stream: use " + instead}
	}
	return validateName("stream", stream)
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

// ReadStream reads a stream: forward to its end at that time, or backward to its first event. An error ends the read,
// with a nil event: [ErrStreamNotFound], [ErrStreamDeleted], [ErrAccessDenied], [ErrInvalidArgument], or that of the
// context. If the connection is lost, the client goes on from the same place on the next one.
//
// The client asks for the next page while the caller consumes a page. So two pages are in memory at most. A break out
// of the loop frees both. The events of one page share memory; see [Event].
func (c *Client) ReadStream(ctx context.Context, stream string, opts ReadOptions) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		err := opts.validate(stream)
		if err == nil {
			err = c.readPages(ctx, c.readStreamOp(ctx, stream, opts), func(e *Event) bool { return yield(e, nil) })
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// StreamPage is a page of a stream.
type StreamPage struct {
	// Events are in the order of the read. There may be fewer events than the page size, or none, before the end:
	// events may be truncated or expired, or too large for one page.
	Events []Event
	// Next is the ReadOptions.From of the next page in the same direction. After the last page it is where the next
	// event will be.
	Next Start
	// EndOfStream is true if no event followed at the time of the read: the page has reached the end or, backward, the
	// first event.
	EndOfStream bool
	// LastEventNumber is the number of the stream's last event at the time of the read.
	LastEventNumber int64
}

// ReadStreamPage reads one page of a stream: opts.PageSize events, or opts.MaxCount if that is less. The errors are
// those of [Client.ReadStream]. To read the next page, set opts.From to the page's Next.
func (c *Client) ReadStreamPage(ctx context.Context, stream string, opts ReadOptions) (StreamPage, error) {
	if err := opts.validate(stream); err != nil {
		return StreamPage{}, err
	}
	return c.readStreamPage(ctx, c.readStreamOp(ctx, stream, opts))
}

func (c *Client) readStreamPage(ctx context.Context, op *readStreamOp) (StreamPage, error) {
	err := c.doPage(ctx, op)
	if err == nil {
		var page StreamPage
		if page, err = op.page(); err == nil {
			return page, nil
		}
	}
	return StreamPage{}, op.failed(err)
}

// readStreamOp reads one page of a stream. After turn it reads the next page.
type readStreamOp struct {
	pageRequest
	stream string
	from   int64 // -1 is the last event, reading backward
	passed bool  // backward from the first event: no event is left
	reply  esproto.PageView
}

// newReadStream makes a read forward, without limit.
func (c *Client) newReadStream(
	ctx context.Context, stream string, from int64, size pageSize, resolveLinks bool,
) *readStreamOp {
	return &readStreamOp{stream: stream, from: from, pageRequest: pageRequest{
		size: size, left: everything, resolveLinks: resolveLinks, requireLeader: c.requireLeader(ctx),
	}}
}

// readStreamOp makes a read from valid options.
func (c *Client) readStreamOp(ctx context.Context, stream string, opts ReadOptions) *readStreamOp {
	op := c.newReadStream(ctx, stream, 0, c.newPageSize(opts.PageSize), opts.ResolveLinks)
	op.limit(opts.MaxCount)
	op.backward = opts.Backward
	s := opts.From
	switch {
	case s.kind == startNumber && s.included:
		op.from = s.number
	case s.kind == startNumber && op.backward:
		op.from = max(s.number-1, 0)
		op.passed = s.number <= 0 // the stream is requested anyway, for errors and its last number
	case s.kind == startNumber:
		op.from = s.number + 1
	case op.backward:
		op.from = -1
	}
	return op
}

func (o *readStreamOp) Command() esproto.Command {
	if o.backward {
		return esproto.CmdReadStreamEventsBackward
	}
	return esproto.CmdReadStreamEventsForward
}

func (o *readStreamOp) completed() esproto.Command {
	if o.backward {
		return esproto.CmdReadStreamEventsBackwardCompleted
	}
	return esproto.CmdReadStreamEventsForwardCompleted
}

func (o *readStreamOp) about() (stream, group string) { return o.stream, "" }

func (o *readStreamOp) AppendPayload(b []byte) []byte {
	return esproto.AppendReadStreamEvents(b, o.stream, o.from, o.count(), o.resolveLinks, o.requireLeader)
}

func (o *readStreamOp) Keeps(cmd esproto.Command) bool { return cmd == o.completed() }

// Decode checks the page as a whole. page decodes the events, on the caller's goroutine.
func (o *readStreamOp) Decode(cmd esproto.Command, payload []byte) error {
	if cmd != o.completed() {
		return unexpected(o, cmd, nil)
	}
	o.received = len(payload)
	err := o.reply.DecodeStream(payload)
	if err == nil {
		err = o.accept(&o.reply)
	}
	if err != nil {
		return unexpected(o, cmd, err)
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

// page makes the page from the reply.
func (o *readStreamOp) page() (StreamPage, error) {
	events, err := pageEvents(&o.reply, false, o.resolveLinks)
	if err != nil {
		return StreamPage{}, unexpected(o, o.completed(), err)
	}
	o.size.settle(o.reply.Len, o.received)
	page := StreamPage{Events: events, EndOfStream: o.reply.IsEndOfStream, LastEventNumber: o.reply.LastEventNumber}
	switch next := o.reply.NextEventNumber; {
	case o.passed:
		page.Events, page.EndOfStream, page.Next = nil, true, AfterNumber(0)
	case o.backward && page.EndOfStream:
		page.Next = AfterNumber(0)
	case !page.EndOfStream && !o.progress(next):
		return StreamPage{}, fmt.Errorf("%w: the page after that of event %d begins at %d", ErrServer, o.from, next)
	default:
		page.Next = FromNumber(next)
	}
	return page, nil
}

func (o *readStreamOp) progress(next int64) bool {
	if o.backward {
		return next >= 0 && (next < o.from || o.from < 0)
	}
	return next > o.from
}

func (o *readStreamOp) turn() (events []Event, more bool, err error) {
	page, err := o.page()
	if err != nil {
		return nil, false, err
	}
	o.from = page.Next.number
	return page.Events, o.take(len(page.Events)) && !page.EndOfStream, nil
}

func (o *readStreamOp) failed(err error) error {
	return &OperationError{Operation: "read stream", Stream: o.stream, Err: err}
}
