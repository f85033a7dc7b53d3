package esclient

import (
	"context"
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// LastEvent stands for the number of a stream's last event in [Client.ReadEvent].
const LastEvent int64 = -1

// ReadEventOptions are the options of [Client.ReadEvent].
type ReadEventOptions struct {
	// ResolveLinks reads the target of a link event instead of the link; see Event.Link.
	ResolveLinks bool
}

// ReadEvent reads one event of a stream, by its number from 0 on, or [LastEvent]. The error is [ErrEventNotFound] if
// the stream does not have the event, or has it no longer because of its metadata. Other errors are
// [ErrStreamNotFound], [ErrStreamDeleted], [ErrAccessDenied] and [ErrInvalidArgument]. A metadata stream without an
// event, of a stream that exists, is ErrEventNotFound.
func (c *Client) ReadEvent(ctx context.Context, stream string, number int64, opts ReadEventOptions) (*Event, error) {
	if err := validateStream(stream, "ReadAll"); err != nil {
		return nil, err
	}
	if number < LastEvent {
		return nil, &ArgumentError{Argument: "number", Reason: fmt.Sprintf("%d is no event number", number)}
	}
	op := &readEventOp{
		stream: stream, number: number, resolveLinks: opts.ResolveLinks, requireLeader: c.requireLeader(ctx),
	}
	if err := c.do(ctx, op, reading); err != nil {
		return nil, &OperationError{Operation: fmt.Sprintf("read event %d of", number), Stream: stream, Err: err}
	}
	e := new(Event)
	if e.fill(&op.reply.Event, UnknownPosition); opts.ResolveLinks {
		e.markUnresolved()
	}
	return e, nil
}

type readEventOp struct {
	stream        string
	number        int64
	resolveLinks  bool
	requireLeader bool
	reply         esproto.ReadEventCompletedView
}

func (o *readEventOp) Command() esproto.Command { return esproto.CmdReadEvent }

func (o *readEventOp) about() (stream, group string) { return o.stream, "" }

func (o *readEventOp) AppendPayload(b []byte) []byte {
	return esproto.AppendReadEvent(b, o.stream, o.number, o.resolveLinks, o.requireLeader)
}

func (o *readEventOp) Keeps(cmd esproto.Command) bool { return cmd == esproto.CmdReadEventCompleted }

func (o *readEventOp) Decode(cmd esproto.Command, payload []byte) error {
	if cmd != esproto.CmdReadEventCompleted {
		return unexpected(o, cmd, nil)
	}
	if err := o.reply.Decode(payload); err != nil {
		return unexpected(o, cmd, err)
	}
	switch o.reply.Result {
	case esproto.ReadEventCompleted_Success:
		if !o.reply.Event.HasEvent && !o.reply.Event.HasLink {
			return ErrEventNotFound // of a stream without metadata
		}
		return nil
	case esproto.ReadEventCompleted_NotFound:
		return ErrEventNotFound
	case esproto.ReadEventCompleted_NoStream:
		return ErrStreamNotFound
	case esproto.ReadEventCompleted_StreamDeleted:
		return ErrStreamDeleted
	case esproto.ReadEventCompleted_AccessDenied:
		return ErrAccessDenied
	default:
		return serverError(o.reply.Result, o.reply.Error)
	}
}
