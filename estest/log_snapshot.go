package estest

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// eachStream returns the streams that have, or had, events, in no order: it leaves out those that have metadata only.
func (l *eventLog) eachStream() iter.Seq[*stream] {
	return func(yield func(*stream) bool) {
		for _, s := range l.streams {
			if s.last() >= 0 && !yield(s) {
				return
			}
		}
	}
}

// extent returns the numbers of the first event that is visible, -1 without one, and of the last event, visible or not,
// -1 without one; and how many events are visible.
func (s *stream) extent(now time.Time) (first, last int64, visible int) {
	last = int64(len(s.events)) - 1
	if s.hardDeleted() || s.softDeleted() {
		return -1, last, 0
	}
	first = s.first()
	for first <= last && s.visible(first, now) == nil { // too old: what follows is younger
		first++
	}
	if first > last {
		return -1, last, 0
	}
	return first, last, int(last - first + 1)
}

// logSnapshot is everything that a log holds, for another one to begin with.
type logSnapshot struct {
	events     []savedEvent // in the order of the log
	end        int64        // where the next record goes
	lastCommit int64        // position of the last record in the index; -1 without one
	lastEmpty  int64        // position of the last write of nothing; -1 without one
	marks      []int64      // where the records begin that are not events with a place of their own, in order
	epochs     int          // how many there were
	epochAt    int64        // position of the record of the last one
}

// savedEvent is an event with its place in the log.
type savedEvent struct {
	event
	stream  string
	number  int64
	created time.Time
	prepare int64
	commit  int64
}

// saved returns a record as a snapshot has it. The two share their data.
func (r *record) saved() savedEvent {
	return savedEvent{
		event:  event{id: r.id, typ: r.typ, json: r.json, data: r.data, metadata: r.metadata},
		stream: r.stream.name, number: r.number, created: esproto.TicksToTime(r.created), prepare: r.prepare,
		commit: r.commit,
	}
}

// snapshot returns what the log holds now.
func (l *eventLog) snapshot() *logSnapshot {
	snap := &logSnapshot{
		events: make([]savedEvent, len(l.records)), end: l.end, lastCommit: l.lastCommit, lastEmpty: l.lastEmpty,
		marks: slices.Clone(l.marks), epochs: l.epoch.number + 1, epochAt: l.epoch.position,
	}
	for i, r := range l.records {
		snap.events[i] = r.saved()
	}
	return snap
}

// restore fills an empty log, and the list of users. The error says what in the snapshot no log can have made.
func (l *eventLog) restore(snap *logSnapshot) error {
	before := position{-1, -1}
	for i := range snap.events {
		e := &snap.events[i]
		s := l.streamFor(e.stream)
		at := position{e.commit, e.prepare}
		switch {
		case e.stream == "" || e.typ == "" || s.hardDeleted():
			return e.impossible(i, "has no name, no type, or comes after a delete")
		case e.number != s.last()+1 && e.number != esproto.DeletedStream:
			return e.impossible(i, fmt.Sprintf("is out of order: the last one was %d", s.last()))
		case !before.before(at) || max(e.commit, e.prepare) >= snap.end || min(e.commit, e.prepare) < 0:
			return e.impossible(i, "is at an impossible position")
		}
		before = at
		r := &record{
			stream: s, id: e.id, typ: e.typ, json: e.json, data: e.data, metadata: e.metadata, prepare: e.prepare,
			created: esproto.TimeToTicks(e.created),
		}
		l.encode(r, e.number, e.commit)
		l.commit([]*record{r})
	}
	if err := l.restoreMarks(snap); err != nil {
		return err
	}
	l.end, l.lastCommit, l.lastEmpty = snap.end, snap.lastCommit, snap.lastEmpty
	l.restoreUsers()
	return nil
}

func (e *savedEvent) impossible(i int, problem string) error {
	return fmt.Errorf("event %d, %d@%s, %s", i, e.number, e.stream, problem)
}

// restoreMarks restores what the log has besides events.
func (l *eventLog) restoreMarks(snap *logSnapshot) error {
	if snap.lastEmpty >= snap.end || snap.lastEmpty < -1 {
		return fmt.Errorf("last write of no events is at an impossible position, %d", snap.lastEmpty)
	}
	last := int64(-1)
	for _, m := range snap.marks {
		if m <= last || m >= snap.end {
			return fmt.Errorf("mark %d is at an impossible position", m)
		}
		last = m
	}
	l.marks = slices.Clone(snap.marks)
	if snap.epochs > 0 {
		l.epoch = epoch{number: snap.epochs - 1, position: snap.epochAt}
	}
	return nil
}
