package estest

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

func (c *caller) transactionStart(f *frame) error {
	var m esproto.TransactionStart
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	name, expected := m.GetEventStreamId(), m.GetExpectedVersion()
	if err := checkWrite(name, expected, esproto.ExpectAny); err != nil {
		return err
	}
	id, result := c.core.log.BeginTransaction(f.user, name, expected)
	reply := &esproto.TransactionStartCompleted{TransactionId: &id, Result: &result}
	if result != esproto.OperationResult_Success {
		reply.Message = proto.String(c.core.persona.refusalOf(result))
	}
	c.reply(esproto.CmdTransactionStartCompleted, f.id, reply)
	return nil
}

func (c *caller) transactionWrite(f *frame) error {
	var m esproto.TransactionWrite
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	if m.GetTransactionId() < 0 {
		return errors.New("the transaction id is negative")
	}
	views := make([]esproto.NewEventView, len(m.GetEvents()))
	for i, e := range m.GetEvents() {
		views[i] = esproto.NewEventView{EventID: e.GetEventId(), EventType: e.GetEventType(),
			DataContentType: e.GetDataContentType(), Data: e.GetData(), Metadata: e.GetMetadata()}
	}
	events, err := c.core.persona.checkEvents(views, nil)
	if err != nil {
		return err
	}
	result := c.core.log.WriteTransaction(f.user, m.GetTransactionId(), events)
	reply := &esproto.TransactionWriteCompleted{TransactionId: proto.Int64(m.GetTransactionId()), Result: &result}
	if result != esproto.OperationResult_Success {
		reply.Message = proto.String(c.core.persona.refusalOf(result))
	}
	c.reply(esproto.CmdTransactionWriteCompleted, f.id, reply)
	return nil
}

func (c *caller) transactionCommit(f *frame) error {
	var m esproto.TransactionCommit
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	if m.GetTransactionId() < 0 {
		return errors.New("the transaction id is negative")
	}
	id := m.GetTransactionId()
	c.reply(esproto.CmdTransactionCommitCompleted, f.id,
		c.core.persona.commitReply(id, c.core.log.CommitTransaction(f.user, id)))
	return nil
}

// commitReply returns the reply to the commit of a transaction.
func (p *persona) commitReply(id int64, o eventlog.Outcome) *esproto.TransactionCommitCompleted {
	if o.Result != esproto.OperationResult_Success {
		o.Prepare, o.Commit = 0, 0
	}
	return &esproto.TransactionCommitCompleted{
		TransactionId: &id, Result: &o.Result, Message: proto.String(p.refusalOf(o.Result)),
		FirstEventNumber: &o.First, LastEventNumber: &o.Last, PreparePosition: &o.Prepare, CommitPosition: &o.Commit,
	}
}
