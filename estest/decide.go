package estest

import (
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// decision is what the server makes of a write.
type decision struct {
	kind    decisionKind
	current int64 // number of the stream's last event
	first   int64 // of the known events
	last    int64

	lastKnown *record // the event that has the last of the ids
}

type decisionKind int

const (
	decideWrite   decisionKind = iota
	decideKnown                // the events are there already
	decideWrong                // wrong expected version
	decideDeleted              // the stream is hard-deleted, or soft-deleted and expected to exist
)

// decide is the server's decision table for writes, deletes and commits. ids yields the ids of the events.
func (l *eventLog) decide(name string, expected int64, ids func(i int) (esproto.GUID, bool)) decision {
	s := l.stream(name)
	if l.hardDeleted(name) && !l.writerKnows(s) {
		return decision{kind: decideDeleted}
	}
	current := int64(-1)
	if s != nil {
		current = s.last()
	}
	d := decision{current: current}
	switch {
	case expected == esproto.ExpectStreamExists && s != nil && s.softDeleted():
		d.kind = decideDeleted
	case expected == esproto.ExpectStreamExists && current < 0 && !l.hasMetadata(name):
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

// hardDeleted reports whether a stream is gone for good. A metadata stream is when its stream is.
func (l *eventLog) hardDeleted(name string) bool {
	for isMetastream(name) {
		name = name[2:]
	}
	s := l.stream(name)
	return s != nil && s.hardDeleted()
}

// writerKnows reports whether s is a metadata stream that this process has written to. The writer remembers its last
// number, and does not notice that it is deleted with its stream.
func (l *eventLog) writerKnows(s *stream) bool {
	return s != nil && isMetastream(s.name) && !s.hardDeleted() && s.last() >= 0 && s.at(s.last()).commit >= l.began
}

func (l *eventLog) hasMetadata(name string) bool {
	meta := l.stream("$$" + name)
	return meta != nil && meta.last() >= 0
}

// lookInCache decides for the versions that say nothing of numbers: by the ids that this process remembers.
func (l *eventLog) lookInCache(d *decision, s *stream, ids func(int) (esproto.GUID, bool)) {
	for i := 0; ; i++ {
		id, ok := ids(i)
		if !ok {
			return
		}
		var known *record
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
			d.kind, d.first = decideKnown, known.number
		}
		d.last, d.lastKnown = known.number, known
	}
}

// lookInStream decides for an expected version that the stream is past: by what it has at the numbers that follow.
func (l *eventLog) lookInStream(d *decision, s *stream, expected int64, ids func(int) (esproto.GUID, bool)) {
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
		r := s.at(number)
		if r != nil && r.id == id {
			d.lastKnown = r
			continue
		}
		if i == 0 && expected == esproto.ExpectNoStream && s.softDeleted() {
			return // recreation
		}
		d.kind = decideWrong
		return
	}
}
