package esclient_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func start(t testing.TB, c *esclient.Client, stream string, expected esclient.ExpectedVersion) *esclient.Transaction {
	t.Helper()
	tx, err := c.StartTransaction(testContext(t), stream, expected)
	require.NoError(t, err)
	return tx
}

func TestATransactionIsSeenWhenItIsCommitted(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	tx := start(t, c, stream, esclient.NoStream)
	assert.Equal(t, stream, tx.Stream())
	require.NoError(t, tx.Write(ctx, numbered(0, 2)...))
	require.NoError(t, tx.Write(ctx, numbered(3, 3)...))
	assert.ErrorIs(t, readError(t, c, stream), esclient.ErrStreamNotFound, "nothing is seen yet")

	res, err := tx.Commit(ctx)
	require.NoError(t, err)
	assert.Equal(t, int64(0), res.FirstEventNumber)
	assert.Equal(t, int64(3), res.LastEventNumber)
	assert.Positive(t, res.Position.Commit)
	requireNumbers(t, 0, 3, dataOf(t, c, stream, "numbered"))

	again, err := tx.Commit(ctx)
	require.NoError(t, err, "the server recognises it")
	assert.Equal(t, res.LastEventNumber, again.LastEventNumber)
	err = tx.Write(ctx, numbered(4, 4)...)
	assert.ErrorIs(t, err, esclient.ErrTransactionEnded)
	assert.ErrorContains(t, err, "committed")
	requireNumbers(t, 0, 3, dataOf(t, c, stream, "numbered"))
}

func TestTheVersionIsCheckedByTheCommit(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	tx := start(t, c, stream, esclient.NoStream)
	require.NoError(t, tx.Write(ctx, numbered(0, 1)...))
	appendNumbered(t, c, stream, 7, 7)
	_, err := tx.Commit(ctx)
	var wrong *esclient.WrongExpectedVersionError
	require.ErrorAs(t, err, &wrong)
	assert.Equal(t, esclient.WrongExpectedVersionError{
		Stream: stream, Expected: esclient.NoStream, Current: esclient.UnknownVersion,
	}, *wrong)
	requireNumbers(t, 7, 7, dataOf(t, c, stream, "numbered"))

	_, err = c.TombstoneStream(ctx, stream, esclient.Any)
	require.NoError(t, err)
	_, err = tx.Commit(ctx)
	assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
	var op *esclient.OperationError
	require.ErrorAs(t, err, &op)
	assert.Equal(t, "commit transaction", op.Operation)
}

func TestATransactionWithoutEvents(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	res, err := start(t, c, stream, esclient.Any).Commit(ctx)
	require.NoError(t, err)
	assert.Greater(t, res.FirstEventNumber, res.LastEventNumber)
	assert.ErrorIs(t, readError(t, c, stream), esclient.ErrStreamNotFound)
}

// TestATransactionGoesOnElsewhere hands it to another client.
func TestATransactionGoesOnElsewhere(t *testing.T) {
	a, b := connectTwice(t)
	ctx, stream := testContext(t), name("s")
	tx := start(t, a, stream, esclient.NoStream)
	require.NoError(t, tx.Write(ctx, numbered(0, 1)...))
	require.NoError(t, a.Close())

	went, err := b.ContinueTransaction(tx.ID(), stream, esclient.NoStream)
	require.NoError(t, err)
	assert.Equal(t, tx.ID(), went.ID())
	require.NoError(t, went.Write(ctx, numbered(2, 2)...))
	res, err := went.Commit(ctx)
	require.NoError(t, err)
	assert.Equal(t, int64(2), res.LastEventNumber)
	requireNumbers(t, 0, 2, dataOf(t, b, stream, "numbered"))
}

func TestATransactionSurvivesARestart(t *testing.T) {
	srv, c := embedded(t)
	ctx, stream := testContext(t), name("s")
	tx := start(t, c, stream, esclient.NoStream)
	for n := range 3 {
		require.NoError(t, tx.Write(ctx, numbered(n, n)...))
		require.NoError(t, srv.Restart())
		require.Eventually(t, func() bool { _, err := c.Ping(ctx); return err == nil },
			10*time.Second, time.Millisecond)
	}
	_, err := tx.Commit(ctx)
	require.NoError(t, err)
	requireNumbers(t, 0, 2, dataOf(t, c, stream, "numbered"))
}

func TestTransactionsThatDoNotExist(t *testing.T) {
	_, c := embedded(t) // some real servers never reply
	ctx := testContext(t)
	tx, err := c.ContinueTransaction(1<<50, "s", esclient.Any)
	require.NoError(t, err)
	require.NoError(t, tx.Write(ctx, numbered(0, 0)...))
	_, err = tx.Commit(ctx)
	assert.ErrorIs(t, err, esclient.ErrAccessDenied)
}

func TestTransactionsRefuseInvalidArguments(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	tx := start(t, c, name("s"), esclient.Any)
	for argument, try := range map[string]func() error{
		"stream":         func() error { _, err := c.StartTransaction(ctx, "", esclient.Any); return err },
		"expected":       func() error { _, err := c.StartTransaction(ctx, "s", esclient.StreamExists); return err },
		"expected ":      func() error { _, err := c.StartTransaction(ctx, "s", -3); return err },
		"id":             func() error { _, err := c.ContinueTransaction(-1, "s", esclient.Any); return err },
		"stream ":        func() error { _, err := c.ContinueTransaction(1, "", esclient.Any); return err },
		"events":         func() error { return tx.Write(ctx) },
		"events[0].Type": func() error { return tx.Write(ctx, esclient.EventData{}) },
	} {
		var e *esclient.ArgumentError
		require.ErrorAs(t, try(), &e, argument)
		assert.Equal(t, argument[:len(e.Argument)], e.Argument)
	}
	needsRefusals(t, c)
	ops := asOps(ctx)
	_, err := c.StartTransaction(ops, "$"+name("system"), esclient.Any)
	assert.ErrorIs(t, err, esclient.ErrAccessDenied)
}

// transacted replies to a step of a transaction.
func (q *request) transacted(r esproto.OperationResult) {
	q.s.t.Helper()
	id, last := proto.Int64(9), proto.Int64(1)
	var m proto.Message
	switch q.cmd {
	case esproto.CmdTransactionStart:
		m = &esproto.TransactionStartCompleted{TransactionId: id, Result: r.Enum()}
	case esproto.CmdTransactionWrite:
		m = &esproto.TransactionWriteCompleted{TransactionId: id, Result: r.Enum()}
	default:
		m = &esproto.TransactionCommitCompleted{
			TransactionId: id, Result: r.Enum(), FirstEventNumber: proto.Int64(0), LastEventNumber: last,
		}
	}
	b, err := proto.Marshal(m)
	require.NoError(q.s.t, err)
	q.reply(q.cmd+1, b)
}

// inBackground returns how a call ends.
func inBackground(call func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	return done
}

// scripted returns a transaction of a scripted server.
func scripted(t *testing.T, expected esclient.ExpectedVersion) (*script, *esclient.Transaction) {
	t.Helper()
	s := newScript(t)
	tx, err := s.client(nil).ContinueTransaction(9, "orders", expected)
	require.NoError(t, err)
	return s, tx
}

func TestAStartIsRepeated(t *testing.T) {
	s := newScript(t)
	c := s.client(nil)
	done := inBackground(func() error { _, err := c.StartTransaction(testContext(t), "orders", 4); return err })
	s.next(esproto.CmdTransactionStart).cut()
	s.next(esproto.CmdTransactionStart).transacted(esproto.OperationResult_PrepareTimeout)
	s.next(esproto.CmdTransactionStart).transacted(esproto.OperationResult_Success)
	assert.NoError(t, <-done)

	done = inBackground(func() error { _, err := c.StartTransaction(testContext(t), "orders", 4); return err })
	s.next(esproto.CmdTransactionStart).reply(esproto.CmdBadRequest, []byte("unknown command"))
	assert.ErrorIs(t, <-done, esclient.ErrNotSupported)
}

func TestAWriteToATransactionIsNeverRepeated(t *testing.T) {
	for what, tc := range map[string]func(q *request){
		"cut":             (*request).cut,
		"commit timeout":  func(q *request) { q.transacted(esproto.OperationResult_CommitTimeout) },
		"forward timeout": func(q *request) { q.transacted(esproto.OperationResult_ForwardTimeout) },
		"nonsense":        func(q *request) { q.reply(esproto.CmdPong, nil) },
	} {
		t.Run(what, func(t *testing.T) {
			s, tx := scripted(t, 4)
			done := inBackground(func() error { return tx.Write(testContext(t), numbered(0, 0)...) })
			tc(s.next(esproto.CmdTransactionWrite))
			assert.ErrorIs(t, <-done, esclient.ErrOutcomeUnknown)
			assert.ErrorIs(t, tx.Write(testContext(t), numbered(1, 1)...), esclient.ErrTransactionEnded)
			_, err := tx.Commit(testContext(t))
			assert.ErrorIs(t, err, esclient.ErrTransactionEnded)
			assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown, "it is not committed")
			assert.Empty(t, s.requests)
		})
	}
	t.Run("but not if the server did not accept it", func(t *testing.T) {
		s, tx := scripted(t, 4)
		done := inBackground(func() error { return tx.Write(testContext(t), numbered(0, 0)...) })
		first := s.next(esproto.CmdTransactionWrite)
		first.reply(esproto.CmdNotHandled, []byte{8, 0})
		again := s.next(esproto.CmdTransactionWrite)
		assert.Equal(t, first.payload, again.payload, "event ids included")
		again.transacted(esproto.OperationResult_Success)
		assert.NoError(t, <-done)
		done = inBackground(func() error { return tx.Write(testContext(t), numbered(0, 0)...) })
		s.next(esproto.CmdTransactionWrite).transacted(esproto.OperationResult_AccessDenied)
		assert.ErrorIs(t, <-done, esclient.ErrAccessDenied)
		done = inBackground(func() error { _, err := tx.Commit(testContext(t)); return err })
		s.next(esproto.CmdTransactionCommit).transacted(esproto.OperationResult_Success)
		assert.NoError(t, <-done, "an answer leaves no doubt")
	})
}

func TestACommitIsRepeatedAsAnAppendIs(t *testing.T) {
	commit := func(tx *esclient.Transaction) <-chan error {
		return inBackground(func() error { _, err := tx.Commit(testContext(t)); return err })
	}
	t.Run("exact", func(t *testing.T) {
		s, tx := scripted(t, 4)
		done := commit(tx)
		s.next(esproto.CmdTransactionCommit).cut()
		s.next(esproto.CmdTransactionCommit).transacted(esproto.OperationResult_WrongExpectedVersion)
		err := <-done
		assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
		assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown, "the server compared the ids")
	})
	t.Run("any", func(t *testing.T) {
		s, tx := scripted(t, esclient.Any)
		done := commit(tx)
		s.next(esproto.CmdTransactionCommit).transacted(esproto.OperationResult_CommitTimeout)
		s.next(esproto.CmdTransactionCommit).cut()
		assert.ErrorIs(t, <-done, esclient.ErrOutcomeUnknown)
		done = commit(tx)
		s.next(esproto.CmdTransactionCommit).transacted(esproto.OperationResult_Success)
		assert.NoError(t, <-done, "one may try again")
	})
	t.Run("invalid", func(t *testing.T) {
		s, tx := scripted(t, 4)
		done := commit(tx)
		s.next(esproto.CmdTransactionCommit).transacted(esproto.OperationResult_InvalidTransaction)
		err := <-done
		assert.ErrorIs(t, err, esclient.ErrInvalidTransaction)
		assert.ErrorIs(t, err, esclient.ErrServer)
	})
}

func TestALostPartOfATransactionIsNoticed(t *testing.T) {
	s := newScript(t)
	c, ctx := s.client(nil), testContext(t)
	done := inBackground(func() error {
		tx, err := c.StartTransaction(ctx, "orders", esclient.Any)
		if err == nil {
			err = tx.Write(ctx, numbered(0, 2)...)
		}
		if err == nil {
			var res esclient.AppendResult
			res, err = tx.Commit(ctx)
			assert.Equal(t, int64(1), res.LastEventNumber)
		}
		return err
	})
	for _, cmd := range []esproto.Command{
		esproto.CmdTransactionStart, esproto.CmdTransactionWrite, esproto.CmdTransactionCommit,
	} {
		s.next(cmd).transacted(esproto.OperationResult_Success)
	}
	err := <-done
	assert.ErrorIs(t, err, esclient.ErrTransactionIncomplete)
	assert.ErrorContains(t, err, "of 3 events 2")
}

// TestTheEventsOfATransactionHaveIDs like those of an append: a second transaction with the same events adds nothing.
func TestTheEventsOfATransactionHaveIDs(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	events := numbered(0, 2)
	for i := range events {
		events[i].ID = uuid.New()
	}
	for range 2 {
		tx := start(t, c, stream, esclient.NoStream)
		require.NoError(t, tx.Write(context.Background(), events...))
		res, err := tx.Commit(ctx)
		require.NoError(t, err)
		assert.Equal(t, int64(2), res.LastEventNumber)
	}
	requireNumbers(t, 0, 2, dataOf(t, c, stream, "numbered"))
}
