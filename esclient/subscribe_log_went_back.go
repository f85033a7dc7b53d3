package esclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// ErrLogWentBack ends a catch-up subscription when the server comes back with an older log, or an empty one: numbers
// and positions that the subscription has seen mean something else from then on, or will. The error is a
// *LogWentBackError.
var ErrLogWentBack = errors.New("esclient: the log went back")

// LogWentBackError says what a subscription had seen of the log, and what is left of it. It is ErrLogWentBack.
type LogWentBackError struct {
	Stream string
	// KnownID is the last event that the subscription knew, with its number, or in AllStream with its position.
	KnownID       uuid.UUID
	KnownNumber   int64
	KnownPosition Position
	// FoundNumber and FoundPosition are those of the last event that there is now; -1 and UnknownPosition if there is
	// none. It may lie behind the known one: then the log has grown again, and has another event there, or none.
	FoundNumber   int64
	FoundPosition Position
}

func (e *LogWentBackError) Error() string {
	s := fmt.Sprintf("%v: stream %q", ErrLogWentBack, e.Stream)
	what, known, found := "number", any(e.KnownNumber), any(e.FoundNumber)
	behind := e.FoundNumber >= e.KnownNumber
	if e.Stream == AllStream {
		what, known, found = "position", e.KnownPosition, e.FoundPosition
		behind = e.FoundPosition.Compare(e.KnownPosition) >= 0
	}
	if behind {
		return fmt.Sprintf("%s has another event at %s %v, or none, and goes on to %v", s, what, known, found)
	}
	return fmt.Sprintf("%s had an event at %s %v, and ends at %v", s, what, known, found)
}

// Is makes the error match ErrLogWentBack.
func (e *LogWentBackError) Is(target error) bool { return target == ErrLogWentBack }

// wentBack follows the finding that the log is another one. It returns the error with which the subscription ends, or
// nil after it has set where to go on.
func (s *Subscription) wentBack(ctx context.Context, found *finding) error {
	err := &LogWentBackError{
		Stream: s.stream, KnownID: s.known.id, KnownNumber: s.known.number, KnownPosition: s.known.position,
		FoundNumber: found.last.number, FoundPosition: UnknownPosition,
	}
	if s.cursor.all {
		if err.KnownNumber, err.FoundNumber = -1, -1; found.last.any {
			err.FoundPosition = found.last.position
		}
	}
	if s.logPolicy == end {
		return err
	}
	fresh := cursor{all: s.cursor.all, number: -1, passed: UnknownPosition}
	skips := s.logPolicy == goOn && (!s.fillGaps || s.known.created.IsZero())
	if s.logPolicy == goOn && !skips {
		start, err := s.newest(ctx)
		if err != nil {
			return err
		}
		fresh.start(start)
	}
	s.cursor, s.page, s.skips, s.atEnd, s.lastRead = fresh, nil, skips, skips, false
	s.known = mark{conn: found.conn}
	s.report.logWentBack(err)
	return nil
}

// newest returns where the events begin that were created after the mark. It reads them, from the last one on.
func (s *Subscription) newest(ctx context.Context) (Start, error) {
	events := s.c.ReadStream(ctx, s.stream, ReadOptions{Backward: true, PageSize: s.pageSize.now})
	if s.cursor.all {
		events = s.c.ReadAll(ctx, ReadAllOptions{Backward: true, PageSize: s.pageSize.now})
	}
	for e, err := range events {
		switch {
		case errors.Is(err, ErrStreamNotFound):
			return FromStart(), nil
		case err != nil:
			return Start{}, err
		case e.Created.After(s.known.created):
		case s.cursor.all:
			return AfterPosition(e.Position), nil
		default:
			return AfterNumber(e.Number), nil
		}
	}
	return FromStart(), nil
}

// tellIfBehind tells, once, that a catch-up subscription begins behind the end of what there is.
func (s *Subscription) tellIfBehind(behind bool, end any) {
	told := s.told
	if s.told = true; told || !behind || s.start.kind != startNumber && s.start.kind != startPosition {
		return
	}
	s.report.startsBehindEnd(fmt.Errorf("esclient: the subscription begins %v, and the end is %v: "+
		"nothing comes until the stream gets there", s.start, end))
}
