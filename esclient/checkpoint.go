package esclient

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
)

// Checkpoint tells how far a subscription has got: all events up to it are dealt with. In a stream it is the number of
// an event of the stream that was subscribed to: the number of the link if links are resolved, never that of the
// target. In AllStream it is a position. The zero Checkpoint means that nothing is dealt with yet. Checkpoints can be
// compared with ==.
//
// As text it is "none", a number such as "41", or a position such as "C:1024/P:1024"; in JSON it is a string with that
// text. A Checkpoint is read back exactly as it was written. The number -1 is the place before the first event: unlike
// the zero Checkpoint, it says that a subscription has begun there.
type Checkpoint struct {
	kind     checkpointKind
	position Position // of AllStream; in a stream, Commit is the event number
}

type checkpointKind int

const (
	checkpointNone checkpointKind = iota
	checkpointNumber
	checkpointPosition
)

// CheckpointAtNumber returns the checkpoint of event n of a stream, n included; -1 is before the first event. If n is
// less than -1, the Checkpoint cannot be written as text, and no subscription begins there.
func CheckpointAtNumber(n int64) Checkpoint {
	return Checkpoint{kind: checkpointNumber, position: Position{Commit: n}}
}

// CheckpointAtPosition returns the checkpoint of position p in AllStream, the event at p included. If p is
// UnknownPosition or negative, the Checkpoint cannot be written as text, and no subscription begins there.
func CheckpointAtPosition(p Position) Checkpoint {
	return Checkpoint{kind: checkpointPosition, position: p}
}

// Number returns the event number; ok is false if the checkpoint is zero or a position.
func (c Checkpoint) Number() (n int64, ok bool) {
	if c.kind != checkpointNumber {
		return 0, false
	}
	return c.position.Commit, true
}

// Position returns the position in AllStream; ok is false if the checkpoint is zero or an event number.
func (c Checkpoint) Position() (p Position, ok bool) {
	if c.kind != checkpointPosition {
		return UnknownPosition, false
	}
	return c.position, true
}

// IsZero reports whether nothing is dealt with yet.
func (c Checkpoint) IsZero() bool { return c == Checkpoint{} }

// Start returns the place behind the checkpoint, where a subscription goes on. For the zero Checkpoint it is FromStart.
func (c Checkpoint) Start() Start {
	switch c.kind {
	case checkpointNumber:
		return AfterNumber(c.position.Commit)
	case checkpointPosition:
		return AfterPosition(c.position)
	}
	return FromStart()
}

// Compare returns -1, 0 or 1 if c is before, at or after d. The zero Checkpoint is before all others. An event number
// and a position cannot be compared: the error is an *ArgumentError.
func (c Checkpoint) Compare(d Checkpoint) (int, error) {
	switch {
	case c.kind == d.kind:
		return c.position.Compare(d.position), nil
	case c.IsZero() || d.IsZero():
		return cmp.Compare(c.kind, d.kind), nil
	}
	reason := fmt.Sprintf("%v and %v cannot be compared: one is of a stream, the other of %s", c, d, AllStream)
	return 0, &ArgumentError{Argument: "Checkpoint", Reason: reason}
}

// String returns the text of the checkpoint, also of one that MarshalText refuses.
func (c Checkpoint) String() string {
	switch c.kind {
	case checkpointNumber:
		return strconv.FormatInt(c.position.Commit, 10)
	case checkpointPosition:
		return c.position.String()
	}
	return textNone
}

const textNone = "none"

// beforeFirst is the only valid Checkpoint with a negative number.
var beforeFirst = CheckpointAtNumber(-1)

// MarshalText implements encoding.TextMarshaler. It fails with an *ArgumentError for a number less than -1 and for a
// negative position.
func (c Checkpoint) MarshalText() ([]byte, error) {
	if c != beforeFirst && (c.position.Commit < 0 || c.position.Prepare < 0) {
		return nil, &ArgumentError{
			Argument: "Checkpoint", Reason: fmt.Sprintf("no subscription can go on after %v", c),
		}
	}
	return []byte(c.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. It accepts only a text of MarshalText. An error is an
// *ArgumentError and leaves c as it is.
func (c *Checkpoint) UnmarshalText(text []byte) error {
	d, err := parseCheckpoint(string(text))
	if err != nil {
		return notText("Checkpoint", text, err)
	}
	*c = d
	return nil
}

func parseCheckpoint(s string) (c Checkpoint, err error) {
	switch {
	case s == textNone:
		return Checkpoint{}, nil
	case s == beforeFirst.String():
		return beforeFirst, nil
	case isDigit(s):
		n, err := parseNumber(s)
		return CheckpointAtNumber(n), err
	}
	p, err := parsePosition(s)
	if err == nil && p == UnknownPosition {
		err = errors.New("it is no position")
	}
	return CheckpointAtPosition(p), err
}

// MarshalJSON implements json.Marshaler: a string with the text of MarshalText, whose errors it returns.
func (c Checkpoint) MarshalJSON() ([]byte, error) { return marshalJSON(c.MarshalText()) }

// UnmarshalJSON implements json.Unmarshaler. It accepts only a string that UnmarshalText accepts. It refuses null,
// which could otherwise pass for "none" by accident. An error leaves c as it is.
func (c *Checkpoint) UnmarshalJSON(data []byte) error {
	return unmarshalJSON("Checkpoint", data, c.UnmarshalText)
}

// CheckpointIn returns the checkpoint of an event that was read from or pushed for stream, which may be AllStream. ok
// is false if the event is of another stream, or if its position in AllStream is not known.
func (e *Event) CheckpointIn(stream string) (c Checkpoint, ok bool) {
	o := e.Original()
	switch {
	case stream == AllStream:
		return CheckpointAtPosition(e.Position), e.Position.Commit >= 0 && e.Position.Prepare >= 0
	case o.Stream == stream:
		return CheckpointAtNumber(o.Number), o.Number >= 0
	}
	return Checkpoint{}, false
}
