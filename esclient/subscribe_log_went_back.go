package esclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// ErrLogWentBack ends a catch-up subscription when the server comes back with an older or an empty log, or with one
// that has other events. Numbers and positions that the subscription has seen may belong to other events from then on.
// The error is a [*LogWentBackError].
var ErrLogWentBack = errors.New("esclient: the log went back")

// LogWentBackError is the error of a subscription whose log went back: the last event that the subscription knew, and
// the end of the log now. It matches [ErrLogWentBack].
type LogWentBackError struct {
	Stream string
	// KnownID is the id of the last event that the subscription knew. KnownNumber is its number, or KnownPosition its
	// position in AllStream.
	KnownID       uuid.UUID
	KnownNumber   int64
	KnownPosition Position
	// FoundNumber and FoundPosition are those of the last event now; -1 and UnknownPosition if there is none. If it is
	// after the known event, the log has grown again, and has another event or none at that place.
	FoundNumber   int64
	FoundPosition Position
}

// Error names the stream, the last known event, and the end of the log now.
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

// Is makes the error match [ErrLogWentBack].
func (e *LogWentBackError) Is(target error) bool { return target == ErrLogWentBack }

// wentBack reacts to a log that is not the known one. It returns the error that ends the subscription, or sets the
// place to go on and returns nil.
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

// newest returns the start of the events that were created after the mark. It reads them backward from the last one.
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
		case e.Created > s.known.created:
		case s.cursor.all:
			return AfterPosition(e.Position), nil
		default:
			return AfterNumber(e.Number), nil
		}
	}
	return FromStart(), nil
}

// tellIfBehind reports once that a catch-up subscription begins after the end of the stream or the log.
func (s *Subscription) tellIfBehind(behind bool, end any) {
	told := s.told
	if s.told = true; told || !behind || s.start.kind != startNumber && s.start.kind != startPosition {
		return
	}
	s.report.startsBehindEnd(fmt.Errorf("esclient: the subscription begins %v, but the end is %v: "+
		"no event comes until the stream gets there", s.start, end))
}
