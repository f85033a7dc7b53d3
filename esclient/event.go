package esclient

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// ContentType tells the server the format of an event's data. It only matters to others: projections and the web
// interface look into JSON alone. The data is never changed or checked.
type ContentType uint8

// The content types.
const (
	ContentTypeBinary ContentType = 0
	ContentTypeJSON   ContentType = 1
)

// String returns "json" or "binary".
func (c ContentType) String() string {
	if c == ContentTypeJSON {
		return "json"
	}
	return "binary"
}

// EventData is an event to append.
type EventData struct {
	// ID identifies the event. The server takes an event for written if the stream has one with the same id at that
	// place, whatever its data. The zero UUID stands for a random one, which the client makes once for each call.
	ID uuid.UUID
	// Type is the event's type, which must not be empty.
	Type string
	// ContentType is the type of Data; the default is binary.
	ContentType ContentType
	// Data and Metadata may be empty.
	Data     []byte
	Metadata []byte
}

// Size returns the size in bytes that is compared with [MaxEventSize].
func (e *EventData) Size() int { return len(e.Data) + len(e.Metadata) + 2*len(e.Type) }

// JSONEvent returns an event of the given type whose data is v as JSON.
func JSONEvent(eventType string, v any) (EventData, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return EventData{}, fmt.Errorf("esclient: data of an event of type %q: %w", eventType, err)
	}
	return EventData{Type: eventType, ContentType: ContentTypeJSON, Data: data}, nil
}

// newID makes a random (version 4) id. It need not be a secret, only unique, so the runtime's generator will do.
func newID() uuid.UUID {
	var u uuid.UUID
	binary.LittleEndian.PutUint64(u[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(u[8:], rand.Uint64())
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// Position is a position in the server's log. Positions from a server may be compared, and a read of $all may begin
// there. They mean nothing else.
type Position struct {
	Commit  int64
	Prepare int64
}

// The ends of the log, and the position of an event whose place in the log the server did not tell.
var (
	StartPosition   = Position{}
	EndPosition     = Position{Commit: -1, Prepare: -1}
	UnknownPosition = EndPosition
)

// Compare returns -1, 0 or 1 where p is before, at or after q.
func (p Position) Compare(q Position) int {
	switch {
	case p == q:
		return 0
	case p.Commit < q.Commit || p.Commit == q.Commit && p.Prepare < q.Prepare:
		return -1
	}
	return 1
}

// String prints the position as C:…/P:….
func (p Position) String() string { return fmt.Sprintf("C:%d/P:%d", p.Commit, p.Prepare) }

// Timestamp is a time as servers tell it, in units of 100 ns since the year 1, UTC. Zero means that the server does not
// tell the time. It takes a third of the memory of a [time.Time]. Later times are greater.
type Timestamp int64

// TimestampOf returns the timestamp of a time in the years 1 to 9999. It cuts off parts below 100 ns. The zero time has
// the zero Timestamp.
func TimestampOf(t time.Time) Timestamp { return Timestamp(esproto.TimeToTicks(t)) }

// IsZero reports whether the time is not known.
func (t Timestamp) IsZero() bool { return t == 0 }

// Time returns the time in UTC; the zero time if it is not known.
func (t Timestamp) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return esproto.TicksToTime(int64(t))
}

// String prints the time in the format of RFC 3339.
func (t Timestamp) String() string { return t.Time().Format(time.RFC3339Nano) }

// MarshalText writes the time in the format of RFC 3339, so JSON has it like a [time.Time]. It never fails.
func (t Timestamp) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the format of RFC 3339. It cuts off parts below 100 ns.
func (t *Timestamp) UnmarshalText(text []byte) error {
	parsed, err := time.Parse(time.RFC3339, string(text))
	if parsed = parsed.UTC(); err == nil && (parsed.Year() < 1 || parsed.Year() > 9999) {
		err = fmt.Errorf("%s is not in the years 1 to 9999", text)
	}
	if err != nil {
		return fmt.Errorf("esclient: no timestamp: %w", err)
	}
	*t = TimestampOf(parsed)
	return nil
}

// Event is an event that was read or pushed. An event that was read is part of its page: a caller that keeps the event,
// or only the name of its stream, keeps the whole page in memory. An event that was pushed, or that ReadEvent has read,
// keeps little more than itself; a small pushed event shares some 12 KiB with the events before and after it. Clone
// makes a copy that keeps nothing else. The client does not use an Event after it has returned it: the caller may
// change the byte slices within their length.
type Event struct {
	Stream   string
	Number   int64 // counts the stream's events from 0
	ID       uuid.UUID
	Type     string
	Data     []byte
	Metadata []byte
	// Created is when the server wrote the event.
	Created Timestamp
	// Position is the position of the event in the log, if the server tells it: in reads of $all, in subscriptions to
	// $all, and in pushes of volatile subscriptions. Otherwise it is [UnknownPosition].
	Position Position
	// Link is the link event through which this one was read, if links were resolved.
	Link *Event
	// RetryCount is how often a persistent subscription has delivered the event before, by the server's count.
	RetryCount int32
	// ContentType is the type of Data.
	ContentType ContentType
	// Unresolved is true for a link that leads to no event, if links were resolved: the target is gone, the data of the
	// link names none, or the target is a link too; in some subscriptions also if the user may not read the target, see
	// CatchUpOptions.ResolveLinks. The event's fields are those of the link itself; if the target is a link, they are
	// those of that one, and Link is the first.
	Unresolved bool
}

// Original returns the event of the stream that was read or subscribed to: the link if e came by one, otherwise e. Its
// number and id are those for checkpoints and acks.
func (e *Event) Original() *Event {
	if e.Link != nil {
		return e.Link
	}
	return e
}

// JSON decodes the event's data into v, whatever its ContentType. An event without data is an error.
func (e *Event) JSON(v any) error {
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("esclient: data of event %d@%s of type %q: %w", e.Number, e.Stream, e.Type, err)
	}
	return nil
}

// MetadataJSON decodes the event's metadata into v. An event without metadata is an error.
func (e *Event) MetadataJSON(v any) error {
	if err := json.Unmarshal(e.Metadata, v); err != nil {
		return fmt.Errorf("esclient: metadata of event %d@%s of type %q: %w", e.Number, e.Stream, e.Type, err)
	}
	return nil
}

// Clone returns a copy of the event, and of its link, that shares no memory with it, nor with the page it came in.
func (e *Event) Clone() *Event {
	c := *e
	c.Stream, c.Type = strings.Clone(e.Stream), strings.Clone(e.Type)
	c.Data, c.Metadata = bytes.Clone(e.Data), bytes.Clone(e.Metadata)
	if e.Link != nil {
		c.Link = e.Link.Clone()
	}
	return &c
}

// fill sets e from a received event.
func (e *Event) fill(v *esproto.EventView, pos Position) {
	switch {
	case !v.HasEvent:
		e.fillRecord(&v.Link)
		e.Unresolved = true
	case v.HasLink:
		e.fillRecord(&v.Event)
		e.Link = new(Event)
		e.Link.fillRecord(&v.Link)
		e.Link.Position = pos
	default:
		e.fillRecord(&v.Event)
	}
	e.Position = pos
}

func (e *Event) fillRecord(r *esproto.RecordView) {
	id, _ := esproto.ParseGUID(r.EventID)
	e.Stream, e.Number, e.ID, e.Type = r.StreamID, r.EventNumber, id.UUID(), r.EventType
	e.Data, e.Metadata, e.Created = r.Data, r.Metadata, Timestamp(r.Ticks())
	e.Position = UnknownPosition
	if r.DataContentType == esproto.ContentTypeJSON {
		e.ContentType = ContentTypeJSON
	}
}
