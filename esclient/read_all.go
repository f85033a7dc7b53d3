package esclient

import (
	"context"
	"fmt"
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// AllStream is the log of all streams, for methods that take the name of a stream to subscribe to. Only administrators
// may read it, unless the server's settings say otherwise.
const AllStream = "$all"

// ReadAllOptions are the options of a read of the log of all streams. The zero value reads the whole log.
type ReadAllOptions struct {
	// From is where to begin: [FromPosition] or [AfterPosition]. The default is the first event, or the last one with
	// Backward.
	From Start
	// Backward reads from later events to earlier ones.
	Backward bool
	// MaxCount is how many events to read at most; 0 reads to the end.
	MaxCount int64
	// PageSize is how many events the client asks for at a time, 1 to [MaxPageSize]. 0 means [DefaultPageSize]. The
	// client asks for fewer if the events are large; see ReadOptions.PageSize.
	PageSize int
	// ResolveLinks reads the targets of link events instead of the links; see Event.Link.
	ResolveLinks bool
	// Filter, if not nil, picks the events to read.
	Filter *Filter
}

func (o *ReadAllOptions) validate() (err error) {
	if o.Filter, err = o.Filter.ready(AllStream); err != nil {
		return err
	}
	if err := o.From.validateRead("ReadAllOptions.From", AllStream, o.Backward); err != nil {
		return err
	}
	if o.MaxCount < 0 {
		return &ArgumentError{Argument: "ReadAllOptions.MaxCount", Reason: fmt.Sprintf("%d is negative", o.MaxCount)}
	}
	return validatePageSize("ReadAllOptions.PageSize", &o.PageSize)
}

// ReadAll reads the events of all streams in the order of the log, with their positions: forward to the end at that
// time, or backward to the beginning. The log also has the server's own events, metadata, links, deletions, and deleted
// events that are not scavenged yet. Errors and pages are as with [Client.ReadStream].
func (c *Client) ReadAll(ctx context.Context, opts ReadAllOptions) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		err := opts.validate()
		if err == nil {
			err = c.readPages(ctx, c.readAllOp(ctx, opts), func(e *Event) bool { return yield(e, nil) })
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// AllPage is a page of the log of all streams.
type AllPage struct {
	// Events are in the order of the read. There may be fewer events than the page size, or none, before the end; see
	// also StreamPage.Events.
	Events []Event
	// From is where the page begins in the log. For a read backward from the end it is the end of the log.
	From Position
	// Next is the ReadAllOptions.From of the next page in the same direction. After the last page it is where the next
	// event will be.
	Next Start
	// EndOfStream is true if no event followed at the time of the read. Without a filter only an empty page tells that.
	EndOfStream bool
}

// ReadAllPage reads one page of the log of all streams: up to opts.PageSize events, or opts.MaxCount if that is less.
// The errors are those of [Client.ReadAll]. To read the next page, set opts.From to the page's Next.
func (c *Client) ReadAllPage(ctx context.Context, opts ReadAllOptions) (AllPage, error) {
	if err := opts.validate(); err != nil {
		return AllPage{}, err
	}
	return c.readAllPage(ctx, c.readAllOp(ctx, opts))
}

func (c *Client) readAllPage(ctx context.Context, op *readAllOp) (AllPage, error) {
	err := c.doPage(ctx, op)
	if err == nil {
		var page AllPage
		if page, err = op.page(); err == nil {
			return page, nil
		}
	}
	return AllPage{}, op.failed(err)
}

// readAllOp reads one page of $all. After turn it reads the next page.
//
// The server's positions include their event if the read goes forward, and exclude it if the read goes backward. The
// other two cases take an extra step: a read forward drops the event when it comes, and a read backward first reads the
// event alone, forward.
type readAllOp struct {
	pageRequest
	from    Position
	without bool // the event at from is not wanted
	filter  *Filter
	here    *matcher // the filter of the client; nil for none
	looked  Position // of the last event of the page, before the client's filter; UnknownPosition for none
	reply   esproto.PageView
}

// newReadAll makes a read forward, without limit.
func (c *Client) newReadAll(ctx context.Context, from Position, size pageSize, resolveLinks bool) *readAllOp {
	return &readAllOp{from: from, pageRequest: pageRequest{
		size: size, left: everything, resolveLinks: resolveLinks, requireLeader: c.requireLeader(ctx),
	}}
}

// readAllOp makes a read from valid options.
func (c *Client) readAllOp(ctx context.Context, opts ReadAllOptions) *readAllOp {
	op := c.newReadAll(ctx, StartPosition, c.newPageSize(opts.PageSize), opts.ResolveLinks)
	op.limit(opts.MaxCount)
	op.backward, op.filter, op.here = opts.Backward, opts.Filter, opts.Filter.besideServer()
	switch s := opts.From; {
	case s.kind == startPosition:
		op.from, op.without, op.alone = s.position, !s.included && !op.backward, s.included && op.backward
	case op.backward:
		op.from = EndPosition
	}
	return op
}

func (o *readAllOp) forward() bool { return !o.backward || o.alone }

func (o *readAllOp) Command() esproto.Command {
	switch {
	case o.filter != nil && o.forward():
		return esproto.CmdFilteredReadAllEventsForward
	case o.filter != nil:
		return esproto.CmdFilteredReadAllEventsBackward
	case o.forward():
		return esproto.CmdReadAllEventsForward
	}
	return esproto.CmdReadAllEventsBackward
}

func (o *readAllOp) completed() esproto.Command {
	switch {
	case o.filter != nil && o.forward():
		return esproto.CmdFilteredReadAllEventsForwardCompleted
	case o.filter != nil:
		return esproto.CmdFilteredReadAllEventsBackwardCompleted
	}
	return o.plain()
}

// plain is the reply to a read without a filter. Servers also use it to deny a read with a filter.
func (o *readAllOp) plain() esproto.Command {
	if o.forward() {
		return esproto.CmdReadAllEventsForwardCompleted
	}
	return esproto.CmdReadAllEventsBackwardCompleted
}

func (o *readAllOp) about() (stream, group string) { return AllStream, "" }

func (o *readAllOp) AppendPayload(b []byte) []byte {
	count := o.count()
	if o.filter != nil {
		window := int32(o.filter.SearchWindow)
		if o.alone {
			window = 1
		}
		return o.filter.appendRead(b, o.from, count, window, &o.pageRequest)
	}
	return appendMessage(b, &esproto.ReadAllEvents{
		CommitPosition:  proto.Int64(o.from.Commit),
		PreparePosition: proto.Int64(o.from.Prepare),
		MaxCount:        proto.Int32(count),
		ResolveLinkTos:  proto.Bool(o.resolveLinks),
		RequireLeader:   proto.Bool(o.requireLeader),
	})
}

func (o *readAllOp) Keeps(cmd esproto.Command) bool { return cmd == o.completed() }

// Decode checks the page as a whole. page decodes the events, on the caller's goroutine.
func (o *readAllOp) Decode(cmd esproto.Command, payload []byte) error {
	if cmd != o.completed() && cmd != o.plain() {
		return unexpected(o, cmd, nil)
	}
	decode := o.reply.DecodeAll
	if cmd != o.plain() {
		decode = o.reply.DecodeFilteredAll
	}
	o.received = len(payload)
	err := decode(payload)
	if err == nil {
		err = o.accept(&o.reply)
	}
	if err != nil {
		return unexpected(o, cmd, err)
	}
	// The results of both replies have the same numbers.
	switch r := esproto.ReadAllEventsCompleted_ReadAllResult(o.reply.Result); r {
	case esproto.ReadAllEventsCompleted_Success:
		if cmd != o.completed() {
			return unexpected(o, cmd, nil)
		}
		return nil
	case esproto.ReadAllEventsCompleted_AccessDenied:
		return ErrAccessDenied
	default:
		return serverError(r, o.reply.Error)
	}
}

// page makes the page from the reply.
func (o *readAllOp) page() (AllPage, error) {
	events, err := pageEvents(&o.reply, true, o.resolveLinks)
	if err != nil {
		return AllPage{}, unexpected(o, o.completed(), err)
	}
	o.size.settle(o.reply.Len, o.received)
	page := AllPage{
		Events:      events,
		From:        Position{Commit: o.reply.CommitPosition, Prepare: o.reply.PreparePosition},
		EndOfStream: len(events) == 0,
	}
	if o.filter != nil {
		page.EndOfStream = o.reply.IsEndOfStream
	}
	next := Position{Commit: o.reply.NextCommit, Prepare: o.reply.NextPrepare}
	if !page.EndOfStream && !o.progress(next) {
		return AllPage{}, fmt.Errorf("%w: the page after the one from %v begins at %v", ErrServer, o.from, next)
	}
	if page.Next = FromPosition(next); o.backward {
		page.Next = AfterPosition(next)
	}
	at := len(events) > 0 && events[0].Position == o.from
	switch {
	case o.alone && at:
		page.Next, page.EndOfStream = AfterPosition(o.from), false
	case o.alone:
		page.Events, page.Next, page.EndOfStream = nil, AfterPosition(o.from), false
	case o.without && at:
		page.Events = events[1:]
	}
	if o.looked = UnknownPosition; len(page.Events) > 0 {
		o.looked = page.Events[len(page.Events)-1].Position
	}
	page.Events = o.here.pick(page.Events)
	return page, nil
}

func (o *readAllOp) progress(next Position) bool {
	if o.forward() {
		return next.Compare(o.from) > 0
	}
	return o.from == EndPosition || next.Compare(o.from) < 0
}

func (o *readAllOp) turn() (events []Event, more bool, err error) {
	page, err := o.page()
	if err != nil {
		return nil, false, err
	}
	o.from, o.without, o.alone = page.Next.position, false, false
	return page.Events, o.take(len(page.Events)) && !page.EndOfStream, nil
}

func (o *readAllOp) failed(err error) error {
	return &OperationError{Operation: "read stream", Stream: AllStream, Err: o.filter.explain(err)}
}
