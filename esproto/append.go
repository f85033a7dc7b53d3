package esproto

import "google.golang.org/protobuf/encoding/protowire"

// Expected versions of a stream. Values from 0 on name the number of the last event.
const (
	ExpectAny          int64 = -2 // no check
	ExpectNoStream     int64 = -1 // the stream has no events, or was soft-deleted
	ExpectStreamExists int64 = -4 // the stream has events or metadata
)

// InvalidEventNumber is the first and last event number of a failed write. It is the least int32, although numbers are
// int64.
const InvalidEventNumber int64 = -1 << 31

// MaxEventSize is the most that one event may take: data, metadata and twice the length of the type, in bytes. Servers
// up to 5.0 refuse a larger one with BadRequest, later ones fail less clearly.
const MaxEventSize = 16<<20 - 10_000

// NewEventView is a NewEvent that aliases its frame. A byte slice is nil if its field is absent.
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

// AppendNewEvent appends one event to a message begun by AppendWriteEvents. Nil metadata is left out, nil data is
// empty.
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

// AppendTransactionEvent appends one event to a message begun by AppendTransactionWrite. Nil metadata is left out, nil
// data is empty.
func AppendTransactionEvent(b []byte, id GUID, eventType string, contentType int32, data, metadata []byte) []byte {
	return appendNewEvent(b, 2, id, eventType, contentType, data, metadata)
}

// EndTransactionWrite ends a message begun by AppendTransactionWrite.
func EndTransactionWrite(b []byte, requireLeader bool) []byte { return appendBool(b, 3, requireLeader) }

func appendNewEvent(
	b []byte, num protowire.Number, id GUID, eventType string, contentType int32, data, metadata []byte,
) []byte {
	n := sizeBytes(len(id)) + sizeBytes(len(eventType)) + sizeInt(int64(contentType)) + sizeInt(0)
	n += sizeBytes(len(data))
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
	i := 0
	for i < len(b) {
		tag, n, v, next := nextField(b, i)
		i = next
		switch tag {
		case 1<<3 | wireBytes:
			e.EventID = v
		case 2<<3 | wireBytes:
			e.EventType = text(v)
		case 3<<3 | wireVarint:
			e.DataContentType = int32(n)
		case 4<<3 | wireVarint:
			e.MetadataContentType = int32(n)
		case 5<<3 | wireBytes:
			e.Data = v
		case 6<<3 | wireBytes:
			e.Metadata = v
		}
	}
	return end(b, i)
}

// WriteEventsView is a WriteEvents that aliases its frame.
type WriteEventsView struct {
	StreamID        string
	ExpectedVersion int64
	Events          []NewEventView
	RequireLeader   bool
}

// Decode reads a WriteEvents. It clears w first, and uses the memory of its Events again.
func (w *WriteEventsView) Decode(b []byte) error {
	*w = WriteEventsView{Events: w.Events[:0]}
	i := 0
	for i < len(b) {
		tag, n, v, next := nextField(b, i)
		i = next
		switch tag {
		case 1<<3 | wireBytes:
			w.StreamID = text(v)
		case 2<<3 | wireVarint:
			w.ExpectedVersion = int64(n)
		case 3<<3 | wireBytes:
			w.Events = append(w.Events, NewEventView{})
			if err := w.Events[len(w.Events)-1].Decode(v); err != nil {
				return err
			}
		case 4<<3 | wireVarint:
			w.RequireLeader = n != 0
		}
	}
	return end(b, i)
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

// Decode reads a WriteEventsCompleted. It clears w first.
func (w *WriteEventsCompletedView) Decode(b []byte) error {
	*w = WriteEventsCompletedView{}
	i := 0
	for i < len(b) {
		tag, n, v, next := nextField(b, i)
		i = next
		switch tag {
		case 1<<3 | wireVarint:
			w.Result = OperationResult(n)
		case 2<<3 | wireBytes:
			w.Message = text(v)
		case 3<<3 | wireVarint:
			w.FirstEventNumber = int64(n)
		case 4<<3 | wireVarint:
			w.LastEventNumber = int64(n)
		case 5<<3 | wireVarint:
			w.PreparePosition = int64(n)
		case 6<<3 | wireVarint:
			w.CommitPosition = int64(n)
		case 7<<3 | wireVarint:
			w.CurrentVersion = int64(n)
		}
	}
	return end(b, i)
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
	for i, v := range [...]int64{
		w.FirstEventNumber, w.LastEventNumber, w.PreparePosition, w.CommitPosition, w.CurrentVersion,
	} {
		if !omit || v != 0 {
			b = appendInt(b, protowire.Number(3+i), v)
		}
	}
	return b
}
