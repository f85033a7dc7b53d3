package estest

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// Errors of the direct methods of a Server, for errors.Is.
var (
	ErrNoStream      = errors.New("estest: the stream does not exist")
	ErrStreamDeleted = errors.New("estest: the stream is deleted")
	ErrNoLeader      = errors.New("estest: the node knows of no leader that could write")
)

// Event is an event as Append takes it and as Read returns it. Append looks at ID, Type, JSON, Data and Metadata only.
type Event struct {
	Stream   string
	Number   int64
	ID       uuid.UUID // Append makes one if it is zero
	Type     string
	JSON     bool // what the writer said of Data
	Data     []byte
	Metadata []byte
	Created  time.Time // UTC
	Commit   int64     // the position in the log; Prepare is another in transactions only
	Prepare  int64
}

// Append writes events to the end of a stream without a connection, as an administrator who expects no version, and
// returns the number of the last one. Whatever waits for these events gets them as if a client had written them, and
// ids that the stream was given before are recognised. Metadata is set by an event of type $metadata in $$<stream>. The
// error is ErrStreamDeleted for a stream that is gone for good, ErrNoLeader on a node of a cluster that cannot write at
// the moment; else it says what is wrong with the events.
func (s *Server) Append(stream string, events ...Event) (last int64, err error) {
	views := make([]esproto.NewEventView, len(events))
	for i := range events {
		e := &events[i]
		id := esproto.NewGUID(e.ID)
		if e.ID == uuid.Nil {
			id = eventlog.NewGUID()
		}
		views[i] = esproto.NewEventView{EventID: id[:], EventType: e.Type, Data: e.Data, Metadata: e.Metadata}
		if e.JSON {
			views[i].DataContentType = esproto.ContentTypeJSON
		}
	}
	if err := checkWrite(stream, esproto.ExpectAny, esproto.ExpectAny); err != nil {
		return 0, fmt.Errorf("estest: %w", err)
	}
	checked, err := s.core.persona.checkEvents(views, nil)
	if err != nil {
		return 0, fmt.Errorf("estest: %w", err)
	}
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	core := s.writer()
	if core == nil {
		return 0, ErrNoLeader
	}
	o := core.log.Append(eventlog.System, stream, esproto.ExpectAny, checked)
	switch o.Result {
	case esproto.OperationResult_Success:
		return o.Last, nil
	case esproto.OperationResult_StreamDeleted:
		return 0, ErrStreamDeleted
	}
	return 0, fmt.Errorf("estest: the write to %q is refused: %v", stream, o.Result)
}

// Read returns up to limit events of a stream, from number from on, without a connection; without a limit if that is
// not positive. As for clients, what metadata hides is left out; links are not resolved. The error is ErrNoStream for a
// stream that was never written to or is soft-deleted, ErrStreamDeleted for one that is gone for good.
func (s *Server) Read(stream string, from int64, limit int) ([]Event, error) {
	c := s.core
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.log.HardDeleted(stream) {
		return nil, ErrStreamDeleted
	}
	st := c.log.Stream(stream)
	if st == nil || st.Last() < 0 || st.SoftDeleted() {
		return nil, ErrNoStream
	}
	var events []Event
	now := c.now()
	for n := max(from, st.First()); n <= st.Last() && (limit <= 0 || len(events) < limit); n++ {
		if r := st.Visible(n, now); r != nil {
			saved := r.Saved()
			events = append(events, eventOf(&saved))
		}
	}
	return events, nil
}

// eventOf copies an event, so that the caller can change it.
func eventOf(e *eventlog.SavedEvent) Event {
	return Event{
		Stream: e.Stream, Number: e.Number, ID: e.ID.UUID(), Type: e.Type, JSON: e.JSON,
		Data: append([]byte(nil), e.Data...), Metadata: append([]byte(nil), e.Metadata...),
		Created: e.Created, Commit: e.Commit, Prepare: e.Prepare,
	}
}

// ForgetEventIDs empties the memory of event ids on which idempotency with the versions Any and StreamExists rests, as
// a change of the leader does: an append with one of them that is repeated is written again.
func (s *Server) ForgetEventIDs() {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	s.core.log.ForgetIDs()
}
