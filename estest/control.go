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

// Event is an event that [Server.Append] takes and [Server.Read] returns. Append uses only ID, Type, JSON, Data and
// Metadata.
type Event struct {
	Stream   string
	Number   int64
	ID       uuid.UUID // Append makes one if it is zero
	Type     string
	JSON     bool // whether the writer marked Data as JSON
	Data     []byte
	Metadata []byte
	Created  time.Time // UTC
	Commit   int64     // the position in the log; Prepare is another in transactions only
	Prepare  int64
}

// Append writes events to the end of a stream without a connection, as an administrator and with the expected version
// Any. It returns the number of the last event. Subscriptions and readers get the events as if a client had written
// them, and event ids that the stream already has count as repeated. An event of type $metadata in $$<stream> sets
// metadata. The error is [ErrStreamDeleted] after a hard delete, [ErrNoLeader] on a node of a cluster that cannot write
// at the moment; otherwise it names the fault of the events.
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

// Read returns up to limit events of a stream, from number from on, without a connection. A limit of zero or less means
// no limit. As for clients, Read omits events that metadata hides. It does not resolve links. The error is
// [ErrNoStream] for a stream that does not exist or is soft-deleted, [ErrStreamDeleted] after a hard delete.
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

// ForgetEventIDs empties the cache of event ids, as a change of the leader does. Idempotency with the versions Any and
// StreamExists rests on this cache: the server writes a repeated append with such a version again.
func (s *Server) ForgetEventIDs() {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	s.core.log.ForgetIDs()
}
