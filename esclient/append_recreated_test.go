package esclient_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// deletedStream makes a stream of three events and deletes it.
func deletedStream(t testing.TB, c *esclient.Client) string {
	t.Helper()
	stream := name("deleted")
	appendNumbered(t, c, stream, 0, 2)
	_, err := c.DeleteStream(testContext(t), stream, esclient.Any)
	require.NoError(t, err)
	return stream
}

// onFirstRetry calls a function once, before an operation is tried again.
type onFirstRetry struct {
	do   func()
	done bool
}

func (o *onFirstRetry) OnRetry(context.Context, esclient.OperationInfo) {
	if !o.done && o.do != nil {
		o.done = true
		o.do()
	}
}

// recreation is an append with NoStream whose first reply is lost.
type recreation struct {
	srv    *estest.Server
	admin  *esclient.Client
	c      *esclient.Client // of a plain user
	stream string
	retry  *onFirstRetry
}

func recreate(t *testing.T, p estest.Persona, change func(*esclient.Config)) *recreation {
	t.Helper()
	srv, admin := embeddedAsAdmin(t, estest.WithPersona(p), estest.WithUser("jane", "secret"))
	r := &recreation{srv: srv, admin: admin, stream: deletedStream(t, admin), retry: new(onFirstRetry)}
	r.c = openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) {
		cfg.Credentials = &esclient.Credentials{Login: "jane", Password: "secret"}
		cfg.Hooks = []esclient.Hook{r.retry}
		if change != nil {
			change(cfg)
		}
	})
	return r
}

func (r *recreation) append(t *testing.T, events ...esclient.EventData) (esclient.AppendResult, error) {
	t.Helper()
	r.srv.Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Disconnect()), estest.Times(1))
	return r.c.Append(testContext(t), r.stream, esclient.NoStream, events...)
}

// everWritten counts the numbered events of a stream in the log, whether they are deleted or not.
func (r *recreation) everWritten(t *testing.T) (n int) {
	t.Helper()
	for e, err := range r.admin.ReadAll(asAdmin(testContext(t)), esclient.ReadAllOptions{}) {
		require.NoError(t, err)
		if e.Stream == r.stream {
			n++
		}
	}
	return n
}

// A deleted stream goes on with the number after its last event. The server does not look for a repetition there.
func TestAnAppendThatBringsAStreamBackIsFoundAgain(t *testing.T) {
	for _, p := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		for what, tc := range map[string]struct {
			events, others int
		}{
			"one event":                     {events: 1},
			"several events":                {events: 3},
			"others have written since":     {events: 2, others: 4},
			"another one has written since": {events: 1, others: 1},
		} {
			t.Run(string(p)+", "+what, func(t *testing.T) {
				r := recreate(t, p, nil)
				r.retry.do = func() {
					if tc.others > 0 {
						appendNumbered(t, r.admin, r.stream, 100, 99+tc.others)
					}
				}
				res, err := r.append(t, numbered(10, 9+tc.events)...)
				require.NoError(t, err)
				assert.EqualValues(t, 3, res.FirstEventNumber)
				assert.EqualValues(t, 2+tc.events, res.LastEventNumber)
				assert.Equal(t, 3+tc.events+tc.others, r.everWritten(t))
			})
		}
	}
}

func TestAnAppendThatBroughtAStreamBackStaysUnknown(t *testing.T) {
	for what, tc := range map[string]struct {
		change func(*esclient.Config)
		before func(t *testing.T, r *recreation)
	}{
		"no user may read": {before: func(t *testing.T, r *recreation) {
			r.srv.Intercept(esproto.CmdReadStreamEventsBackward, estest.AccessDenied())
			r.srv.Intercept(esproto.CmdReadEvent, estest.AccessDenied())
		}},
		"deleted again and brought back by another": {before: func(t *testing.T, r *recreation) {
			r.retry.do = func() {
				_, err := r.admin.DeleteStream(testContext(t), r.stream, esclient.Any)
				assert.NoError(t, err)
				appendNumbered(t, r.admin, r.stream, 100, 105)
			}
		}},
		"truncated": {before: func(t *testing.T, r *recreation) {
			r.retry.do = func() {
				appendNumbered(t, r.admin, r.stream, 100, 105)
				_, err := r.admin.SetStreamMetadata(testContext(t), r.stream, esclient.Any,
					esclient.StreamMetadata{MaxCount: 1})
				assert.NoError(t, err)
			}
		}},
		"no retries": {change: func(cfg *esclient.Config) { cfg.MaxRetries = -1 }},
	} {
		t.Run(what, func(t *testing.T) {
			r := recreate(t, estest.Persona5011, tc.change)
			if tc.before != nil {
				tc.before(t, r)
			}
			_, err := r.append(t, numbered(10, 10)...)
			require.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
			assert.False(t, esclient.SafeToRetry(err))
		})
	}
}

// If the stream was never deleted, the refusal of a repetition is final: the server has compared the ids.
func TestARefusedAppendToALivingStreamWasNotWritten(t *testing.T) {
	for what, metadata := range map[string]*esclient.StreamMetadata{
		"without metadata": nil, "with metadata": {MaxCount: 100},
		"truncated": {TruncateBefore: 2}, "shorter than the append": nil,
	} {
		t.Run(what, func(t *testing.T) {
			srv, c := embeddedAsAdmin(t)
			stream, events := name("living"), numbered(10, 10)
			appendNumbered(t, c, stream, 0, 4)
			if what == "shorter than the append" {
				events = numbered(10, 20)
			}
			if metadata != nil {
				_, err := c.SetStreamMetadata(testContext(t), stream, esclient.NoStream, *metadata)
				require.NoError(t, err)
			}
			for _, p := range []estest.Action{estest.Unanswered(estest.Disconnect()), estest.Disconnect()} {
				srv.Intercept(esproto.CmdWriteEvents, p, estest.Times(1))
				_, err := c.Append(testContext(t), stream, esclient.NoStream, events...)
				require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
				assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown)
			}
			srv.Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Disconnect()), estest.Times(1))
			res, err := c.AppendConditional(testContext(t), stream, esclient.NoStream, events...)
			require.NoError(t, err)
			assert.Equal(t, esclient.AppendVersionMismatch, res.Status)
		})
	}
}

// With the number of the last event, deleted or not, the server recognises a repetition by itself.
func TestAnExactVersionOfADeletedStreamIsRecognised(t *testing.T) {
	r := recreate(t, estest.Persona2310, nil)
	for _, then := range []func(){nil, func() {
		_, err := r.admin.DeleteStream(testContext(t), r.stream, esclient.Any)
		assert.NoError(t, err)
	}} {
		r.retry.do, r.retry.done = then, false
		before := r.everWritten(t)
		r.srv.Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Disconnect()), estest.Times(1))
		_, err := r.c.Append(testContext(t), r.stream, esclient.ExpectedVersion(before-1), numbered(10, 11)...)
		require.NoError(t, err)
		assert.Equal(t, before+2, r.everWritten(t))
	}
}

func TestMetadataThatIsRefusedWasNotWritten(t *testing.T) {
	srv, c := embeddedAsAdmin(t)
	stream := deletedStream(t, c)
	srv.Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Disconnect()), estest.Times(1))
	_, err := c.SetStreamMetadata(testContext(t), stream, esclient.NoStream, esclient.StreamMetadata{MaxCount: 1})
	require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion, "the delete has written metadata")
	assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown)
}

func TestASourceBringsADeletedStreamBack(t *testing.T) {
	for _, p := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		for _, expected := range []esclient.ExpectedVersion{esclient.Any, esclient.NoStream, 2} {
			for lost := range 4 { // replies, one after the other
				r := recreate(t, p, nil)
				n := 0
				r.srv.Intercept(esproto.CmdWriteEvents, estest.Choose(func(estest.Request) estest.Action {
					if n++; n > lost {
						return estest.Action{}
					}
					return estest.Unanswered(estest.Disconnect())
				}))
				res, err := r.c.AppendFrom(testContext(t), r.stream, expected, source(0, 5, nil),
					esclient.AppendFromOptions{BatchEvents: 3})
				require.NoError(t, err, "%v, expected version %v, %d replies lost", p, expected, lost)
				assert.EqualValues(t, 6, res.Events)
				assert.Equal(t, []int64{3, 4, 5, 6, 7, 8}, numbersOf(t, r.admin, r.stream))
				assert.Equal(t, 9, r.everWritten(t))
			}
		}
	}
}

func TestACommitThatBringsAStreamBackStaysUnknown(t *testing.T) {
	r := recreate(t, estest.Persona5011, nil)
	tx, err := r.c.StartTransaction(testContext(t), r.stream, esclient.NoStream)
	require.NoError(t, err)
	require.NoError(t, tx.Write(testContext(t), numbered(10, 11)...))
	r.srv.Intercept(esproto.CmdTransactionCommit, estest.Unanswered(estest.Disconnect()), estest.Times(1))
	for range 2 { // the second time the server refuses it without a doubt of its own
		_, err = tx.Commit(testContext(t))
		require.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
		require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	}
	assert.Equal(t, 5, r.everWritten(t), "it was written")
}

func TestARefusedCommitToALivingStreamWasNotWritten(t *testing.T) {
	srv, c := embeddedAsAdmin(t)
	for _, expected := range []esclient.ExpectedVersion{esclient.NoStream, 0} {
		stream := name("living")
		appendNumbered(t, c, stream, 0, 4)
		tx, err := c.StartTransaction(testContext(t), stream, expected)
		require.NoError(t, err)
		require.NoError(t, tx.Write(testContext(t), numbered(10, 11)...))
		ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
		defer cancel()
		rule := srv.Intercept(esproto.CmdTransactionCommit, estest.Unanswered(estest.Drop()))
		_, err = tx.Commit(ctx)
		require.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
		rule.Remove()
		_, err = tx.Commit(testContext(t))
		require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
		assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown, "asked again, the server says so")
	}
}
