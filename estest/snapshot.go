package estest

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// StreamInfo describes a stream.
type StreamInfo struct {
	Name    string `json:"name"`
	First   int64  `json:"first"`  // number of the first event that is visible; -1 without one
	Last    int64  `json:"last"`   // number of the last event, visible or not; -1 without one
	Events  int    `json:"events"` // how many are visible
	Deleted bool   `json:"deleted"`
}

// Streams lists all streams that have or had events, by name, including the server's own, which begin with $.
func (s *Server) Streams() []StreamInfo {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	infos := []StreamInfo{}
	for st := range s.core.log.Streams() {
		infos = append(infos, streamInfoOf(st, s.core.now()))
	}
	slices.SortFunc(infos, func(a, b StreamInfo) int { return cmp.Compare(a.Name, b.Name) })
	return infos
}

func streamInfoOf(s *eventlog.Stream, now time.Time) StreamInfo {
	info := StreamInfo{Name: s.Name, Deleted: s.HardDeleted() || s.SoftDeleted()}
	info.First, info.Last, info.Events = s.Extent(now)
	return info
}

// Snapshot is everything that a server has written, including its own streams with users and groups. Equal states have
// equal JSON. [WithSnapshot] starts another server with it. It has no plain passwords.
type Snapshot struct {
	// Events are all there are, in the order of the log; a tombstone has the highest number there is.
	Events     []Event `json:"events"`
	End        int64   `json:"end"` // position of the next event
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
	held := s.core.log.Snapshot()
	snap := &Snapshot{
		Events: make([]Event, len(held.Events)), End: held.End, LastCommit: held.LastCommit,
		LastEmpty: max(held.LastEmpty, 0), Marks: held.Marks, Epochs: held.Epochs, EpochAt: max(held.EpochAt, 0),
	}
	for i := range held.Events {
		snap.Events[i] = eventOf(&held.Events[i])
	}
	return snap
}

// saved returns the snapshot in the form of the log. A snapshot of an earlier version has no last write of no events.
func (s *Snapshot) saved() *eventlog.Snapshot {
	held := &eventlog.Snapshot{
		Events: make([]eventlog.SavedEvent, len(s.Events)), End: s.End,
		LastCommit: s.LastCommit, LastEmpty: s.LastEmpty, Marks: s.Marks, Epochs: s.Epochs, EpochAt: s.EpochAt,
	}
	if s.LastEmpty == 0 {
		held.LastEmpty = -1
	}
	for i := range s.Events {
		e := &s.Events[i]
		held.Events[i] = eventlog.SavedEvent{
			Event: eventlog.Event{
				ID: esproto.NewGUID(e.ID), Type: e.Type, JSON: e.JSON, Data: e.Data, Metadata: e.Metadata,
			},
			Stream: e.Stream, Number: e.Number, Created: e.Created, Prepare: e.Prepare, Commit: e.Commit,
		}
	}
	return held
}

// WithSnapshot starts the server with the data of another server, as if that server restarted: groups go on from their
// checkpoints, and the server does not know the event ids of earlier appends. Use the same persona, since versions
// differ in the events that the server itself writes. Unlike after [Server.Restart], uncommitted transactions are lost,
// and committed ones cannot be committed again. Start fails if no server can have made the snapshot.
func WithSnapshot(snap *Snapshot) Option { return func(c *config) { c.snapshot = snap } }

// eventJSON is an event in a snapshot. Bytes are text if possible, so that people can read and compare them.
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

// UnmarshalJSON reads the JSON of [Event.MarshalJSON].
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
