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

func (l *eventLog) delete(u *user, name string, expected int64, hard bool) *esproto.DeleteStreamCompleted {
	if name == allStream || !l.allowed(u, rightDelete, name) {
		return l.failedDelete(esproto.OperationResult_AccessDenied, l.facts.deniedText, -1)
	}
	// The event of a delete has a new id, so that a repeated delete is never recognised.
	fresh := newGUID()
	d := l.decide(name, expected, func(i int) (esproto.GUID, bool) { return fresh, i == 0 })
	switch {
	case d.kind == decideDeleted:
		return l.failedDelete(esproto.OperationResult_StreamDeleted, textDeleted, -1)
	case d.kind == decideWrong, !hard && l.nothingToDelete(name):
		return l.failedDelete(esproto.OperationResult_WrongExpectedVersion, textWrongVersion, d.current)
	}
	var r *record
	current := esproto.DeletedStream - 1
	if hard {
		r = l.newRecord(l.streamFor(name), esproto.DeletedStream, &event{id: fresh, typ: tombstoneType}, l.ticks())
		l.commit([]*record{r})
	} else {
		l.streamFor(name)
		r = l.systemAppend("$$"+name, metadataType, true, softDeleteData, nil)
		current = r.number
	}
	reply := &esproto.DeleteStreamCompleted{
		Result:          esproto.OperationResult_Success.Enum(),
		PreparePosition: proto.Int64(r.prepare),
		CommitPosition:  proto.Int64(r.commit),
	}
	if l.facts.deleteTellsVersion {
		reply.CurrentVersion = proto.Int64(current)
	}
	return reply
}

// nothingToDelete reports whether a soft delete is refused because the stream never existed.
func (l *eventLog) nothingToDelete(name string) bool {
	if !l.facts.deleteNeedsStream {
		return false
	}
	s := l.stream(name)
	return (s == nil || s.last() < 0) && !l.hasMetadata(name)
}

func (l *eventLog) failedDelete(
	result esproto.OperationResult, text string, current int64,
) *esproto.DeleteStreamCompleted {
	reply := &esproto.DeleteStreamCompleted{
		Result: result.Enum(), Message: proto.String(text), PreparePosition: proto.Int64(-1),
		CommitPosition: proto.Int64(-1),
	}
	if l.facts.deleteTellsVersion {
		reply.CurrentVersion = proto.Int64(current)
	}
	return reply
}
