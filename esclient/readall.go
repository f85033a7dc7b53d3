package esclient

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// AllStream stands for the log of all streams where a method takes the name of a stream to subscribe to. Only
// administrators may read it, unless the server's settings say otherwise.
const AllStream = "$all"

// allPage is a page of $all, read forward.
type allPage struct {
	events []Event
	next   Position
}

func (c *Client) readAllPage(ctx context.Context, from Position, count int, resolveLinks bool) (allPage, error) {
	op := &readAllOp{from: from, count: int32(count), resolveLinks: resolveLinks, requireLeader: !c.cfg.AllowFollower}
	err := c.do(ctx, op, readOnly)
	if err == nil {
		var events []Event
		if events, err = pageEvents(&op.reply, true); err == nil {
			return allPage{events: events, next: Position{Commit: op.reply.NextCommit, Prepare: op.reply.NextPrepare}}, nil
		}
		err = &engine.UnexpectedReplyError{Request: op.Command(), Reply: esproto.CmdReadAllEventsForwardCompleted, Err: err}
	}
	return allPage{}, &OperationError{Operation: "read stream", Stream: AllStream, Err: err}
}

type readAllOp struct {
	from          Position
	count         int32
	resolveLinks  bool
	requireLeader bool
	reply         esproto.PageView
}

func (o *readAllOp) Command() esproto.Command { return esproto.CmdReadAllEventsForward }

func (o *readAllOp) about() (stream, group string) { return AllStream, "" }

func (o *readAllOp) AppendPayload(b []byte) []byte {
	return appendMessage(b, &esproto.ReadAllEvents{
		CommitPosition:  proto.Int64(o.from.Commit),
		PreparePosition: proto.Int64(o.from.Prepare),
		MaxCount:        proto.Int32(o.count),
		ResolveLinkTos:  proto.Bool(o.resolveLinks),
		RequireLeader:   proto.Bool(o.requireLeader),
	})
}

func (o *readAllOp) Keeps(cmd esproto.Command) bool {
	return cmd == esproto.CmdReadAllEventsForwardCompleted
}

func (o *readAllOp) Decode(cmd esproto.Command, payload []byte) error {
	if cmd != esproto.CmdReadAllEventsForwardCompleted {
		return &engine.UnexpectedReplyError{Request: o.Command(), Reply: cmd}
	}
	if err := o.reply.DecodeAll(payload); err != nil {
		return &engine.UnexpectedReplyError{Request: o.Command(), Reply: cmd, Err: err}
	}
	switch r := esproto.ReadAllEventsCompleted_ReadAllResult(o.reply.Result); r {
	case esproto.ReadAllEventsCompleted_Success:
		return nil
	case esproto.ReadAllEventsCompleted_AccessDenied:
		return ErrAccessDenied
	default:
		return serverError(r, o.reply.Error)
	}
}

// appendMessage encodes a message without a hot codec of its own.
func appendMessage(b []byte, m proto.Message) []byte {
	b, _ = proto.MarshalOptions{}.MarshalAppend(b, m) // fails only for messages with required fields, and ours have none
	return b
}
