package esclient

import (
	"fmt"

	"github.com/google/uuid"
)

// KnownEvent is an event by which a catch-up subscription recognises the log after a restart of the program; see
// CatchUpOptions.Known. A number or a position alone is not enough: another log has other events there. The zero
// KnownEvent is no event. It can be compared with ==, and be stored as JSON.
type KnownEvent struct {
	// At is the number of the event in its stream, or its position in AllStream. It is that of the link if links are
	// resolved, and so are the others.
	At Checkpoint `json:"at"`
	ID uuid.UUID  `json:"id"`
	// Created helps to recognise a log without an event at a position of AllStream.
	Created Timestamp `json:"created,omitzero"`
}

// KnownIn returns the KnownEvent of an event that was read from or pushed for stream, which may be AllStream. ok is
// false if the event is of another stream or has no id, or if its position in AllStream is not known.
func (e *Event) KnownIn(stream string) (k KnownEvent, ok bool) {
	at, ok := e.CheckpointIn(stream)
	o := e.Original()
	if !ok || o.ID == uuid.Nil {
		return KnownEvent{}, false
	}
	return KnownEvent{At: at, ID: o.ID, Created: o.Created}, true
}

// IsZero reports whether k is no event.
func (k KnownEvent) IsZero() bool { return k == KnownEvent{} }

func (k KnownEvent) validate(argument, stream string) error {
	_, isPosition := k.At.Position()
	reason := ""
	switch _, err := k.At.MarshalText(); {
	case k.IsZero():
	case k.ID == uuid.Nil:
		reason = "has no ID"
	case err != nil, k.At.IsZero(), k.At == beforeFirst, isPosition != (stream == AllStream):
		reason = fmt.Sprintf("no event of %q is at %v", stream, k.At)
	}
	if reason == "" {
		return nil
	}
	return &ArgumentError{Argument: argument, Reason: reason}
}

// know makes k the mark, unless it is zero.
func (m *mark) know(k KnownEvent) {
	if k.IsZero() {
		return
	}
	m.any, m.id, m.created = true, k.ID, k.Created
	m.number, _ = k.At.Number()
	m.position, _ = k.At.Position()
}
