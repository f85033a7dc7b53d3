package eventlog

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// transaction is a transaction of a client. Its id is the position of its start. Its events are in the log, and
// readers see them after the commit.
type transaction struct {
	stream    string
	expected  int64
	events    []Event
	positions []int64
	closed    bool // by a commit, even a failed one: later writes do not belong to it
}

// BeginTransaction begins a transaction for a user and returns its id. The user must have the right to write.
func (l *Log) BeginTransaction(u *User, name string, expected int64) (id int64, result esproto.OperationResult) {
	if !l.Allowed(u, RightWrite, name) {
		return -1, esproto.OperationResult_AccessDenied
	}
	id = l.takePlace(recordSize(name, "", 0))
	l.transact[id] = &transaction{stream: name, expected: expected}
	l.tell(Commit{})
	return id, esproto.OperationResult_Success
}

// mayWriteTransaction reports whether a user may write to the stream of a transaction. It is false without a
// transaction.
func (l *Log) mayWriteTransaction(u *User, t *transaction) bool {
	return t != nil && l.Allowed(u, RightWrite, t.stream)
}

// WriteTransaction adds events to a transaction. Some versions check the transaction and its user only at the commit.
func (l *Log) WriteTransaction(u *User, id int64, events []Event) esproto.OperationResult {
	t := l.transact[id]
	if l.facts.TransactionWriteIsChecked && !l.mayWriteTransaction(u, t) {
		return esproto.OperationResult_AccessDenied
	}
	if t != nil {
		t.write(l, events)
	}
	return esproto.OperationResult_Success
}

func (t *transaction) write(l *Log, events []Event) {
	for _, e := range events {
		pos := l.takePlace(recordSize(t.stream, e.Type, len(e.Data)+len(e.Metadata)))
		if !t.closed {
			t.events, t.positions = append(t.events, e), append(t.positions, pos)
		}
	}
	l.tell(Commit{})
}

// CommitTransaction shows the events of a transaction, if the stream has the version that the start expects. A second
// commit finds the events by their ids, as a repeated append does.
func (l *Log) CommitTransaction(u *User, id int64) Outcome {
	t := l.transact[id]
	if !l.mayWriteTransaction(u, t) {
		return NotWritten(esproto.OperationResult_AccessDenied, -1)
	}
	t.closed = true
	l.takePlace(recordSize(t.stream, "", 0))
	defer l.tell(Commit{})
	d := l.decide(t.stream, t.expected, idsOf(t.events))
	if o, ok := d.refusal(); ok {
		return o
	}
	o := Outcome{Current: -1}
	if d.kind == decideKnown {
		o.First, o.Last, o.Prepare = d.first, d.last, l.knownPosition(&d)
	} else {
		o.First, o.Last = d.current+1, d.current+int64(len(t.events))
		o.Prepare = l.finishTransaction(t, o.First)
	}
	o.Commit = o.Prepare
	return o
}

// finishTransaction shows the events of a transaction and returns the position of the commit, which all events share.
func (l *Log) finishTransaction(t *transaction, first int64) (commit int64) {
	commit = l.takePlace(commitRecordSize)
	s, revived := l.Stream(t.stream), l.revivedBy(t.stream)
	soft := s != nil && s.SoftDeleted()
	if len(t.events) == 0 {
		l.lastCommit = commit // every commit counts, even an empty one
	} else {
		s = l.streamFor(t.stream)
		recs, created := make([]*Record, len(t.events)), l.ticks()
		for i := range t.events {
			recs[i] = &Record{Prepare: t.positions[i], Created: created}
			l.encode(recs[i], s, &t.events[i], first+int64(i), commit)
		}
		l.commit(recs)
	}
	if soft {
		l.showFrom(s, first)
	}
	if revived != nil {
		l.showFrom(revived, revived.Last()+1)
	}
	return commit
}
