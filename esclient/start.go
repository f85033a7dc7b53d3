package esclient

import (
	"fmt"
	"math"
)

// Start says where a read or a catch-up subscription begins. The zero Start is where its direction begins: with the
// first event there is or, for a read that goes backward, with the last.
type Start struct {
	kind     startKind
	number   int64
	position Position
	included bool // the event at number or position itself is wanted, too
}

type startKind int

const (
	startDefault startKind = iota
	startBeginning
	startEnd
	startNumber
	startPosition
)

// FromStart begins with the first event there is. Nothing lies before it, so that no read begins there to go backward.
func FromStart() Start { return Start{kind: startBeginning} }

// FromEnd begins with the first event that is written after the subscription was made, or has a read go backward from
// the last event.
func FromEnd() Start { return Start{kind: startEnd} }

// FromNumber begins with event n of the stream.
func FromNumber(n int64) Start { return Start{kind: startNumber, number: n, included: true} }

// AfterNumber begins with the event behind event n of the stream, or before it for a read that goes backward: n is the
// last one that was dealt with.
func AfterNumber(n int64) Start { return Start{kind: startNumber, number: n} }

// FromPosition begins, in AllStream, with the event at position p.
func FromPosition(p Position) Start { return Start{kind: startPosition, position: p, included: true} }

// AfterPosition begins, in AllStream, with the event behind position p, or before it for a read that goes backward: p is
// that of the last one that was dealt with.
func AfterPosition(p Position) Start { return Start{kind: startPosition, position: p} }

// String says in words where it is.
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
	return "where the direction begins"
}

func (s Start) validate(stream string) error {
	switch {
	case s.kind == startNumber && stream == AllStream:
		return &ArgumentError{Argument: "Start", Reason: "an event number says nothing about " + AllStream + ": give a position"}
	case s.kind == startPosition && stream != AllStream:
		return &ArgumentError{Argument: "Start", Reason: "a log position says nothing about a single stream: give an event number"}
	case s.kind == startNumber && (s.number < -1 || s.included && s.number < 0):
		return &ArgumentError{Argument: "Start", Reason: fmt.Sprintf("%d is no event number", s.number)}
	case s.kind == startPosition && (s.position.Commit < 0 || s.position.Prepare < 0):
		return &ArgumentError{Argument: "Start", Reason: fmt.Sprintf("%v is no position to begin at", s.position)}
	}
	return nil
}

// validateRead is validate for a read, which must have something to read.
func (s Start) validateRead(argument, stream string, backward bool) error {
	err := s.validate(stream)
	if invalid, ok := err.(*ArgumentError); ok {
		invalid.Argument = argument
		return invalid
	}
	switch {
	case s.kind == startBeginning && backward:
		return &ArgumentError{Argument: argument, Reason: "nothing lies before the start: leave it out to read backward from the end"}
	case s.kind == startEnd && !backward:
		return &ArgumentError{Argument: argument, Reason: "nothing lies behind the end: leave it out to read from the start"}
	case s.kind == startNumber && !s.included && s.number == math.MaxInt64 && !backward:
		return &ArgumentError{Argument: argument, Reason: fmt.Sprintf("no event follows number %d", s.number)}
	}
	return nil
}
