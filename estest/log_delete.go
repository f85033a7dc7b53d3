package estest

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// delete deletes a stream for a user who expects a version of it: for good, or until somebody writes to it again.
func (l *eventLog) delete(u *user, name string, expected int64, hard bool) outcome {
	if name == allStream || !l.allowed(u, rightDelete, name) {
		return notWritten(esproto.OperationResult_AccessDenied, -1)
	}
	// The event of a delete has a new id, so that a repeated delete is never recognised.
	fresh := newGUID()
	d := l.decide(name, expected, func(i int) (esproto.GUID, bool) { return fresh, i == 0 })
	if o, ok := d.refusal(); ok {
		return o
	}
	if !hard && l.nothingToDelete(name) {
		return notWritten(esproto.OperationResult_WrongExpectedVersion, d.current)
	}
	var r *record
	if hard {
		r = l.newRecord(l.streamFor(name), esproto.DeletedStream, &event{id: fresh, typ: tombstoneType}, l.ticks())
		l.commit([]*record{r})
	} else {
		l.streamFor(name)
		r = l.systemAppend("$$"+name, metadataType, true, softDeleteData, nil)
	}
	return outcome{current: -1, first: r.number, last: r.number, prepare: r.prepare, commit: r.commit}
}

// nothingToDelete reports whether a soft delete is refused because the stream never existed.
func (l *eventLog) nothingToDelete(name string) bool {
	if !l.facts.DeleteNeedsStream {
		return false
	}
	s := l.stream(name)
	return (s == nil || s.last() < 0) && !l.hasMetadata(name)
}
