package estest

import (
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
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
	o := c.core.log.delete(f.user, m.GetEventStreamId(), m.GetExpectedVersion(), m.GetHardDelete())
	c.reply(esproto.CmdDeleteStreamCompleted, f.id, c.core.persona.deleteReply(o))
	return nil
}

// deleteReply is the reply to a delete. It tells the number of the event that deletes, but of a tombstone the number
// before that.
func (p *persona) deleteReply(o outcome) *esproto.DeleteStreamCompleted {
	reply := &esproto.DeleteStreamCompleted{
		Result: o.result.Enum(), PreparePosition: proto.Int64(o.prepare), CommitPosition: proto.Int64(o.commit),
	}
	current := min(o.last, esproto.DeletedStream-1)
	if o.result != esproto.OperationResult_Success {
		reply.Message, current = proto.String(p.refusalOf(o.result)), o.current
	}
	if p.deleteTellsVersion {
		reply.CurrentVersion = proto.Int64(current)
	}
	return reply
}
