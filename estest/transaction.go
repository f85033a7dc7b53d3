package estest

import (
	"errors"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// transaction is one that was started. Its id is the position of its start; the events are in the log but not to be
// seen until the commit.
type transaction struct {
	stream    string
	expected  int64
	events    []event
	positions []int64
	closed    bool // by a commit, be it in vain: what is written later is not part of it
}

func (c *caller) transactionStart(f *frame) error {
	var m esproto.TransactionStart
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	name, expected := m.GetEventStreamId(), m.GetExpectedVersion()
	if err := checkWrite(name, expected, esproto.ExpectAny); err != nil {
		return err
	}
	reply := &esproto.TransactionStartCompleted{Result: esproto.OperationResult_Success.Enum()}
	if c.core.allowed(f.user, rightWrite, name) {
		id := c.core.takePlace(recordSize(name, "", 0))
		c.core.transact[id] = &transaction{stream: name, expected: expected}
		c.core.tell(commit{})
		reply.TransactionId = proto.Int64(id)
	} else {
		reply.TransactionId = proto.Int64(-1)
		reply.Result = esproto.OperationResult_AccessDenied.Enum()
		reply.Message = proto.String(c.core.persona.deniedText)
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
	reply := &esproto.TransactionWriteCompleted{
		TransactionId: proto.Int64(m.GetTransactionId()), Result: esproto.OperationResult_Success.Enum(),
	}
	t := c.core.transact[m.GetTransactionId()]
	switch {
	case c.core.persona.transactionWriteIsChecked && !c.core.mayWriteTransaction(f.user, t):
		reply.Result = esproto.OperationResult_AccessDenied.Enum()
		reply.Message = proto.String(c.core.persona.deniedText)
	case t != nil: // else the commit notices that there is none, or that it is another's
		c.core.writeTransaction(t, events)
	}
	c.reply(esproto.CmdTransactionWriteCompleted, f.id, reply)
	return nil
}

// mayWriteTransaction reports whether u may write to the stream of a transaction, nil if there is none.
func (l *eventLog) mayWriteTransaction(u *user, t *transaction) bool {
	return t != nil && l.allowed(u, rightWrite, t.stream)
}

func (l *eventLog) writeTransaction(t *transaction, events []event) {
	for _, e := range events {
		pos := l.takePlace(recordSize(t.stream, e.typ, len(e.data)+len(e.metadata)))
		if !t.closed {
			t.events, t.positions = append(t.events, e), append(t.positions, pos)
		}
	}
	l.tell(commit{})
}

func (c *caller) transactionCommit(f *frame) error {
	var m esproto.TransactionCommit
	if err := proto.Unmarshal(f.payload, &m); err != nil {
		return err
	}
	if m.GetTransactionId() < 0 {
		return errors.New("the transaction id is negative")
	}
	c.reply(esproto.CmdTransactionCommitCompleted, f.id, c.core.commitTransaction(f.user, m.GetTransactionId()))
	return nil
}

func (l *eventLog) commitTransaction(u *user, id int64) *esproto.TransactionCommitCompleted {
	t := l.transact[id]
	if !l.mayWriteTransaction(u, t) {
		return failedCommit(id, esproto.OperationResult_AccessDenied, l.facts.deniedText)
	}
	t.closed = true
	l.takePlace(recordSize(t.stream, "", 0))
	defer l.tell(commit{})
	d := l.decide(t.stream, t.expected, idsOf(t.events))
	var first, last, commit int64
	switch d.kind {
	case decideDeleted:
		return failedCommit(id, esproto.OperationResult_StreamDeleted, textDeleted)
	case decideWrong:
		return failedCommit(id, esproto.OperationResult_WrongExpectedVersion, textWrongVersion)
	case decideKnown:
		first, last, commit = d.first, d.last, l.knownPosition(&d)
	default:
		first, last = d.current+1, d.current+int64(len(t.events))
		commit = l.finishTransaction(t, first)
	}
	return &esproto.TransactionCommitCompleted{
		TransactionId: proto.Int64(id), Result: esproto.OperationResult_Success.Enum(), Message: proto.String(""),
		FirstEventNumber: proto.Int64(first), LastEventNumber: proto.Int64(last),
		PreparePosition: proto.Int64(commit), CommitPosition: proto.Int64(commit),
	}
}

func failedCommit(id int64, result esproto.OperationResult, text string) *esproto.TransactionCommitCompleted {
	return &esproto.TransactionCommitCompleted{
		TransactionId: proto.Int64(id), Result: result.Enum(), Message: proto.String(text),
		FirstEventNumber: proto.Int64(esproto.InvalidEventNumber),
		LastEventNumber:  proto.Int64(esproto.InvalidEventNumber), PreparePosition: proto.Int64(0),
		CommitPosition: proto.Int64(0),
	}
}

// finishTransaction makes the events of a transaction visible. They share the position of the commit, which it returns.
func (l *eventLog) finishTransaction(t *transaction, first int64) (commit int64) {
	commit = l.takePlace(commitRecordSize)
	s, revived := l.stream(t.stream), l.revivedBy(t.stream)
	soft := s != nil && s.softDeleted()
	if len(t.events) == 0 {
		l.lastCommit = commit // a commit counts, whatever it commits
	} else {
		s = l.streamFor(t.stream)
		recs, created := make([]*record, len(t.events)), l.ticks()
		for i := range t.events {
			e := &t.events[i]
			recs[i] = &record{stream: s, id: e.id, typ: e.typ, json: e.json, data: e.data, metadata: e.metadata,
				prepare: t.positions[i], created: created}
			l.encode(recs[i], first+int64(i), commit)
		}
		l.commit(recs)
	}
	if soft {
		l.showFrom(s, first)
	}
	if revived != nil {
		l.showFrom(revived, revived.last()+1)
	}
	return commit
}
