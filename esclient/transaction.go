package esclient

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Transaction writes events to one stream in several calls. Commit makes all of them visible at once. Use it for more
// events than one append can have; an append is atomic by itself.
//
// The server keeps the events of a transaction for any time, over lost connections and restarts. Any connection may
// continue it; see [Client.ContinueTransaction]. The protocol has no rollback, and needs none: events that are not
// committed are never visible.
//
// One goroutine at a time may use a Transaction.
type Transaction struct {
	c        *Client
	id       int64
	stream   string
	expected ExpectedVersion

	written int   // confirmed events; -1 if the transaction was continued, since there may be others
	ended   error // why no more events can be written
	unknown error // why an earlier Commit may have taken place
	lacking bool  // a write may be missing, or may be there twice, so Commit is not allowed
}

// StartTransaction begins a transaction on a stream. Only Commit compares the expected version, which cannot be
// StreamExists. The error is [ErrNotSupported] if the server has no transactions. A call with an error may leave an
// empty transaction at the server, which does no harm.
func (c *Client) StartTransaction(ctx context.Context, stream string, expected ExpectedVersion) (*Transaction, error) {
	t, err := c.transaction(stream, expected)
	if err != nil {
		return nil, err
	}
	op := &startOp{t: t, requireLeader: c.requireLeader(ctx)}
	if err := c.do(ctx, op, reading); err != nil {
		if bad := (*BadRequestError)(nil); errors.As(err, &bad) {
			err = fmt.Errorf("%w: transactions: %w", ErrNotSupported, err) // the server has no other reason to refuse
		}
		return nil, t.failed("start transaction", err)
	}
	t.id = op.reply.GetTransactionId()
	return t, nil
}

// ContinueTransaction returns the transaction with the id that [Transaction.ID] returned. stream and expected must be
// those of StartTransaction: the server has its own, but the client decides by them whether it may repeat a Commit, and
// has them in errors. ContinueTransaction sends nothing, so only Commit notices an id that does not exist. Some servers
// never notice: they accept writes to such an id and do not reply to its Commit.
func (c *Client) ContinueTransaction(id int64, stream string, expected ExpectedVersion) (*Transaction, error) {
	if id < 0 {
		return nil, &ArgumentError{Argument: "id", Reason: fmt.Sprintf("%d is negative", id)}
	}
	t, err := c.transaction(stream, expected)
	if err != nil {
		return nil, err
	}
	t.id, t.written = id, -1
	return t, nil
}

func (c *Client) transaction(stream string, expected ExpectedVersion) (*Transaction, error) {
	if err := validateName("stream", stream); err != nil {
		return nil, err
	}
	if err := expected.validate(); err != nil {
		return nil, err
	}
	if expected == StreamExists {
		return nil, &ArgumentError{Argument: "expected",
			Reason: "no server lets a transaction expect that the stream exists"}
	}
	return &Transaction{c: c, stream: stream, expected: expected}, nil
}

// ID returns the id for [Client.ContinueTransaction]. It is a position in the server's log.
func (t *Transaction) ID() int64 { return t.id }

// Stream returns the stream that the transaction writes to.
func (t *Transaction) Stream() string { return t.stream }

// Write adds events to the transaction, after those of earlier calls. The limits of one call are those of
// [Client.Append].
//
// The server does not recognise a repeated write. So the client does not repeat a write that was sent and has no reply:
// its error is [ErrOutcomeUnknown], and the transaction cannot be committed. Start another transaction and write all
// events to it, with the same event ids. With any other error nothing was added.
func (t *Transaction) Write(ctx context.Context, events ...EventData) error {
	if t.ended != nil {
		return t.failed("write to transaction", t.ended)
	}
	if err := ValidateAppend(t.stream, t.expected, events...); err != nil {
		return err
	}
	op := &transactionWriteOp{t: t, events: events, ids: eventIDs(nil, events), requireLeader: t.c.requireLeader(ctx)}
	if err := t.c.do(ctx, op, repetition{effect: notIdempotent}); err != nil {
		if errors.Is(err, ErrOutcomeUnknown) {
			t.lacking = true
			t.ended = fmt.Errorf("%w: it is unknown whether an earlier write is in it", ErrTransactionEnded)
		}
		return t.failed("write to transaction", err)
	}
	if t.written >= 0 {
		t.written += len(events)
	}
	return nil
}

// Commit makes the events visible, all of them or none, at the end of the stream. The result is that of
// [Client.Append]. For a transaction without events FirstEventNumber is greater than LastEventNumber.
//
// If the error is [ErrWrongExpectedVersion], without the current version, [ErrStreamDeleted] or [ErrAccessDenied],
// nothing is visible, and Commit may be called again. Servers up to 5.0 also answer ErrAccessDenied for an id that does
// not exist.
//
// The client repeats a Commit after a lost reply as it repeats an append, with [ErrOutcomeUnknown] in the same cases.
// Then read the stream to find out or, with NoStream or an event number, call Commit again. Do not call it again with
// Any: the events would be visible twice if the server was restarted meanwhile. If a server has lost writes in a crash
// that it had confirmed, the error is [ErrTransactionIncomplete], and the other events are visible.
func (t *Transaction) Commit(ctx context.Context) (AppendResult, error) {
	const what = "commit transaction"
	if t.lacking {
		return AppendResult{}, t.failed(what, t.ended)
	}
	op := &commitOp{t: t, requireLeader: t.c.requireLeader(ctx)}
	if err := t.c.do(ctx, op, writeRepetition(t.stream, t.expected, op.requireLeader)); err != nil {
		return AppendResult{}, t.failed(what, t.settle(ctx, err))
	}
	t.ended = fmt.Errorf("%w: it is committed", ErrTransactionEnded)
	r := &op.reply
	res := AppendResult{
		FirstEventNumber: r.GetFirstEventNumber(),
		LastEventNumber:  r.GetLastEventNumber(),
		Position:         Position{Commit: r.GetCommitPosition(), Prepare: r.GetPreparePosition()},
	}
	if n := res.LastEventNumber - res.FirstEventNumber + 1; n < int64(t.written) {
		err := fmt.Errorf("%w: of %d events %d were committed", ErrTransactionIncomplete, t.written, n)
		return res, t.failed(what, err)
	}
	return res, nil
}

// settle returns the error of a Commit. The outcome is unknown as long as that of an earlier Commit is.
func (t *Transaction) settle(ctx context.Context, err error) error {
	if t.unknown != nil && !errors.Is(err, ErrOutcomeUnknown) {
		err = &OutcomeUnknownError{Err: fmt.Errorf("%w; before that: %w", err, t.unknown)}
	}
	if t.unknown = nil; !errors.Is(err, ErrOutcomeUnknown) {
		return err
	}
	wrong := (*WrongExpectedVersionError)(nil)
	if errors.As(err, &wrong) {
		switch {
		case writeRepetition(t.stream, t.expected, true) == compared:
			return wrong
		case t.expected == NoStream:
			if _, never, readErr := t.c.recreation(ctx, t.stream); readErr == nil && never {
				return wrong
			}
		}
	}
	t.unknown = err
	return err
}

func (t *Transaction) failed(what string, err error) error {
	return &OperationError{Operation: what, Stream: t.stream, Err: err}
}

type startOp struct {
	t             *Transaction
	requireLeader bool
	reply         esproto.TransactionStartCompleted
}

func (o *startOp) Command() esproto.Command      { return esproto.CmdTransactionStart }
func (o *startOp) Keeps(esproto.Command) bool    { return false }
func (o *startOp) about() (stream, group string) { return o.t.stream, "" }
func (o *startOp) AppendPayload(b []byte) []byte {
	return appendMessage(b, &esproto.TransactionStart{
		EventStreamId:   proto.String(o.t.stream),
		ExpectedVersion: proto.Int64(int64(o.t.expected)),
		RequireLeader:   proto.Bool(o.requireLeader),
	})
}

func (o *startOp) Decode(cmd esproto.Command, payload []byte) error {
	if err := decodeMessage(o, &o.reply, cmd, payload); err != nil {
		return err
	}
	return o.t.result(o.reply.GetResult(), o.reply.GetMessage())
}

type transactionWriteOp struct {
	t             *Transaction
	events        []EventData
	ids           []esproto.GUID
	requireLeader bool
}

func (o *transactionWriteOp) Command() esproto.Command      { return esproto.CmdTransactionWrite }
func (o *transactionWriteOp) Keeps(esproto.Command) bool    { return false }
func (o *transactionWriteOp) about() (stream, group string) { return o.t.stream, "" }

func (o *transactionWriteOp) AppendPayload(b []byte) []byte {
	if n := AppendSize(o.t.stream, o.events...); n > growFrom {
		b = slices.Grow(b, n) // as in an append
	}
	b = esproto.AppendTransactionWrite(b, o.t.id)
	for i := range o.events {
		e := &o.events[i]
		b = esproto.AppendTransactionEvent(b, o.ids[i], e.Type, int32(e.ContentType), e.Data, e.Metadata)
	}
	return esproto.EndTransactionWrite(b, o.requireLeader)
}

func (o *transactionWriteOp) Decode(cmd esproto.Command, payload []byte) error {
	var reply esproto.TransactionWriteCompleted
	if err := decodeMessage(o, &reply, cmd, payload); err != nil {
		return err
	}
	return o.t.result(reply.GetResult(), reply.GetMessage())
}

type commitOp struct {
	t             *Transaction
	requireLeader bool
	reply         esproto.TransactionCommitCompleted
}

func (o *commitOp) Command() esproto.Command      { return esproto.CmdTransactionCommit }
func (o *commitOp) Keeps(esproto.Command) bool    { return false }
func (o *commitOp) about() (stream, group string) { return o.t.stream, "" }

func (o *commitOp) AppendPayload(b []byte) []byte {
	return appendMessage(b, &esproto.TransactionCommit{
		TransactionId: proto.Int64(o.t.id),
		RequireLeader: proto.Bool(o.requireLeader),
	})
}

func (o *commitOp) Decode(cmd esproto.Command, payload []byte) error {
	if err := decodeMessage(o, &o.reply, cmd, payload); err != nil {
		return err
	}
	return o.t.result(o.reply.GetResult(), o.reply.GetMessage())
}

// result returns the error of a step; nil for Success.
func (t *Transaction) result(r esproto.OperationResult, text string) error {
	if r == esproto.OperationResult_WrongExpectedVersion {
		return &WrongExpectedVersionError{Stream: t.stream, Expected: t.expected, Current: UnknownVersion}
	}
	return operationError(r, text)
}
