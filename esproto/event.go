package esproto

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// ContentTypeJSON is the content type of JSON data; every other value, usually 0, is binary.
const ContentTypeJSON = 1

// DeletedStream is the event number of the tombstone that ends a hard-deleted stream, and what such a stream reports
// as its last event number.
const DeletedStream int64 = 1<<63 - 1

// RecordView is an EventRecord that aliases its frame.
type RecordView struct {
	StreamID            string
	EventNumber         int64
	EventID             []byte // 16 bytes unless the server errs
	EventType           string
	DataContentType     int32
	MetadataContentType int32
	Data                []byte
	Metadata            []byte
	Created             int64 // 100 ns ticks since the year 1, UTC; see Time
	CreatedEpoch        int64 // milliseconds since 1970, UTC
}

// Decode reads an EventRecord. It merges into r, as protobuf does with a message that comes in pieces: clear r first.
func (r *RecordView) Decode(b []byte) error {
	d := decoder{b: b}
	for d.next() {
		switch {
		case d.is(1, protowire.BytesType):
			r.StreamID = d.string()
		case d.is(2, protowire.VarintType):
			r.EventNumber = d.int64()
		case d.is(3, protowire.BytesType):
			r.EventID = d.bytes()
		case d.is(4, protowire.BytesType):
			r.EventType = d.string()
		case d.is(5, protowire.VarintType):
			r.DataContentType = d.int32()
		case d.is(6, protowire.VarintType):
			r.MetadataContentType = d.int32()
		case d.is(7, protowire.BytesType):
			r.Data = d.bytes()
		case d.is(8, protowire.BytesType):
			r.Metadata = d.bytes()
		case d.is(9, protowire.VarintType):
			r.Created = d.int64()
		case d.is(10, protowire.VarintType):
			r.CreatedEpoch = d.int64()
		default:
			d.skip()
		}
	}
	return d.err
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

// Time returns when the server wrote the event, in UTC: from Created, or from CreatedEpoch where the server sent only
// that, or the zero time where it sent neither.
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
	unixEpochTicks = 621_355_968_000_000_000 // 1970-01-01 in ticks
	ticksMask      = 1<<62 - 1               // the two top bits are .NET's DateTimeKind
)

// TicksToTime turns .NET ticks, 100 ns since the year 1, into a time in UTC.
func TicksToTime(ticks int64) time.Time {
	t := ticks&ticksMask - unixEpochTicks
	return time.Unix(t/ticksPerSecond, t%ticksPerSecond*100).UTC()
}

// TimeToTicks turns a time into .NET ticks.
func TimeToTicks(t time.Time) int64 {
	return t.Unix()*ticksPerSecond + int64(t.Nanosecond()/100) + unixEpochTicks
}

// EventView is a ResolvedEvent or ResolvedIndexedEvent that aliases its frame. The original event, whose number, stream
// and id count for acks and checkpoints, is Link where HasLink, else Event.
type EventView struct {
	Event           RecordView
	Link            RecordView
	HasEvent        bool // false for a link that could not be resolved, and for an empty ReadEventCompleted.event
	HasLink         bool
	CommitPosition  int64 // of a ResolvedEvent only
	PreparePosition int64 // of a ResolvedEvent only
}

// Original returns the link where there is one, else the event.
func (e *EventView) Original() *RecordView {
	if e.HasLink {
		return &e.Link
	}
	return &e.Event
}

// Decode reads a ResolvedEvent or a ResolvedIndexedEvent. It merges into e: clear e first.
func (e *EventView) Decode(b []byte) error {
	d := decoder{b: b}
	for d.next() {
		switch {
		case d.is(1, protowire.BytesType):
			e.HasEvent = true
			d.nested(e.Event.Decode)
		case d.is(2, protowire.BytesType):
			e.HasLink = true
			d.nested(e.Link.Decode)
		case d.is(3, protowire.VarintType):
			e.CommitPosition = d.int64()
		case d.is(4, protowire.VarintType):
			e.PreparePosition = d.int64()
		default:
			d.skip()
		}
	}
	return d.err
}

func (d *decoder) nested(decode func([]byte) error) {
	b := d.bytes()
	if d.err == nil {
		d.err = decode(b)
	}
}

// AppendIndexedEvent appends field num holding a ResolvedIndexedEvent of encoded EventRecords; nil means absent.
func AppendIndexedEvent(b []byte, num protowire.Number, event, link []byte) []byte {
	b = appendLength(b, num, sizeRecords(event, link))
	return appendRecords(b, event, link)
}

// AppendPositionedEvent appends field num holding a ResolvedEvent of encoded EventRecords; nil means absent.
func AppendPositionedEvent(b []byte, num protowire.Number, event, link []byte, commit, prepare int64, style Style) []byte {
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
