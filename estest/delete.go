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
	c.reply(esproto.CmdDeleteStreamCompleted, f.id,
		c.core.delete(f.user, m.GetEventStreamId(), m.GetExpectedVersion(), m.GetHardDelete()))
	return nil
}

func (c *core) delete(u *user, name string, expected int64, hard bool) *esproto.DeleteStreamCompleted {
	if name == allStream || !c.allowed(u, rightDelete, name) {
		return c.failedDelete(esproto.OperationResult_AccessDenied, c.persona.deniedText, -1)
	}
	// The event of a delete has a new id, so that a repeated delete is never recognised.
	fresh := newGUID()
	d := c.decide(name, expected, func(i int) (esproto.GUID, bool) { return fresh, i == 0 })
	switch {
	case d.kind == decideDeleted:
		return c.failedDelete(esproto.OperationResult_StreamDeleted, textDeleted, -1)
	case d.kind == decideWrong, !hard && c.nothingToDelete(name):
		return c.failedDelete(esproto.OperationResult_WrongExpectedVersion, textWrongVersion, d.current)
	}
	var r *record
	current := esproto.DeletedStream - 1
	if hard {
		r = c.newRecord(c.streamFor(name), esproto.DeletedStream, &event{id: fresh, typ: tombstoneType}, c.ticks())
		c.commit([]*record{r})
	} else {
		c.streamFor(name)
		r = c.systemAppend("$$"+name, metadataType, true, softDeleteData, nil)
		current = r.number
	}
	reply := &esproto.DeleteStreamCompleted{
		Result:          esproto.OperationResult_Success.Enum(),
		PreparePosition: proto.Int64(r.prepare),
		CommitPosition:  proto.Int64(r.commit),
	}
	if c.persona.deleteTellsVersion {
		reply.CurrentVersion = proto.Int64(current)
	}
	return reply
}

// nothingToDelete reports whether a soft delete is refused because the stream never existed.
func (c *core) nothingToDelete(name string) bool {
	if !c.persona.deleteNeedsStream {
		return false
	}
	s := c.stream(name)
	return (s == nil || s.last() < 0) && !c.hasMetadata(name)
}

func (c *core) failedDelete(result esproto.OperationResult, text string, current int64) *esproto.DeleteStreamCompleted {
	reply := &esproto.DeleteStreamCompleted{
		Result: result.Enum(), Message: proto.String(text), PreparePosition: proto.Int64(-1),
		CommitPosition: proto.Int64(-1),
	}
	if c.persona.deleteTellsVersion {
		reply.CurrentVersion = proto.Int64(current)
	}
	return reply
}
