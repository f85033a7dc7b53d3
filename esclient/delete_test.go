package esclient_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// numbersOf returns the numbers of the events that a stream has; none if it does not exist.
func numbersOf(t testing.TB, c *esclient.Client, stream string) (numbers []int64) {
	t.Helper()
	for e, err := range c.ReadStream(testContext(t), stream, esclient.ReadOptions{}) {
		if errors.Is(err, esclient.ErrStreamNotFound) {
			return nil
		}
		if !assert.NoError(t, err) {
			return nil
		}
		numbers = append(numbers, e.Number)
	}
	return numbers
}

// readError returns how reading a stream fails.
func readError(t testing.TB, c *esclient.Client, stream string) error {
	t.Helper()
	for _, err := range c.ReadStream(testContext(t), stream, esclient.ReadOptions{}) {
		return err
	}
	return nil
}

func TestADeletedStreamComesBack(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("orders")
	written, err := c.Append(ctx, stream, esclient.NoStream, numbered(0, 2)...)
	require.NoError(t, err)
	_, err = c.DeleteStream(ctx, stream, 1)
	assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	assert.Len(t, numbersOf(t, c, stream), 3)

	pos, err := c.DeleteStream(ctx, stream, 2)
	require.NoError(t, err)
	assert.Positive(t, pos.Compare(written.Position), "the deletion stands behind the events")
	assert.ErrorIs(t, readError(t, c, stream), esclient.ErrStreamNotFound)
	_, err = c.DeleteStream(ctx, stream, esclient.Any)
	assert.NoError(t, err, "it is deleted already")
	_, err = c.Append(ctx, stream, esclient.StreamExists, numbered(3, 3)...)
	assert.ErrorIs(t, err, esclient.ErrStreamDeleted)

	res, err := c.Append(ctx, stream, esclient.NoStream, numbered(3, 3)...)
	require.NoError(t, err)
	assert.Equal(t, int64(3), res.FirstEventNumber, "the numbers go on")
	assert.Eventually(t, func() bool {
		numbers := numbersOf(t, c, stream)
		return len(numbers) == 1 && numbers[0] == 3
	}, patience, 5*time.Millisecond)
}

func TestATombstoneIsForEver(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("orders")
	appendNumbered(t, c, stream, 0, 1)
	_, err := c.TombstoneStream(ctx, stream, esclient.NoStream)
	assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	pos, err := c.TombstoneStream(ctx, stream, 1)
	require.NoError(t, err)
	assert.Positive(t, pos.Commit)

	assert.ErrorIs(t, readError(t, c, stream), esclient.ErrStreamDeleted)
	for _, v := range []esclient.ExpectedVersion{esclient.Any, esclient.NoStream, esclient.StreamExists, 1} {
		_, err = c.Append(ctx, stream, v, numbered(2, 2)...)
		assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
	}
	_, err = c.TombstoneStream(ctx, stream, esclient.Any)
	assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
	_, err = c.DeleteStream(ctx, stream, esclient.Any)
	assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
	var op *esclient.OperationError
	require.ErrorAs(t, err, &op)
	assert.Equal(t, "delete stream", op.Operation)

	never := name("never")
	_, err = c.TombstoneStream(ctx, never, esclient.Any)
	require.NoError(t, err)
	assert.ErrorIs(t, readError(t, c, never), esclient.ErrStreamDeleted, "its name is used up")
}

func TestDeletesOfOtherVersionsOfTheServer(t *testing.T) {
	t.Run("5.0", func(t *testing.T) {
		_, c := embedded(t, estest.WithPersona(estest.Persona5011))
		ctx, stream := testContext(t), name("s")
		appendNumbered(t, c, stream, 0, 4)
		var wrong *esclient.WrongExpectedVersionError
		_, err := c.DeleteStream(ctx, stream, 1)
		require.ErrorAs(t, err, &wrong)
		assert.Equal(t, esclient.UnknownVersion, wrong.Current, "it does not tell")
		assert.NotContains(t, err.Error(), "-2147483648")
		_, err = c.DeleteStream(ctx, stream, esclient.StreamExists)
		assert.ErrorIs(t, err, esclient.ErrNotSupported)
		assert.ErrorContains(t, err, "21.10")
		_, err = c.DeleteStream(ctx, name("missing"), esclient.NoStream)
		assert.NoError(t, err)
	})
	t.Run("23.10", func(t *testing.T) {
		_, c := embedded(t, estest.WithPersona(estest.Persona2310))
		ctx, stream := testContext(t), name("s")
		appendNumbered(t, c, stream, 0, 4)
		var wrong *esclient.WrongExpectedVersionError
		_, err := c.TombstoneStream(ctx, stream, 1)
		require.ErrorAs(t, err, &wrong)
		assert.Equal(t, esclient.WrongExpectedVersionError{Stream: stream, Expected: 1, Current: 4}, *wrong)
		_, err = c.DeleteStream(ctx, stream, esclient.StreamExists)
		assert.NoError(t, err)
		_, err = c.DeleteStream(ctx, name("missing"), esclient.NoStream)
		assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	})
}

func TestDeletesRefuseInvalidArguments(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	for what, del := range map[string]func(string, esclient.ExpectedVersion) error{
		"delete": func(s string, v esclient.ExpectedVersion) error {
			_, err := c.DeleteStream(ctx, s, v)
			return err
		},
		"tombstone": func(s string, v esclient.ExpectedVersion) error {
			_, err := c.TombstoneStream(ctx, s, v)
			return err
		},
	} {
		for _, bad := range []string{"", "a\nb", "$$orders", esclient.AllStream} {
			var e *esclient.ArgumentError
			require.ErrorAs(t, del(bad, esclient.Any), &e, "%s %q", what, bad)
			assert.Equal(t, "stream", e.Argument)
		}
		for _, bad := range []esclient.ExpectedVersion{-3, -5, math.MinInt64} {
			var e *esclient.ArgumentError
			require.ErrorAs(t, del("s", bad), &e, "%s %d", what, bad)
			assert.Equal(t, "expected", e.Argument)
		}
	}
}

// deleted replies to a delete.
func (q *request) deleted(r esproto.OperationResult) {
	q.s.t.Helper()
	b, err := proto.Marshal(&esproto.DeleteStreamCompleted{
		Result: r.Enum(), PreparePosition: proto.Int64(77), CommitPosition: proto.Int64(77)})
	require.NoError(q.s.t, err)
	q.reply(esproto.CmdDeleteStreamCompleted, b)
}

// TestADeleteIsRepeatedOnlyIfThatIsSafe plays a delete whose first attempt may or may not have been done.
func TestADeleteIsRepeatedOnlyIfThatIsSafe(t *testing.T) {
	const ok = esproto.OperationResult_Success
	type del func(*esclient.Client) error
	soft := func(v esclient.ExpectedVersion) del {
		return func(c *esclient.Client) error { _, err := c.DeleteStream(testContext(t), "orders", v); return err }
	}
	hard := func(v esclient.ExpectedVersion) del {
		return func(c *esclient.Client) error { _, err := c.TombstoneStream(testContext(t), "orders", v); return err }
	}
	for name, tc := range map[string]struct {
		del     del
		repeats bool
		answer  esproto.OperationResult // to the repetition
		is      []error                 // the errors of the call
		isNot   error
	}{
		"soft, any":           {del: soft(esclient.Any), is: []error{esclient.ErrOutcomeUnknown}},
		"soft, stream exists": {del: soft(esclient.StreamExists), is: []error{esclient.ErrOutcomeUnknown}},
		"soft, exact":         {del: soft(4), repeats: true, answer: ok},
		"soft, no stream":     {del: soft(esclient.NoStream), repeats: true, answer: ok},
		"hard, any":           {del: hard(esclient.Any), repeats: true, answer: ok},
		"hard, exact":         {del: hard(4), repeats: true, answer: ok},
		"soft, written to since": {del: soft(4), repeats: true, answer: esproto.OperationResult_WrongExpectedVersion,
			is: []error{esclient.ErrOutcomeUnknown, esclient.ErrWrongExpectedVersion}},
		"hard, gone": {del: hard(4), repeats: true, answer: esproto.OperationResult_StreamDeleted,
			is: []error{esclient.ErrOutcomeUnknown, esclient.ErrStreamDeleted}},
		"hard, not at that version": {del: hard(4), repeats: true, answer: esproto.OperationResult_WrongExpectedVersion,
			is: []error{esclient.ErrWrongExpectedVersion}, isNot: esclient.ErrOutcomeUnknown},
	} {
		for how, first := range map[string]func(*request){
			"cut":            (*request).cut,
			"commit timeout": func(q *request) { q.deleted(esproto.OperationResult_CommitTimeout) },
		} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				s := newScript(t)
				c, done := s.client(nil), make(chan error, 1)
				go func() { done <- tc.del(c) }()
				first(s.next(esproto.CmdDeleteStream))
				if tc.repeats {
					s.next(esproto.CmdDeleteStream).deleted(tc.answer)
				}
				err := <-done
				if tc.is == nil {
					assert.NoError(t, err)
				}
				for _, is := range tc.is {
					assert.ErrorIs(t, err, is)
				}
				if tc.isNot != nil {
					assert.NotErrorIs(t, err, tc.isNot)
				}
				assert.Empty(t, s.requests)
			})
		}
	}
}
