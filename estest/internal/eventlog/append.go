package eventlog

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// Outcome is the result of a write, of a delete, or of the commit of a transaction.
type Outcome struct {
	Result  esproto.OperationResult
	Current int64 // number of the stream's last event, if the expected version was wrong; else -1
	First   int64 // number of the first event, old or new; of a delete, of the event that deletes
	Last    int64 // number of the last event
	Prepare int64 // position of the last event; -1 if the server does not tell that of a repeated write
	Commit  int64 // position of its commit
}

// NotWritten returns the outcome of a request that wrote nothing.
func NotWritten(result esproto.OperationResult, current int64) Outcome {
	return Outcome{
		Result: result, Current: current, First: esproto.InvalidEventNumber, Last: esproto.InvalidEventNumber,
		Prepare: -1, Commit: -1,
	}
}

// refusal returns the outcome of a write that the server refuses. ok is false if it does not refuse.
func (d *decision) refusal() (o Outcome, ok bool) {
	switch d.kind {
	case decideDeleted:
		return NotWritten(esproto.OperationResult_StreamDeleted, -1), true
	case decideWrong:
		return NotWritten(esproto.OperationResult_WrongExpectedVersion, d.current), true
	}
	return o, false
}

// Append writes events to a stream for a user who expects a version of the stream. It does not write events again whose
// ids the stream has already.
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

// knownPosition returns the position in the reply to a repeated write: the place of the last known event in the log.
// It is -1 if that event cannot be read any more, or if the server does not tell it.
func (l *Log) knownPosition(d *decision) int64 {
	r := d.lastKnown
	if !l.facts.KnownWriteHasPosition || r.Stream.SoftDeleted() || r.Stream.Visible(r.Number, l.now()) == nil {
		return -1
	}
	return r.Prepare
}

// write appends events to a stream and returns the position of the last one. It checks nothing.
func (l *Log) write(name string, events []Event) int64 {
	if len(events) == 0 {
		return l.writeNothing(name)
	}
	s := l.streamFor(name)
	soft, revived, next := s.SoftDeleted(), l.revivedBy(name), s.Last()+1
	recs, created := l.written[:0], l.ticks()
	l.written = nil // an observer may append
	for i := range events {
		recs = append(recs, l.newRecord(s, next+int64(i), &events[i], created))
	}
	l.commit(recs)
	l.written = recs
	last := recs[len(recs)-1]
	if soft {
		l.showFrom(s, next)
	}
	if revived != nil {
		l.showFrom(revived, revived.Last()+1)
	}
	return last.Commit
}

// writeNothing writes an empty list. That takes a place in the log, makes no event, and brings a soft-deleted stream
// back.
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
