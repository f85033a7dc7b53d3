package eventlog

import (
	"fmt"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Snapshot holds the content of a log. Another log can begin with it.
type Snapshot struct {
	Events     []SavedEvent // in the order of the log
	End        int64        // position of the next record
	LastCommit int64        // position of the last record in the index; -1 without one
	LastEmpty  int64        // position of the last write of nothing; -1 without one
	Marks      []int64      // start positions of records that are not events with a position of their own, in order
	Epochs     int          // how many there were
	EpochAt    int64        // position of the record of the last one
}

// SavedEvent is an event and its place in the log.
type SavedEvent struct {
	Event
	Stream  string
	Number  int64
	Created time.Time
	Prepare int64
	Commit  int64
}

// Saved returns a record in the form of a snapshot. Both share the data.
func (r *Record) Saved() SavedEvent {
	v := r.decoded()
	return SavedEvent{
		Event:  Event{ID: r.ID, Type: r.Type, JSON: r.JSON, Data: v.Data, Metadata: v.Metadata},
		Stream: r.Stream.Name, Number: r.Number, Created: esproto.TicksToTime(r.Created), Prepare: r.Prepare,
		Commit: r.Commit,
	}
}

// Snapshot returns the present content of the log.
func (l *Log) Snapshot() *Snapshot {
	snap := &Snapshot{
		Events: make([]SavedEvent, l.records.Len()), End: l.end, LastCommit: l.lastCommit, LastEmpty: l.lastEmpty,
		Marks: slices.Clone(l.marks), Epochs: l.epoch.Number + 1, EpochAt: l.epoch.Position,
	}
	for i, r := range l.records.From(0) {
		snap.Events[i] = r.Saved()
	}
	return snap
}

// Restore fills an empty log and its list of users. The error names the part of the snapshot that no log can have.
func (l *Log) Restore(snap *Snapshot) error {
	before := Position{-1, -1}
	for i := range snap.Events {
		e := &snap.Events[i]
		s := l.streamFor(e.Stream)
		at := Position{e.Commit, e.Prepare}
		switch {
		case e.Stream == "" || e.Type == "" || s.HardDeleted():
			return e.impossible(i, "has no name, no type, or comes after a delete")
		case e.Number != s.Last()+1 && e.Number != esproto.DeletedStream:
			return e.impossible(i, fmt.Sprintf("is out of order: the last one was %d", s.Last()))
		case !before.before(at) || max(e.Commit, e.Prepare) >= snap.End || min(e.Commit, e.Prepare) < 0:
			return e.impossible(i, "is at an impossible position")
		}
		before = at
		r := &Record{Prepare: e.Prepare, Created: esproto.TimeToTicks(e.Created)}
		l.encode(r, s, &e.Event, e.Number, e.Commit)
		l.commit([]*Record{r})
	}
	if err := l.restoreMarks(snap); err != nil {
		return err
	}
	l.end, l.lastCommit, l.lastEmpty = snap.End, snap.LastCommit, snap.LastEmpty
	l.restoreUsers()
	return nil
}

func (e *SavedEvent) impossible(i int, problem string) error {
	return fmt.Errorf("event %d, %d@%s, %s", i, e.Number, e.Stream, problem)
}

// restoreMarks restores the places of records that are no events.
func (l *Log) restoreMarks(snap *Snapshot) error {
	if snap.LastEmpty >= snap.End || snap.LastEmpty < -1 {
		return fmt.Errorf("last write of no events is at an impossible position, %d", snap.LastEmpty)
	}
	last := int64(-1)
	for _, m := range snap.Marks {
		if m <= last || m >= snap.End {
			return fmt.Errorf("mark %d is at an impossible position", m)
		}
		last = m
	}
	l.marks = slices.Clone(snap.Marks)
	if snap.Epochs > 0 {
		l.epoch = Epoch{Number: snap.Epochs - 1, Position: snap.EpochAt}
	}
	return nil
}
