package eventlog

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// Delete deletes a stream for a user who expects a version of the stream. A hard delete is permanent. A soft delete
// lasts until the next write to the stream.
func (l *Log) Delete(u *User, name string, expected int64, hard bool) Outcome {
	if name == AllStream || !l.Allowed(u, RightDelete, name) {
		return NotWritten(esproto.OperationResult_AccessDenied, -1)
	}
	// The event of a delete has a new id, so that a repeated delete is never recognised.
	fresh := NewGUID()
	d := l.decide(name, expected, func(i int) (esproto.GUID, bool) { return fresh, i == 0 })
	if o, ok := d.refusal(); ok {
		return o
	}
	if !hard && l.nothingToDelete(name) {
		return NotWritten(esproto.OperationResult_WrongExpectedVersion, d.current)
	}
	var r *Record
	if hard {
		r = l.newRecord(l.streamFor(name), esproto.DeletedStream, &Event{ID: fresh, Type: tombstoneType}, l.ticks())
		l.commit([]*Record{r})
	} else {
		l.streamFor(name)
		r = l.SystemAppend("$$"+name, MetadataType, true, SoftDeleteData, nil)
	}
	return Outcome{Current: -1, First: r.Number, Last: r.Number, Prepare: r.Prepare, Commit: r.Commit}
}

// nothingToDelete reports whether the server refuses a soft delete because the stream never existed.
func (l *Log) nothingToDelete(name string) bool {
	if !l.facts.DeleteNeedsStream {
		return false
	}
	s := l.Stream(name)
	return (s == nil || s.Last() < 0) && !l.HasMetadata(name)
}
