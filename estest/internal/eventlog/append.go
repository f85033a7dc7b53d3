package eventlog

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// Outcome is what became of a write, a delete, or the commit of a transaction.
type Outcome struct {
	Result  esproto.OperationResult
	Current int64 // number of the stream's last event, if the expected version was wrong; else -1
	First   int64 // numbers of the events, old or new; of a delete, the last one is that of the event that deletes
	Last    int64
	Prepare int64 // position of the last event; -1 if a repeated write has none to tell
	Commit  int64
}

// NotWritten is the outcome of what was not done.
func NotWritten(result esproto.OperationResult, current int64) Outcome {
	return Outcome{
		Result: result, Current: current, First: esproto.InvalidEventNumber, Last: esproto.InvalidEventNumber,
		Prepare: -1, Commit: -1,
	}
}

// refusal returns why a write is not to be done; ok is false if it is to be done, or was done before.
func (d *decision) refusal() (o Outcome, ok bool) {
	switch d.kind {
	case decideDeleted:
		return NotWritten(esproto.OperationResult_StreamDeleted, -1), true
	case decideWrong:
		return NotWritten(esproto.OperationResult_WrongExpectedVersion, d.current), true
	}
	return o, false
}

// Append writes events to a stream for a user who expects a version of it. Events that the stream has already, by
// their ids, are not written again.
func (l *Log) Append(u *User, name string, expected int64, events []Event) Outcome {
	if !l.Allowed(u, RightWrite, name) {
		return NotWritten(esproto.OperationResult_AccessDenied, -1)
	}
	d := l.decide(name, expected, idsOf(events))
	if o, ok := d.refusal(); ok {
		return o
	}
	o := Outcome{Current: -1}
	if d.kind == decideKnown {
		o.First, o.Last, o.Prepare = d.first, d.last, l.knownPosition(&d)
	} else {
		o.First, o.Last, o.Prepare = d.current+1, d.current+int64(len(events)), l.write(name, events)
	}
	o.Commit = o.Prepare
	return o
}

func idsOf(events []Event) func(i int) (esproto.GUID, bool) {
	return func(i int) (esproto.GUID, bool) {
		if i >= len(events) {
			return esproto.GUID{}, false
		}
		return events[i].ID, true
	}
}

// knownPosition is the position that the reply to a repeated write has: where the last event that was found is in the
// log, also if it was committed later; -1 if that event cannot be read any more, or if the server does not tell it.
func (l *Log) knownPosition(d *decision) int64 {
	r := d.lastKnown
	if !l.facts.KnownWriteHasPosition || r.Stream.SoftDeleted() || r.Stream.Visible(r.Number, l.now()) == nil {
		return -1
	}
	return r.Prepare
}

// write appends events to a stream that may be written to, and returns the position of the last one.
func (l *Log) write(name string, events []Event) int64 {
	if len(events) == 0 {
		return l.writeNothing(name)
	}
	s := l.streamFor(name)
	soft, revived, next := s.SoftDeleted(), l.revivedBy(name), s.Last()+1
	recs, created := l.written[:0], l.ticks()
	for i := range events {
		recs = append(recs, l.newRecord(s, next+int64(i), &events[i], created))
	}
	l.written = recs
	l.commit(recs)
	last := recs[len(recs)-1]
	if soft {
		l.showFrom(s, next)
	}
	if revived != nil {
		l.showFrom(revived, revived.Last()+1)
	}
	return last.Commit
}

// writeNothing is the write of an empty list: it takes a place in the log but makes no event. It brings a soft-deleted
// stream back all the same.
func (l *Log) writeNothing(name string) int64 {
	pos := l.takePlace(recordSize(name, "", 0))
	l.lastEmpty = pos
	if s := l.Stream(name); s != nil && s.SoftDeleted() {
		l.showFrom(s, s.Last()+1)
	}
	if s := l.revivedBy(name); s != nil {
		l.showFrom(s, s.Last()+1)
	}
	l.tell(Commit{})
	return pos
}
