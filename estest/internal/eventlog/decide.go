package eventlog

import (
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// decision is the server's decision about a write.
type decision struct {
	kind    decisionKind
	current int64 // number of the stream's last event
	first   int64 // of the known events
	last    int64

	lastKnown *Record // the event that has the last of the ids
}

type decisionKind int

const (
	decideWrite   decisionKind = iota
	decideKnown                // the events are there already
	decideWrong                // wrong expected version
	decideDeleted              // the stream is hard-deleted, or soft-deleted and expected to exist
)

// decide is the server's decision table for writes, deletes and commits. ids returns the id of event i.
func (l *Log) decide(name string, expected int64, ids func(i int) (esproto.GUID, bool)) decision {
	s := l.Stream(name)
	if l.HardDeleted(name) && !l.writerKnows(s) {
		return decision{kind: decideDeleted}
	}
	current := int64(-1)
	if s != nil {
		current = s.Last()
	}
	d := decision{current: current}
	switch {
	case expected == esproto.ExpectStreamExists && s != nil && s.SoftDeleted():
		d.kind = decideDeleted
	case expected == esproto.ExpectStreamExists && current < 0 && !l.HasMetadata(name):
		d.kind = decideWrong
	case expected == esproto.ExpectAny || expected == esproto.ExpectStreamExists:
		l.lookInCache(&d, s, ids)
	case expected < current:
		l.lookInStream(&d, s, expected, ids)
	case expected > current:
		d.kind = decideWrong
	}
	return d
}

// HardDeleted reports whether a stream is deleted for good. A metadata stream is deleted with its stream.
func (l *Log) HardDeleted(name string) bool {
	for isMetastream(name) {
		name = name[2:]
	}
	s := l.Stream(name)
	return s != nil && s.HardDeleted()
}

// writerKnows reports whether s is a metadata stream that this process has written to. The writer remembers the last
// number of such a stream, and does not notice the delete.
func (l *Log) writerKnows(s *Stream) bool {
	return s != nil && isMetastream(s.Name) && !s.HardDeleted() && s.Last() >= 0 && s.At(s.Last()).Commit >= l.began
}

// HasMetadata reports whether metadata of a stream was ever written.
func (l *Log) HasMetadata(name string) bool {
	meta := l.Stream("$$" + name)
	return meta != nil && meta.Last() >= 0
}

// lookInCache decides for Any and StreamExists, by the ids that this process remembers.
func (l *Log) lookInCache(d *decision, s *Stream, ids func(int) (esproto.GUID, bool)) {
	for i := 0; ; i++ {
		id, ok := ids(i)
		if !ok {
			return
		}
		var known *Record
		if s != nil {
			known = l.ids.lookup(s, id)
		}
		switch {
		case known == nil && i == 0:
			return // all is new, or is taken for it
		case known == nil:
			d.kind = decideWrong
			return
		case i == 0:
			d.kind, d.first = decideKnown, known.Number
		}
		d.last, d.lastKnown = known.Number, known
	}
}

// lookInStream decides for an expected version below the last number, by the events behind that version.
func (l *Log) lookInStream(d *decision, s *Stream, expected int64, ids func(int) (esproto.GUID, bool)) {
	for i := 0; ; i++ {
		id, more := ids(i)
		number := expected + 1 + int64(i)
		if !more {
			if i == 0 {
				d.kind = decideWrong
				return
			}
			d.kind, d.first, d.last = decideKnown, expected+1, number-1
			return
		}
		r := s.At(number)
		if r != nil && r.ID == id {
			d.lastKnown = r
			continue
		}
		if i == 0 && expected == esproto.ExpectNoStream && s.SoftDeleted() {
			return // recreation
		}
		d.kind = decideWrong
		return
	}
}
