package esclient

import (
	"context"
	"errors"
	"math"
	"strings"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// logPolicy is the reaction of a subscription to a log that has gone back.
type logPolicy int

const (
	end       logPolicy = iota // with ErrLogWentBack
	startOver                  // from the first event
	goOn                       // with new events
)

// mark is an event that identifies the log: the last delivered one, and before that CatchUpOptions.Known or the last
// one at the start of the subscription. The subscription looks for it once on each connection.
type mark struct {
	conn     *engine.Conn // of the last check
	any      bool         // there is such an event
	number   int64
	position Position // in $all
	id       uuid.UUID
	created  Timestamp
}

// set makes e the mark.
func (m *mark) set(e *Event) {
	o := e.Original()
	m.any, m.number, m.position, m.id, m.created = true, o.Number, e.Position, o.ID, o.Created
}

// finding is the result of a check of the log.
type finding struct {
	conn *engine.Conn
	same bool
	// other is set if another event is at the place of the mark. A node that merely lags has none there.
	other bool
	last  mark     // the last event of the log
	end   Position // of $all
}

// sameLog checks that a page that was read on conn is of the known log. If not, the caller must drop the page: the
// error ends the subscription, or reading begins again.
func (s *Subscription) sameLog(ctx context.Context, conn *engine.Conn) (same bool, err error) {
	switch {
	case conn == s.known.conn:
		return true, nil
	case !s.known.any:
		s.known.conn = conn
		return true, nil
	}
	same, err = s.verify(ctx)
	return same && err == nil && conn == s.known.conn, err
}

// verify checks whether the log is the known one, on the node that answers the subscription. If not, the subscription
// ends with the error, or its cursor is set to the next event to deliver.
func (s *Subscription) verify(ctx context.Context) (same bool, err error) {
	look := s.lookInStream
	if s.cursor.all {
		look = s.lookInAll
	}
	found, err := look(ctx)
	var large *FrameTooLargeError
	switch {
	case errors.As(err, &large), errors.Is(err, ErrNotSupported):
		found.same = true // a read-only replica is not the leader, but names no other node
	case err != nil:
		return false, err
	}
	switch {
	case !found.same && (found.other || s.leads(ctx, found.conn)):
		return false, s.wentBack(ctx, &found)
	case !s.known.any:
		s.known = found.last
	case found.same && s.cursor.all && found.last.any:
		s.turnBack(found.last.position)
	}
	if s.known.conn = found.conn; s.cursor.all && found.same && err == nil {
		s.tellIfBehind(s.start.position.Compare(found.end) > 0, found.end)
	}
	return true, nil
}

// turnBack moves the cursor back to the last event of $all, if it is further on. The events between are gone, and were
// not picked, but new events will take their positions.
func (s *Subscription) turnBack(last Position) {
	asked := s.start.kind == startPosition && s.start.position.Compare(last) > 0
	if !asked && last.Compare(s.cursor.position) < 0 {
		s.cursor.start(AfterPosition(last))
	}
}

// leads reports whether a node is the leader. Another node may merely lag behind.
func (s *Subscription) leads(ctx context.Context, conn *engine.Conn) bool {
	if s.c.requireLeader(ctx) {
		return true // only the leader has answered
	}
	creds, err := credentialsFrom(ctx)
	if err != nil {
		return false
	}
	ctx = WithRequireLeader(ctx, true)
	var op engine.Operation = s.c.readStreamOp(ctx, s.stream, ReadOptions{MaxCount: 1})
	if s.cursor.all {
		op = s.c.readAllOp(ctx, ReadAllOptions{MaxCount: 1, PageSize: 1})
	}
	_, err = conn.Do(ctx, op, creds)
	return err == nil || errors.Is(err, ErrStreamNotFound)
}

// lookInStream looks for the mark, or for the last event if there is no mark yet.
func (s *Subscription) lookInStream(ctx context.Context) (found finding, err error) {
	opts := ReadOptions{Backward: true, MaxCount: 1, PageSize: 1}
	if s.known.any {
		opts = ReadOptions{From: FromNumber(s.known.number), MaxCount: 1, PageSize: 1}
	}
	op := s.c.readStreamOp(ctx, s.stream, opts)
	found.conn, err = s.c.readOn(ctx, op)
	missing := errors.Is(err, ErrStreamNotFound)
	if err != nil && !missing {
		return found, op.failed(err)
	}
	page := StreamPage{LastEventNumber: op.reply.LastEventNumber}
	if !missing {
		if page, err = op.page(); err != nil {
			return found, op.failed(err)
		}
	}
	switch known := &s.known; {
	case !known.any:
		if found.same = true; len(page.Events) > 0 {
			found.last.set(&page.Events[0])
		}
		return found, nil
	case len(page.Events) > 0 && page.Events[0].Number == known.number:
		found.same = page.Events[0].ID == known.id
		found.other = !found.same
	case missing && page.LastEventNumber < 0:
		if found.same, err = s.softDeleted(ctx); err != nil {
			return found, err
		}
	default: // a stream whose events were truncated or deleted still has the number of the last one
		found.same = page.LastEventNumber >= known.number
	}
	found.last.number = page.LastEventNumber
	return found, nil
}

// softDeleted reports whether the stream has no events because it was soft-deleted, if the server does not tell the
// number of its last event. A write brings such a stream back with the next number.
func (s *Subscription) softDeleted(ctx context.Context) (bool, error) {
	if strings.HasPrefix(s.stream, metadataPrefix) {
		return false, nil
	}
	m, _, err := s.c.StreamMetadata(ctx, s.stream)
	if errors.Is(err, ErrAccessDenied) {
		return true, nil // an empty log would deny nothing
	}
	return m.TruncateBefore == math.MaxInt64, err
}

// errNodeChanged is the error of a check whose reads were answered by different nodes.
var errNodeChanged = errors.New("esclient: the node changed")

// lookInAll looks for the mark in the log, and for the last event. It takes several reads, and begins again if the
// connection is lost between them: on the next one another log may answer.
func (s *Subscription) lookInAll(ctx context.Context) (found finding, err error) {
	for {
		if found, err = s.lookInAllOnce(ctx); !errors.Is(err, errNodeChanged) {
			return found, err
		}
	}
}

func (s *Subscription) lookInAllOnce(ctx context.Context) (found finding, err error) {
	page, conn, err := s.oneOfAll(ctx, ReadAllOptions{Backward: true})
	if found.conn = conn; err != nil {
		return found, err
	}
	found.end = page.From
	last := page.first()
	if last != nil {
		found.last.set(last)
	}
	known := &s.known
	if !known.any || last == nil {
		found.same = !known.any
		return found, nil
	}
	switch last.Position.Compare(known.position) {
	case -1:
		return found, nil
	case 0:
		found.same = last.ID == known.id
		found.other = !found.same
		return found, nil
	}
	page, conn, err = s.oneOfAll(ctx, ReadAllOptions{From: FromPosition(known.position)})
	e := page.first()
	switch {
	case conn != nil && conn != found.conn:
		return found, errNodeChanged
	case errors.Is(err, ErrServer): // no event begins there
		return found, nil
	case err != nil:
		return found, err
	case e != nil && e.Position == known.position:
		found.same = e.ID == known.id
		found.other = !found.same
		return found, nil
	}
	// The event may have been removed from the log. Then the events before it are older.
	page, conn, err = s.oneOfAll(ctx, ReadAllOptions{From: AfterPosition(known.position), Backward: true})
	e = page.first()
	switch {
	case conn != nil && conn != found.conn:
		return found, errNodeChanged
	case errors.Is(err, ErrServer):
		return found, nil
	case err != nil:
		return found, err
	}
	found.same = e == nil || known.created.IsZero() || e.Created <= known.created
	return found, nil
}

// oneOfAll reads a page of one event of $all.
func (s *Subscription) oneOfAll(ctx context.Context, opts ReadAllOptions) (AllPage, *engine.Conn, error) {
	opts.MaxCount, opts.PageSize = 1, 1
	op := s.c.readAllOp(ctx, opts)
	conn, err := s.c.readOn(ctx, op)
	if err != nil {
		return AllPage{}, conn, op.failed(err)
	}
	page, err := op.page()
	if err != nil {
		return AllPage{}, conn, op.failed(err)
	}
	return page, conn, nil
}

// first returns the page's first event; nil for none.
func (p *AllPage) first() *Event {
	if len(p.Events) == 0 {
		return nil
	}
	return &p.Events[0]
}
