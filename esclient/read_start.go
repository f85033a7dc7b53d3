package esclient

import (
	"fmt"
	"math"
)

// Start is the beginning of a read or a catch-up subscription. The zero Start is the first event or, if a read goes
// backward, the last one.
type Start struct {
	kind     startKind
	number   int64
	position Position
	included bool // the event at number or position is the first one
}

type startKind int

const (
	startDefault startKind = iota
	startBeginning
	startEnd
	startNumber
	startPosition
)

// FromStart begins with the first event. A read that goes backward cannot begin there.
func FromStart() Start { return Start{kind: startBeginning} }

// FromEnd begins with the first event that is written after the subscription was made. A read that goes backward begins
// with the last event.
func FromEnd() Start { return Start{kind: startEnd} }

// FromNumber begins with event n of the stream.
func FromNumber(n int64) Start { return Start{kind: startNumber, number: n, included: true} }

// AfterNumber begins with the event after event n of the stream: n is the last event that the caller has processed. A
// read that goes backward begins with the event before n.
func AfterNumber(n int64) Start { return Start{kind: startNumber, number: n} }

// FromPosition begins with the event of [AllStream] at position p.
func FromPosition(p Position) Start { return Start{kind: startPosition, position: p, included: true} }

// AfterPosition begins with the event of [AllStream] after position p: the last event that the caller has processed is
// at p. A read that goes backward begins with the event before p.
func AfterPosition(p Position) Start { return Start{kind: startPosition, position: p} }

// Number returns the number of the first event that a subscription gets from here. ok is false if s has no number.
func (s Start) Number() (n int64, ok bool) {
	if s.kind != startNumber {
		return 0, false
	}
	if !s.included && s.number < math.MaxInt64 {
		return s.number + 1, true
	}
	return s.number, true
}

// Position returns the position of s. ok is false if s has no position.
func (s Start) Position() (p Position, ok bool) { return s.position, s.kind == startPosition }

// String describes s in words.
func (s Start) String() string {
	where := "behind "
	if s.included {
		where = "with "
	}
	switch s.kind {
	case startBeginning:
		return "with the first event"
	case startEnd:
		return "at the end"
	case startNumber:
		return where + fmt.Sprintf("event %d", s.number)
	case startPosition:
		return where + s.position.String()
	}
	return "at the first event of the direction"
}

func (s Start) validate(argument, stream string) error {
	var reason string
	switch {
	case s.kind == startNumber && stream == AllStream:
		reason = AllStream + " has no event numbers: give a position"
	case s.kind == startPosition && stream != AllStream:
		reason = "a single stream has no log positions: give an event number"
	case s.kind == startNumber && (s.number < -1 || s.included && s.number < 0):
		reason = fmt.Sprintf("%d is no event number", s.number)
	case s.kind == startPosition && (s.position.Commit < 0 || s.position.Prepare < 0):
		reason = fmt.Sprintf("no read can begin at %v", s.position)
	default:
		return nil
	}
	return &ArgumentError{Argument: argument, Reason: reason}
}

// validateRead also refuses a start from which a read finds no event.
func (s Start) validateRead(argument, stream string, backward bool) error {
	if err := s.validate(argument, stream); err != nil {
		return err
	}
	var reason string
	switch {
	case s.kind == startBeginning && backward:
		reason = "no event is before the start: leave it out to read backward from the end"
	case s.kind == startEnd && !backward:
		reason = "no event is after the end: leave it out to read from the start"
	case s.kind == startNumber && !s.included && s.number == math.MaxInt64 && !backward:
		reason = fmt.Sprintf("no event can follow number %d", s.number)
	default:
		return nil
	}
	return &ArgumentError{Argument: argument, Reason: reason}
}
