package esclient

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// ExpectedVersion is the state that a write expects of its stream: one of the constants or, from 0 on, the number of
// the stream's last event.
type ExpectedVersion int64

// The expected versions that are no event numbers.
const (
	// Any expects nothing.
	Any ExpectedVersion = -2
	// NoStream expects that the stream has no events: it never had any, or it was soft-deleted.
	NoStream ExpectedVersion = -1
	// StreamExists expects that the stream has events or metadata.
	StreamExists ExpectedVersion = -4
)

// String returns the constant's name or the number.
func (v ExpectedVersion) String() string {
	switch v {
	case Any:
		return "any"
	case NoStream:
		return "no stream"
	case StreamExists:
		return "stream exists"
	}
	return strconv.FormatInt(int64(v), 10)
}

func (v ExpectedVersion) validate() error {
	if v >= NoStream || v == Any || v == StreamExists {
		return nil
	}
	return &ArgumentError{Argument: "expected", Reason: fmt.Sprintf("%d is no expected version", int64(v))}
}

// exact reports whether the server recognises a write with this expected version as long as the events are in the
// stream. With the others the server looks into a cache, which a restart or an election empties.
func (v ExpectedVersion) exact() bool { return v >= NoStream }

// MaxEventSize is the largest size of one event in bytes; see [EventData.Size].
const MaxEventSize = 16<<20 - 10_000

// MaxAppendSize is the largest size of one append in bytes; see [AppendSize].
const MaxAppendSize = 64 << 20

// AppendSize returns the size in bytes that Append compares with [MaxAppendSize]. It is an upper bound of the frame.
func AppendSize(stream string, events ...EventData) int {
	n := appendOverhead + len(stream)
	for i := range events {
		n += AppendEventSize(&events[i])
	}
	return n
}

// AppendEventSize returns how many bytes an event adds to [AppendSize].
func AppendEventSize(e *EventData) int {
	return eventOverhead + len(e.Type) + len(e.Data) + len(e.Metadata)
}

const (
	appendOverhead = 320 // header, credentials, and the fields without the events
	eventOverhead  = 64  // id, content types, tags and lengths

	growFrom = 64 << 10
)

// AppendResult has the numbers of the events of an append and their position in the log.
type AppendResult struct {
	FirstEventNumber int64
	// LastEventNumber is the number of the last event, and so the expected version of the next append.
	LastEventNumber int64
	// Position is the log position of the last event. It is [UnknownPosition] if a server up to 5.0 has recognised the
	// events, or if the client has found them by reading.
	Position Position
}

// Append writes events to the end of a stream, all of them or none, in order. When it returns, the events are on the
// disks of the leader and of a majority of the cluster.
//
// If the connection is lost, or no reply comes, the client repeats the append with the same event ids, if the server
// will recognise the events. It does so for an event number at any time. It does so for NoStream, too, unless the
// stream was soft-deleted: then the client reads the metadata and the events of the stream to find out. It does so for
// Any and StreamExists on the same connection, unless another node may have become the leader meanwhile or may forward
// the append (see Config.AllowFollower).
//
// The error is [ErrOutcomeUnknown] if the client cannot repeat the append, and also if ctx ends or the client is closed
// while the reply is missing. With any other error nothing was written: [ErrWrongExpectedVersion], [ErrStreamDeleted],
// [ErrAccessDenied], [ErrInvalidArgument], [ErrTooLarge] and others. While a server is not ready or too busy, Append
// waits until ctx ends.
//
// Use an event id once. With Any and StreamExists an append succeeds without a write if the server remembers all of its
// events from this stream. It fails with [ErrWrongExpectedVersion] if the server remembers the first event and not all
// others.
//
// The server does not recognise a repetition with NoStream if another client has deleted the stream since the first
// attempt. Then the events are written a second time, after the deleted ones, and $all has both.
//
// Many goroutines may call Append at once. Their frames are sent together. The caller must not change the slices of the
// events before Append returns.
func (c *Client) Append(
	ctx context.Context, stream string, expected ExpectedVersion, events ...EventData,
) (AppendResult, error) {
	if err := ValidateAppend(stream, expected, events...); err != nil {
		return AppendResult{}, err
	}
	op := appendOps.Get().(*appendOp)
	op.stream, op.expected, op.requireLeader = stream, expected, c.requireLeader(ctx)
	op.events = append(op.events, events...) // a copy, so that the caller's slice need not be in the heap
	op.ids = eventIDs(op.ids, events)
	err := c.do(ctx, op, writeRepetition(stream, expected, op.requireLeader))
	if err != nil && expected == NoStream {
		err = c.settleAppend(ctx, op, err)
	}
	reply := op.reply
	op.release()
	if err != nil {
		return AppendResult{}, &OperationError{Operation: "append", Stream: stream, Err: err}
	}
	return AppendResult{
		FirstEventNumber: reply.FirstEventNumber,
		LastEventNumber:  reply.LastEventNumber,
		Position:         Position{Commit: reply.CommitPosition, Prepare: reply.PreparePosition},
	}, nil
}

// ValidateAppend returns the *ArgumentError with which Append would refuse the arguments before it sends anything. It
// serves callers that make several appends and want to know of a mistake before the first.
func ValidateAppend(stream string, expected ExpectedVersion, events ...EventData) error {
	if err := validateName("stream", stream); err != nil {
		return err
	}
	if err := expected.validate(); err != nil {
		return err
	}
	if len(events) == 0 {
		return &ArgumentError{Argument: "events", Reason: "there are none"}
	}
	for i := range events {
		if err := validateEvent(i, &events[i]); err != nil {
			return err
		}
	}
	if n := AppendSize(stream, events...); n > MaxAppendSize {
		return &ArgumentError{Argument: "events", Err: ErrTooLarge, Reason: fmt.Sprintf(
			"the append has %d bytes, at most %d are allowed: append fewer at a time", n, MaxAppendSize)}
	}
	return nil
}

func validateEvent(i int, e *EventData) error {
	argument := func() string { return fmt.Sprintf("events[%d]", i) }
	if e.Type == "" {
		return &ArgumentError{Argument: argument() + ".Type", Reason: "it is empty"}
	}
	if !utf8.ValidString(e.Type) {
		return &ArgumentError{Argument: argument() + ".Type", Reason: "it is not valid UTF-8"}
	}
	if n := e.Size(); n > MaxEventSize {
		return &ArgumentError{Argument: argument(), Err: ErrTooLarge, Reason: fmt.Sprintf(
			"data, metadata and twice the type have %d bytes, at most %d are allowed", n, MaxEventSize)}
	}
	return nil
}

// appendOp is one append. It is reused, and so is the memory of its events and ids.
type appendOp struct {
	stream        string
	expected      ExpectedVersion
	events        []EventData
	ids           []esproto.GUID
	requireLeader bool
	reply         esproto.WriteEventsCompletedView

	oneEvent [1]EventData // memory for the most common append: fewer places to read
	oneID    [1]esproto.GUID
}

var appendOps = sync.Pool{New: func() any {
	o := new(appendOp)
	o.events, o.ids = o.oneEvent[:0], o.oneID[:0]
	return o
}}

func (o *appendOp) release() {
	clear(o.events)
	if cap(o.events) > 256 || cap(o.ids) > 1024 {
		return // too much memory to keep
	}
	o.stream, o.events, o.ids = "", o.events[:0], o.ids[:0]
	o.reply = esproto.WriteEventsCompletedView{}
	appendOps.Put(o)
}

// eventIDs appends the ids of events to ids, and makes the missing ones. This is done once, so all attempts have the
// same ids.
func eventIDs(ids []esproto.GUID, events []EventData) []esproto.GUID {
	for i := range events {
		id := events[i].ID
		if id == uuid.Nil {
			id = newID()
		}
		ids = append(ids, esproto.NewGUID(id))
	}
	return ids
}

func (o *appendOp) Command() esproto.Command { return esproto.CmdWriteEvents }

func (o *appendOp) about() (stream, group string) { return o.stream, "" }

func (o *appendOp) AppendPayload(b []byte) []byte {
	if n := AppendSize(o.stream, o.events...); n > growFrom {
		b = slices.Grow(b, n) // avoids several copies of megabytes under the connection's lock
	}
	b = esproto.AppendWriteEvents(b, o.stream, int64(o.expected))
	for i := range o.events {
		e := &o.events[i]
		b = esproto.AppendNewEvent(b, o.ids[i], e.Type, int32(e.ContentType), e.Data, e.Metadata)
	}
	return esproto.EndWriteEvents(b, o.requireLeader)
}

func (o *appendOp) Keeps(esproto.Command) bool { return false }

func (o *appendOp) Decode(cmd esproto.Command, payload []byte) error {
	if cmd != esproto.CmdWriteEventsCompleted {
		return unexpected(o, cmd, nil)
	}
	if err := o.reply.Decode(payload); err != nil {
		return unexpected(o, cmd, err)
	}
	err := o.resultError()
	o.reply.Message = "" // it aliases the frame, which is only borrowed
	return err
}

func (o *appendOp) resultError() error {
	if o.reply.Result == esproto.OperationResult_WrongExpectedVersion {
		return &WrongExpectedVersionError{Stream: o.stream, Expected: o.expected, Current: o.reply.CurrentVersion}
	}
	return operationError(o.reply.Result, o.reply.Message)
}

// operationError turns the result of a write into an error; nil for Success.
func operationError(result esproto.OperationResult, text string) error {
	switch result {
	case esproto.OperationResult_Success:
		return nil
	case esproto.OperationResult_PrepareTimeout, esproto.OperationResult_CommitTimeout,
		esproto.OperationResult_ForwardTimeout:
		return &serverTimeoutError{result: result}
	case esproto.OperationResult_StreamDeleted:
		return ErrStreamDeleted
	case esproto.OperationResult_AccessDenied:
		return ErrAccessDenied
	case esproto.OperationResult_InvalidTransaction:
		return fmt.Errorf("%w: %s", ErrInvalidTransaction, text)
	}
	return serverError(result, text)
}
