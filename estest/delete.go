package estest

import (
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

func (c *caller) deleteStream(f *frame) error {
	var m esproto.DeleteStream
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	least := esproto.ExpectAny
	if c.core.persona.deleteMayExpectStream {
		least = esproto.ExpectStreamExists
	}
	if err := checkWrite(m.GetEventStreamId(), m.GetExpectedVersion(), least); err != nil {
		return err
	}
	o := c.core.log.Delete(f.user, m.GetEventStreamId(), m.GetExpectedVersion(), m.GetHardDelete())
	c.reply(esproto.CmdDeleteStreamCompleted, f.id, c.core.persona.deleteReply(o))
	return nil
}

// deleteReply returns the reply to a delete. It has the number of the event that deletes; after a hard delete, the
// number before that.
func (p *persona) deleteReply(o eventlog.Outcome) *esproto.DeleteStreamCompleted {
	reply := &esproto.DeleteStreamCompleted{
		Result: o.Result.Enum(), PreparePosition: proto.Int64(o.Prepare), CommitPosition: proto.Int64(o.Commit),
	}
	current := min(o.Last, esproto.DeletedStream-1)
	if o.Result != esproto.OperationResult_Success {
		reply.Message, current = proto.String(p.refusalOf(o.Result)), o.Current
	}
	if p.deleteTellsVersion {
		reply.CurrentVersion = proto.Int64(current)
	}
	return reply
}
