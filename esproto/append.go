package esproto

import "google.golang.org/protobuf/encoding/protowire"

// Expected versions of a stream. Values from 0 on name the number of the last event.
const (
	ExpectAny          int64 = -2 // no check
	ExpectNoStream     int64 = -1 // the stream has no events, or was soft-deleted
	ExpectStreamExists int64 = -4 // the stream has events or metadata
)

// InvalidEventNumber is the first and last event number of a failed write: the least int32, although numbers are int64.
const InvalidEventNumber int64 = -1 << 31

// MaxEventSize is the most that one event may take: data, metadata and twice the length of the type, in bytes. Servers
// up to 5.0 refuse a larger one with BadRequest, later ones fail less clearly.
const MaxEventSize = 16<<20 - 10_000

// NewEventView is a NewEvent. Decoded, it aliases its frame.
type NewEventView struct {
	EventID             []byte
	EventType           string
	DataContentType     int32
	MetadataContentType int32
	Data                []byte
	Metadata            []byte
}

// AppendWriteEvents begins a WriteEvents message; AppendNewEvent for each event and EndWriteEvents must follow.
func AppendWriteEvents(b []byte, stream string, expectedVersion int64) []byte {
	b = appendBytes(b, 1, stream)
	return appendInt(b, 2, expectedVersion)
}

// AppendNewEvent appends one event to a message begun by AppendWriteEvents.
func AppendNewEvent(b []byte, id GUID, eventType string, contentType int32, data, metadata []byte) []byte {
	return appendNewEvent(b, 3, id, eventType, contentType, data, metadata)
}

// EndWriteEvents ends a message begun by AppendWriteEvents.
func EndWriteEvents(b []byte, requireLeader bool) []byte { return appendBool(b, 4, requireLeader) }

// AppendTransactionWrite begins a TransactionWrite message; AppendTransactionEvent for each event and
// EndTransactionWrite must follow.
func AppendTransactionWrite(b []byte, transactionID int64) []byte {
	return appendInt(b, 1, transactionID)
}

// AppendTransactionEvent appends one event to a message begun by AppendTransactionWrite.
func AppendTransactionEvent(b []byte, id GUID, eventType string, contentType int32, data, metadata []byte) []byte {
	return appendNewEvent(b, 2, id, eventType, contentType, data, metadata)
}

// EndTransactionWrite ends a message begun by AppendTransactionWrite.
func EndTransactionWrite(b []byte, requireLeader bool) []byte { return appendBool(b, 3, requireLeader) }

func appendNewEvent(b []byte, num protowire.Number, id GUID, eventType string, contentType int32, data, metadata []byte) []byte {
	n := sizeBytes(len(id)) + sizeBytes(len(eventType)) + sizeInt(int64(contentType)) + sizeInt(0) + sizeBytes(len(data))
	if metadata != nil {
		n += sizeBytes(len(metadata))
	}
	b = appendLength(b, num, n)
	b = appendBytes(b, 1, id[:])
	b = appendBytes(b, 2, eventType)
	b = appendInt(b, 3, int64(contentType))
	b = appendInt(b, 4, 0)
	b = appendBytes(b, 5, data)
	if metadata != nil {
		b = appendBytes(b, 6, metadata)
	}
	return b
}

// Decode reads a NewEvent. It merges into e: clear e first.
func (e *NewEventView) Decode(b []byte) error {
	d := decoder{b: b}
	for d.next() {
		switch {
		case d.is(1, protowire.BytesType):
			e.EventID = d.bytes()
		case d.is(2, protowire.BytesType):
			e.EventType = d.string()
		case d.is(3, protowire.VarintType):
			e.DataContentType = d.int32()
		case d.is(4, protowire.VarintType):
			e.MetadataContentType = d.int32()
		case d.is(5, protowire.BytesType):
			e.Data = d.bytes()
		case d.is(6, protowire.BytesType):
			e.Metadata = d.bytes()
		default:
			d.skip()
		}
	}
	return d.err
}

// WriteEventsView is a WriteEvents that aliases its frame.
type WriteEventsView struct {
	StreamID        string
	ExpectedVersion int64
	Events          []NewEventView
	RequireLeader   bool
}

// Decode reads a WriteEvents. What w held before is forgotten, but the memory of its Events is used again.
func (w *WriteEventsView) Decode(b []byte) error {
	*w = WriteEventsView{Events: w.Events[:0]}
	d := decoder{b: b}
	for d.next() {
		switch {
		case d.is(1, protowire.BytesType):
			w.StreamID = d.string()
		case d.is(2, protowire.VarintType):
			w.ExpectedVersion = d.int64()
		case d.is(3, protowire.BytesType):
			w.Events = append(w.Events, NewEventView{})
			d.nested(w.Events[len(w.Events)-1].Decode)
		case d.is(4, protowire.VarintType):
			w.RequireLeader = d.bool()
		default:
			d.skip()
		}
	}
	return d.err
}

// WriteEventsCompletedView is a WriteEventsCompleted that aliases its frame.
type WriteEventsCompletedView struct {
	Result           OperationResult
	Message          string
	FirstEventNumber int64
	LastEventNumber  int64
	PreparePosition  int64
	CommitPosition   int64
	CurrentVersion   int64 // meaningful with WrongExpectedVersion only
}

// Decode reads a WriteEventsCompleted. What w held before is forgotten.
func (w *WriteEventsCompletedView) Decode(b []byte) error {
	*w = WriteEventsCompletedView{}
	d := decoder{b: b}
	for d.next() {
		switch {
		case d.is(1, protowire.VarintType):
			w.Result = OperationResult(d.int32())
		case d.is(2, protowire.BytesType):
			w.Message = d.string()
		case d.is(3, protowire.VarintType):
			w.FirstEventNumber = d.int64()
		case d.is(4, protowire.VarintType):
			w.LastEventNumber = d.int64()
		case d.is(5, protowire.VarintType):
			w.PreparePosition = d.int64()
		case d.is(6, protowire.VarintType):
			w.CommitPosition = d.int64()
		case d.is(7, protowire.VarintType):
			w.CurrentVersion = d.int64()
		default:
			d.skip()
		}
	}
	return d.err
}

// Append appends the reply as a WriteEventsCompleted message. An empty Message is left out.
func (w *WriteEventsCompletedView) Append(b []byte, style Style) []byte {
	omit := style == OmitZeros
	if !omit || w.Result != 0 {
		b = appendInt(b, 1, int64(w.Result))
	}
	if w.Message != "" {
		b = appendBytes(b, 2, w.Message)
	}
	for num, v := range [...]int64{3: w.FirstEventNumber, w.LastEventNumber, w.PreparePosition, w.CommitPosition, w.CurrentVersion} {
		if num >= 3 && (!omit || v != 0) {
			b = appendInt(b, protowire.Number(num), v)
		}
	}
	return b
}
