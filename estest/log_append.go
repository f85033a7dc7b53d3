package estest

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// outcome is what became of a write, a delete, or the commit of a transaction.
type outcome struct {
	result  esproto.OperationResult
	current int64 // number of the stream's last event, if the expected version was wrong; else -1
	first   int64 // numbers of the events, old or new; of a delete, the last one is that of the event that deletes
	last    int64
	prepare int64 // position of the last event; -1 if a repeated write has none to tell
	commit  int64
}

// notWritten is the outcome of what was not done.
func notWritten(result esproto.OperationResult, current int64) outcome {
	return outcome{
		result: result, current: current, first: esproto.InvalidEventNumber, last: esproto.InvalidEventNumber,
		prepare: -1, commit: -1,
	}
}

// refusal returns why a write is not to be done; ok is false if it is to be done, or was done before.
func (d *decision) refusal() (o outcome, ok bool) {
	switch d.kind {
	case decideDeleted:
		return notWritten(esproto.OperationResult_StreamDeleted, -1), true
	case decideWrong:
		return notWritten(esproto.OperationResult_WrongExpectedVersion, d.current), true
	}
	return o, false
}

// appendEvents writes events to a stream for a user who expects a version of it. Events that the stream has already, by
// their ids, are not written again.
func (l *eventLog) appendEvents(u *user, name string, expected int64, events []event) outcome {
	if !l.allowed(u, rightWrite, name) {
		return notWritten(esproto.OperationResult_AccessDenied, -1)
	}
	d := l.decide(name, expected, idsOf(events))
	if o, ok := d.refusal(); ok {
		return o
	}
	o := outcome{current: -1}
	if d.kind == decideKnown {
		o.first, o.last, o.prepare = d.first, d.last, l.knownPosition(&d)
	} else {
		o.first, o.last, o.prepare = d.current+1, d.current+int64(len(events)), l.write(name, events)
	}
	o.commit = o.prepare
	return o
}

func idsOf(events []event) func(i int) (esproto.GUID, bool) {
	return func(i int) (esproto.GUID, bool) {
		if i >= len(events) {
			return esproto.GUID{}, false
		}
		return events[i].id, true
	}
}

// knownPosition is the position that the reply to a repeated write has: where the last event that was found is in the
// log, also if it was committed later; -1 if that event cannot be read any more, or if the server does not tell it.
func (l *eventLog) knownPosition(d *decision) int64 {
	r := d.lastKnown
	if !l.facts.KnownWriteHasPosition || r.stream.softDeleted() || r.stream.visible(r.number, l.now()) == nil {
		return -1
	}
	return r.prepare
}

// write appends events to a stream that may be written to, and returns the position of the last one.
func (l *eventLog) write(name string, events []event) int64 {
	if len(events) == 0 {
		return l.writeNothing(name)
	}
	s := l.streamFor(name)
	soft, revived, next := s.softDeleted(), l.revivedBy(name), s.last()+1
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
		l.showFrom(revived, revived.last()+1)
	}
	return last.commit
}

// writeNothing is the write of an empty list: it takes a place in the log but makes no event. It brings a soft-deleted
// stream back all the same.
func (l *eventLog) writeNothing(name string) int64 {
	pos := l.takePlace(recordSize(name, "", 0))
	l.lastEmpty = pos
	if s := l.stream(name); s != nil && s.softDeleted() {
		l.showFrom(s, s.last()+1)
	}
	if s := l.revivedBy(name); s != nil {
		l.showFrom(s, s.last()+1)
	}
	l.tell(commit{})
	return pos
}
