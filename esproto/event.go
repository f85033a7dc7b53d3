package esproto

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// ContentTypeJSON is the content type of JSON data; every other value, usually 0, is binary.
const ContentTypeJSON = 1

// DeletedStream is the event number of the tombstone that ends a hard-deleted stream. It is also the last event number
// of such a stream in a reply.
const DeletedStream int64 = 1<<63 - 1

// RecordView is an EventRecord that aliases its frame.
type RecordView struct {
	StreamID            string
	EventNumber         int64
	EventID             []byte // 16 bytes in valid messages
	EventType           string
	DataContentType     int32
	MetadataContentType int32
	Data                []byte
	Metadata            []byte
	Created             int64 // 100 ns ticks since the year 1, UTC; see Time
	CreatedEpoch        int64 // milliseconds since 1970, UTC
}

// Decode reads an EventRecord. It merges into r, as protobuf does with a message in several pieces: clear r first.
func (r *RecordView) Decode(b []byte) error {
	i := 0
	for i < len(b) {
		tag, n, v, next := nextField(b, i)
		i = next
		switch tag {
		case 1<<3 | wireBytes:
			r.StreamID = text(v)
		case 2<<3 | wireVarint:
			r.EventNumber = int64(n)
		case 3<<3 | wireBytes:
			r.EventID = v
		case 4<<3 | wireBytes:
			r.EventType = text(v)
		case 5<<3 | wireVarint:
			r.DataContentType = int32(n)
		case 6<<3 | wireVarint:
			r.MetadataContentType = int32(n)
		case 7<<3 | wireBytes:
			r.Data = v
		case 8<<3 | wireBytes:
			r.Metadata = v
		case 9<<3 | wireVarint:
			r.Created = int64(n)
		case 10<<3 | wireVarint:
			r.CreatedEpoch = int64(n)
		}
	}
	return end(b, i)
}

// Append appends the record as an EventRecord message.
func (r *RecordView) Append(b []byte, style Style) []byte {
	omit := style == OmitZeros
	if !omit || r.StreamID != "" {
		b = appendBytes(b, 1, r.StreamID)
	}
	if !omit || r.EventNumber != 0 {
		b = appendInt(b, 2, r.EventNumber)
	}
	if !omit || len(r.EventID) > 0 {
		b = appendBytes(b, 3, r.EventID)
	}
	if !omit || r.EventType != "" {
		b = appendBytes(b, 4, r.EventType)
	}
	if !omit || r.DataContentType != 0 {
		b = appendInt(b, 5, int64(r.DataContentType))
	}
	if !omit || r.MetadataContentType != 0 {
		b = appendInt(b, 6, int64(r.MetadataContentType))
	}
	if !omit || len(r.Data) > 0 {
		b = appendBytes(b, 7, r.Data)
	}
	if !omit || len(r.Metadata) > 0 {
		b = appendBytes(b, 8, r.Metadata)
	}
	if !omit || r.Created != 0 {
		b = appendInt(b, 9, r.Created)
	}
	if !omit || r.CreatedEpoch != 0 {
		b = appendInt(b, 10, r.CreatedEpoch)
	}
	return b
}

// Ticks returns the time of the write at the server, in .NET ticks: that of Time. It is zero if the server sent none.
func (r *RecordView) Ticks() int64 {
	switch {
	case r.Created != 0:
		return r.Created & ticksMask
	case r.CreatedEpoch != 0:
		return (r.CreatedEpoch*ticksPerMilli + unixEpochTicks) & ticksMask
	}
	return 0
}

// Time returns the time of the write at the server, in UTC: Created, in units of 100 ns, or CreatedEpoch, in
// milliseconds, if the server sent only that. It is the zero time if the server sent neither.
func (r *RecordView) Time() time.Time {
	switch {
	case r.Created != 0:
		return TicksToTime(r.Created)
	case r.CreatedEpoch != 0:
		return time.UnixMilli(r.CreatedEpoch).UTC()
	}
	return time.Time{}
}

const (
	ticksPerSecond = 10_000_000
	ticksPerMilli  = 10_000
	unixEpochTicks = 621_355_968_000_000_000 // 1970-01-01 in ticks
	ticksMask      = 1<<62 - 1               // the two top bits are .NET's DateTimeKind
)

// TicksToTime turns .NET ticks, 100 ns since the year 1, into a time in UTC. It ignores the two top bits, in which .NET
// may put the kind of the time. So every value is a time from the year 1 on.
func TicksToTime(ticks int64) time.Time {
	t := ticks&ticksMask - unixEpochTicks
	return time.Unix(t/ticksPerSecond, t%ticksPerSecond*100).UTC()
}

// TimeToTicks turns a time into .NET ticks and cuts off parts below 100 ns. The time must be in the years 1 to 9999,
// the range of .NET.
func TimeToTicks(t time.Time) int64 {
	return t.Unix()*ticksPerSecond + int64(t.Nanosecond()/100) + unixEpochTicks
}

// EventView is a ResolvedEvent or ResolvedIndexedEvent that aliases its frame. The number, stream and id of the
// original event count for acks and checkpoints: that is Link if HasLink, else Event.
type EventView struct {
	Event           RecordView
	Link            RecordView
	HasEvent        bool // false for an unresolved link, and for an empty ReadEventCompleted.event
	HasLink         bool
	CommitPosition  int64 // of a ResolvedEvent only
	PreparePosition int64 // of a ResolvedEvent only
}

// Original returns the link if there is one, else the event.
func (e *EventView) Original() *RecordView {
	if e.HasLink {
		return &e.Link
	}
	return &e.Event
}

// Decode reads a ResolvedEvent or a ResolvedIndexedEvent. It merges into e: clear e first.
func (e *EventView) Decode(b []byte) error {
	i := 0
	for i < len(b) {
		tag, n, v, next := nextField(b, i)
		i = next
		switch tag {
		case 1<<3 | wireBytes:
			e.HasEvent = true
			if err := e.Event.Decode(v); err != nil {
				return err
			}
		case 2<<3 | wireBytes:
			e.HasLink = true
			if err := e.Link.Decode(v); err != nil {
				return err
			}
		case 3<<3 | wireVarint:
			e.CommitPosition = int64(n)
		case 4<<3 | wireVarint:
			e.PreparePosition = int64(n)
		}
	}
	return end(b, i)
}

// AppendIndexedEvent appends field num, 1 to 15, holding a ResolvedIndexedEvent of encoded EventRecords; nil means
// absent.
func AppendIndexedEvent(b []byte, num protowire.Number, event, link []byte) []byte {
	b = appendLength(b, num, sizeRecords(event, link))
	return appendRecords(b, event, link)
}

// AppendPositionedEvent appends field num, 1 to 15, holding a ResolvedEvent of encoded EventRecords; nil means absent.
func AppendPositionedEvent(
	b []byte, num protowire.Number, event, link []byte, commit, prepare int64, style Style,
) []byte {
	n := sizeRecords(event, link)
	withCommit, withPrepare := style == Explicit || commit != 0, style == Explicit || prepare != 0
	if withCommit {
		n += sizeInt(commit)
	}
	if withPrepare {
		n += sizeInt(prepare)
	}
	b = appendLength(b, num, n)
	b = appendRecords(b, event, link)
	if withCommit {
		b = appendInt(b, 3, commit)
	}
	if withPrepare {
		b = appendInt(b, 4, prepare)
	}
	return b
}

func sizeRecords(event, link []byte) int {
	n := 0
	if event != nil {
		n += sizeBytes(len(event))
	}
	if link != nil {
		n += sizeBytes(len(link))
	}
	return n
}

func appendRecords(b, event, link []byte) []byte {
	if event != nil {
		b = appendBytes(b, 1, event)
	}
	if link != nil {
		b = appendBytes(b, 2, link)
	}
	return b
}
