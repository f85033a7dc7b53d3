package estest

import (
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func (c *conn) deleteStream(f *frame) error {
	var m esproto.DeleteStream
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	if err := checkWrite(m.GetEventStreamId(), m.GetExpectedVersion(), esproto.ExpectAny); err != nil {
		return err
	}
	c.reply(esproto.CmdDeleteStreamCompleted, f.id, c.core.delete(f.user, m.GetEventStreamId(), m.GetExpectedVersion(), m.GetHardDelete()))
	return nil
}

func (c *core) delete(u *user, name string, expected int64, hard bool) *esproto.DeleteStreamCompleted {
	if name == allStream || !c.allowed(u, rightDelete, name) {
		return failedDelete(esproto.OperationResult_AccessDenied, textDenied)
	}
	// The event of a delete has a new id, so that a repeated delete is never recognised.
	fresh := newGUID()
	d := c.decide(name, expected, func(i int) (esproto.GUID, bool) { return fresh, i == 0 })
	switch d.kind {
	case decideDeleted:
		return failedDelete(esproto.OperationResult_StreamDeleted, textDeleted)
	case decideWrong:
		return failedDelete(esproto.OperationResult_WrongExpectedVersion, textWrongVersion)
	}
	var r *record
	if hard {
		r = c.newRecord(c.streamFor(name), esproto.DeletedStream, &event{id: fresh, typ: "$streamDeleted"})
		c.commit([]*record{r})
	} else {
		c.streamFor(name)
		r = c.systemAppend("$$"+name, metadataType, true, softDeleteData, nil)
	}
	return &esproto.DeleteStreamCompleted{
		Result:          esproto.OperationResult_Success.Enum(),
		PreparePosition: proto.Int64(r.prepare),
		CommitPosition:  proto.Int64(r.commit),
	}
}

func failedDelete(result esproto.OperationResult, text string) *esproto.DeleteStreamCompleted {
	return &esproto.DeleteStreamCompleted{
		Result: result.Enum(), Message: proto.String(text), PreparePosition: proto.Int64(-1), CommitPosition: proto.Int64(-1),
	}
}
