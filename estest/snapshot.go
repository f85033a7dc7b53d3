package estest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// StreamInfo is what a server has of one stream.
type StreamInfo struct {
	Name    string `json:"name"`
	First   int64  `json:"first"`  // number of the first event that is visible; -1 without one
	Last    int64  `json:"last"`   // number of the last event, visible or not; -1 without one
	Events  int    `json:"events"` // how many are visible
	Deleted bool   `json:"deleted"`
}

// Streams lists the streams that have, or had, events, by name: the server's own, which begin with $, as well.
func (s *Server) Streams() []StreamInfo {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	infos := make([]StreamInfo, 0, len(s.core.streams))
	for _, st := range s.core.sortedStreams() {
		infos = append(infos, st.info(s.core.now()))
	}
	return infos
}

// sortedStreams leaves out those that have metadata only.
func (l *eventLog) sortedStreams() []*stream {
	streams := slices.SortedFunc(maps.Values(l.streams), func(a, b *stream) int { return cmp.Compare(a.name, b.name) })
	return slices.DeleteFunc(streams, func(s *stream) bool { return s.last() < 0 })
}

func (s *stream) info(now time.Time) StreamInfo {
	info := StreamInfo{Name: s.name, First: -1, Last: int64(len(s.events)) - 1}
	info.Deleted = s.hardDeleted() || s.softDeleted()
	if info.Deleted {
		return info
	}
	first := s.first()
	for first <= info.Last && s.visible(first, now) == nil { // too old: what follows is younger
		first++
	}
	if first <= info.Last {
		info.First, info.Events = first, int(info.Last-first+1)
	}
	return info
}

// Snapshot is everything that a server has written, its own streams with users and groups included. Its JSON is the
// same for the same state, and starts another server with WithSnapshot. It holds no plain passwords.
type Snapshot struct {
	// Events are all there are, in the order of the log; a tombstone has the highest number there is.
	Events     []Event `json:"events"`
	End        int64   `json:"end"` // where the next event goes
	LastCommit int64   `json:"lastCommit"`
	LastEmpty  int64   `json:"lastEmpty,omitempty"` // position of the last write of no events; 0 without one
	// Marks are the positions of records that are no events, or none of their own: those of transactions, and those
	// that say that a leader was elected, or a process began. In ascending order.
	Marks []int64 `json:"marks,omitempty"`
	// Epochs is how often that happened, and EpochAt the position of the last one's record.
	Epochs  int   `json:"epochs,omitempty"`
	EpochAt int64 `json:"epochAt,omitempty"`
}

// Snapshot returns the state of all streams at one moment.
func (s *Server) Snapshot() *Snapshot {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	snap := &Snapshot{
		Events: make([]Event, len(s.core.records)), End: s.core.end, LastCommit: s.core.lastCommit,
		LastEmpty: max(s.core.lastEmpty, 0), Marks: slices.Clone(s.core.marks), Epochs: s.core.epoch.number + 1,
		EpochAt: max(s.core.epoch.position, 0),
	}
	for i, r := range s.core.records {
		snap.Events[i] = eventOf(r)
	}
	return snap
}

// WithSnapshot has the server begin with what another one had written, as if it were that one started again: groups go
// on behind their checkpoints, and event ids are not remembered. The persona should be the same: what the server itself
// writes differs. Other than over Restart, transactions that were not committed are lost, and those that were cannot be
// committed again. Start fails if the snapshot is not one that a server can have made.
func WithSnapshot(snap *Snapshot) Option { return func(c *config) { c.snapshot = snap } }

// restore fills an empty log.
func (l *eventLog) restore(snap *Snapshot) error {
	before := position{-1, -1}
	for i := range snap.Events {
		e := &snap.Events[i]
		s := l.streamFor(e.Stream)
		at := position{e.Commit, e.Prepare}
		switch {
		case e.Stream == "" || e.Type == "" || s.hardDeleted():
			return e.impossible(i, "has no name, no type, or comes after a delete")
		case e.Number != s.last()+1 && e.Number != esproto.DeletedStream:
			return e.impossible(i, fmt.Sprintf("is out of order: the last one was %d", s.last()))
		case !before.before(at) || max(e.Commit, e.Prepare) >= snap.End || min(e.Commit, e.Prepare) < 0:
			return e.impossible(i, "is at an impossible position")
		}
		before = at
		r := &record{
			stream: s, id: esproto.NewGUID(e.ID), typ: e.Type, json: e.JSON, data: e.Data, metadata: e.Metadata,
			prepare: e.Prepare, created: esproto.TimeToTicks(e.Created),
		}
		l.encode(r, e.Number, e.Commit)
		l.commit([]*record{r})
	}
	if err := l.restoreMarks(snap); err != nil {
		return err
	}
	l.end, l.lastCommit = snap.End, snap.LastCommit
	if snap.LastEmpty > 0 {
		l.lastEmpty = snap.LastEmpty
	}
	l.restoreUsers()
	return nil
}

// restoreMarks restores what the log has besides events. A snapshot of an earlier version does not tell it.
func (l *eventLog) restoreMarks(snap *Snapshot) error {
	if snap.LastEmpty < 0 || snap.LastEmpty >= snap.End {
		return fmt.Errorf("estest: the snapshot's last write of no events is at an impossible position, %d",
			snap.LastEmpty)
	}
	last := int64(-1)
	for _, m := range snap.Marks {
		if m <= last || m >= snap.End {
			return fmt.Errorf("estest: the snapshot's mark %d is at an impossible position", m)
		}
		last = m
	}
	l.marks = slices.Clone(snap.Marks)
	if snap.Epochs > 0 {
		l.epoch = epoch{number: snap.Epochs - 1, position: snap.EpochAt}
	}
	return nil
}

func (e *Event) impossible(i int, problem string) error {
	return fmt.Errorf("estest: the snapshot's event %d, %d@%s, %s", i, e.Number, e.Stream, problem)
}

// eventJSON is an event in a snapshot: bytes are text where they can be, so that people can read and compare them.
type eventJSON struct {
	Stream         string    `json:"stream"`
	Number         int64     `json:"number"`
	ID             uuid.UUID `json:"id"`
	Type           string    `json:"type"`
	JSON           bool      `json:"json,omitempty"`
	Data           string    `json:"data,omitempty"`
	DataBase64     []byte    `json:"dataBase64,omitempty"`
	Metadata       string    `json:"metadata,omitempty"`
	MetadataBase64 []byte    `json:"metadataBase64,omitempty"`
	Created        time.Time `json:"created"`
	Commit         int64     `json:"commit"`
	Prepare        int64     `json:"prepare"`
}

// MarshalJSON writes Data and Metadata as text if they are UTF-8, and as dataBase64 and metadataBase64 if they are not.
func (e Event) MarshalJSON() ([]byte, error) {
	j := eventJSON{Stream: e.Stream, Number: e.Number, ID: e.ID, Type: e.Type, JSON: e.JSON, Created: e.Created,
		Commit: e.Commit, Prepare: e.Prepare}
	j.Data, j.DataBase64 = textOrBytes(e.Data)
	j.Metadata, j.MetadataBase64 = textOrBytes(e.Metadata)
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (e *Event) UnmarshalJSON(b []byte) error {
	var j eventJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*e = Event{Stream: j.Stream, Number: j.Number, ID: j.ID, Type: j.Type, JSON: j.JSON, Created: j.Created,
		Commit: j.Commit, Prepare: j.Prepare,
		Data: append(j.DataBase64, j.Data...), Metadata: append(j.MetadataBase64, j.Metadata...)}
	return nil
}

func textOrBytes(b []byte) (string, []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	return "", b
}
