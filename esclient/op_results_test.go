package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// repetition says when an operation that may have been done is sent again.
type repetition int

const (
	repeatAlways     repetition = iota // it changes nothing
	repeatRecognised                   // a repetition does no harm
	repeatSame                         // the server recognises a repetition by its memory
	repeatNever                        // nor may it be sent again
)

// operation is something that a client asks of a server, with all that the server may answer.
type operation struct {
	cmd    esproto.Command
	reply  esproto.Command // cmd+1 if zero
	call   func(ctx context.Context, c *esclient.Client) error
	repeat repetition

	result  protowire.Number // the reply's field with the result; 0 if it has none
	success []byte           // the rest of a reply
	final   int32            // the result that settles the matter
	settled error            // how the call then ends

	results map[int32]error  // errors for the other results; nil for results that are not final
	known   map[int32]string // all results of the protocol
}

func (o *operation) answer(q *request, result int32) {
	var b []byte
	if o.result != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(nil, o.result, protowire.VarintType), uint64(result))
	}
	q.reply(o.completed(), append(b, o.success...))
}

func (o *operation) completed() esproto.Command {
	if o.reply != 0 {
		return o.reply
	}
	return o.cmd + 1
}

var (
	writeResults = map[int32]error{
		1: nil, 2: nil, 3: nil, // prepare, commit and forward timeout
		4: esclient.ErrWrongExpectedVersion, 5: esclient.ErrStreamDeleted, 6: esclient.ErrInvalidTransaction,
		7: esclient.ErrAccessDenied, 99: esclient.ErrServer,
	}
	readEventResults = map[int32]error{
		1: esclient.ErrEventNotFound, 2: esclient.ErrStreamNotFound, 3: esclient.ErrStreamDeleted,
		4: esclient.ErrServer, 5: esclient.ErrAccessDenied, 99: esclient.ErrServer,
	}
	readStreamResults = map[int32]error{
		1: esclient.ErrStreamNotFound, 2: esclient.ErrStreamDeleted, 3: esclient.ErrServer, 4: esclient.ErrServer,
		5: esclient.ErrAccessDenied, 99: esclient.ErrServer,
	}
	readAllResults = map[int32]error{
		1: esclient.ErrServer, 2: esclient.ErrServer, 3: esclient.ErrAccessDenied, 99: esclient.ErrServer,
	}
	createResults = map[int32]error{
		1: esclient.ErrGroupExists, 2: esclient.ErrServer, 3: esclient.ErrAccessDenied, 99: esclient.ErrServer,
	}
	changeResults = map[int32]error{
		1: esclient.ErrGroupNotFound, 2: esclient.ErrServer, 3: esclient.ErrAccessDenied, 99: esclient.ErrServer,
	}
	dropReasons = map[int32]error{
		0: nil, 1: esclient.ErrAccessDenied, 2: esclient.ErrGroupNotFound, 3: esclient.ErrGroupNotFound,
		4: esclient.ErrMaxSubscribers, 99: nil,
	}
)

// operations are all that a client can ask for, by name.
func operations() map[string]operation {
	field := func(num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
	}
	one, settings := esclient.EventData{Type: "t"}, esclient.DefaultPersistentSettings()
	appendTo := func(v esclient.ExpectedVersion) func(context.Context, *esclient.Client) error {
		return func(ctx context.Context, c *esclient.Client) error { _, err := c.Append(ctx, "s", v, one); return err }
	}
	read := func(backward bool) func(context.Context, *esclient.Client) error {
		return func(ctx context.Context, c *esclient.Client) error {
			_, err := c.ReadStreamPage(ctx, "s", esclient.ReadOptions{Backward: backward})
			return err
		}
	}
	filter := &esclient.Filter{TypePrefixes: []string{"t"}}
	readAll := func(backward bool, filter *esclient.Filter) func(context.Context, *esclient.Client) error {
		return func(ctx context.Context, c *esclient.Client) error {
			_, err := c.ReadAllPage(ctx, esclient.ReadAllOptions{Backward: backward, Filter: filter})
			return err
		}
	}
	commit := func(v esclient.ExpectedVersion) func(context.Context, *esclient.Client) error {
		return func(ctx context.Context, c *esclient.Client) error {
			tx, err := c.ContinueTransaction(9, "s", v)
			if err == nil {
				_, err = tx.Commit(ctx)
			}
			return err
		}
	}
	write := func(o operation) operation {
		o.results, o.known = writeResults, esproto.OperationResult_name
		return o
	}
	return map[string]operation{
		"append, exact": write(operation{cmd: esproto.CmdWriteEvents, repeat: repeatRecognised, result: 1,
			call: appendTo(4)}),
		"append, no stream": write(operation{cmd: esproto.CmdWriteEvents, repeat: repeatRecognised, result: 1,
			call: appendTo(esclient.NoStream)}),
		"append, any": write(operation{cmd: esproto.CmdWriteEvents, repeat: repeatSame, result: 1,
			call: appendTo(esclient.Any)}),
		"set metadata": write(operation{cmd: esproto.CmdWriteEvents, repeat: repeatRecognised, result: 1,
			call: func(ctx context.Context, c *esclient.Client) error {
				_, err := c.SetStreamMetadata(ctx, "s", 4, esclient.StreamMetadata{})
				return err
			}}),
		"delete, exact": write(operation{cmd: esproto.CmdDeleteStream, repeat: repeatRecognised, result: 1,
			call: func(ctx context.Context, c *esclient.Client) error {
				_, err := c.DeleteStream(ctx, "s", 4)
				return err
			}}),
		"delete, any": write(operation{cmd: esproto.CmdDeleteStream, repeat: repeatNever, result: 1,
			call: func(ctx context.Context, c *esclient.Client) error {
				_, err := c.DeleteStream(ctx, "s", esclient.Any)
				return err
			}}),
		"tombstone": write(operation{cmd: esproto.CmdDeleteStream, repeat: repeatRecognised, result: 1,
			call: func(ctx context.Context, c *esclient.Client) error {
				_, err := c.TombstoneStream(ctx, "s", esclient.Any)
				return err
			}}),
		"transaction start": write(operation{cmd: esproto.CmdTransactionStart, repeat: repeatAlways, result: 2,
			call: func(ctx context.Context, c *esclient.Client) error {
				_, err := c.StartTransaction(ctx, "s", 4)
				return err
			}}),
		"transaction write": write(operation{cmd: esproto.CmdTransactionWrite, repeat: repeatNever, result: 2,
			call: func(ctx context.Context, c *esclient.Client) error {
				tx, err := c.ContinueTransaction(9, "s", 4)
				if err == nil {
					err = tx.Write(ctx, one)
				}
				return err
			}}),
		"transaction commit, exact": write(operation{cmd: esproto.CmdTransactionCommit, repeat: repeatRecognised,
			result: 2, call: commit(4)}),
		"transaction commit, any": write(operation{cmd: esproto.CmdTransactionCommit, repeat: repeatSame, result: 2,
			call: commit(esclient.Any)}),
		"read event": {cmd: esproto.CmdReadEvent, result: 1, settled: esclient.ErrEventNotFound,
			results: readEventResults, known: esproto.ReadEventCompleted_ReadEventResult_name,
			call: func(ctx context.Context, c *esclient.Client) error {
				_, err := c.ReadEvent(ctx, "s", 4, esclient.ReadEventOptions{})
				return err
			}},
		"read stream": {cmd: esproto.CmdReadStreamEventsForward, call: read(false), result: 2, success: field(5, 1),
			results: readStreamResults, known: esproto.ReadStreamEventsCompleted_ReadStreamResult_name},
		"read stream backward": {cmd: esproto.CmdReadStreamEventsBackward, call: read(true), result: 2,
			success: field(5, 1), results: readStreamResults,
			known: esproto.ReadStreamEventsCompleted_ReadStreamResult_name},
		"read $all": {cmd: esproto.CmdReadAllEventsForward, call: readAll(false, nil), result: 6,
			results: readAllResults, known: esproto.ReadAllEventsCompleted_ReadAllResult_name},
		"read $all backward": {cmd: esproto.CmdReadAllEventsBackward, call: readAll(true, nil), result: 6,
			results: readAllResults, known: esproto.ReadAllEventsCompleted_ReadAllResult_name},
		"read $all filtered": {cmd: esproto.CmdFilteredReadAllEventsForward, call: readAll(false, filter), result: 7,
			success: field(6, 1), results: readAllResults,
			known: esproto.FilteredReadAllEventsCompleted_FilteredReadAllResult_name},
		"read $all filtered backward": {cmd: esproto.CmdFilteredReadAllEventsBackward, call: readAll(true, filter),
			result: 7, reply: esproto.CmdFilteredReadAllEventsBackwardCompleted, success: field(6, 1),
			results: readAllResults, known: esproto.FilteredReadAllEventsCompleted_FilteredReadAllResult_name},
		"create group": {cmd: esproto.CmdCreatePersistentSubscription, repeat: repeatRecognised, result: 1,
			results: createResults,
			known:   esproto.CreatePersistentSubscriptionCompleted_CreatePersistentSubscriptionResult_name,
			call: func(ctx context.Context, c *esclient.Client) error {
				return c.CreatePersistent(ctx, "s", "g", settings)
			}},
		"update group": {cmd: esproto.CmdUpdatePersistentSubscription, repeat: repeatRecognised, result: 1,
			results: changeResults,
			known:   esproto.UpdatePersistentSubscriptionCompleted_UpdatePersistentSubscriptionResult_name,
			call: func(ctx context.Context, c *esclient.Client) error {
				return c.UpdatePersistent(ctx, "s", "g", settings)
			}},
		"delete group": {cmd: esproto.CmdDeletePersistentSubscription, repeat: repeatRecognised, result: 1,
			results: changeResults,
			known:   esproto.DeletePersistentSubscriptionCompleted_DeletePersistentSubscriptionResult_name,
			call:    func(ctx context.Context, c *esclient.Client) error { return c.DeletePersistent(ctx, "s", "g") }},
		"subscribe": {cmd: esproto.CmdSubscribeToStream, reply: esproto.CmdSubscriptionDropped, result: 1,
			final: 1, settled: esclient.ErrAccessDenied, results: dropReasons,
			known: esproto.SubscriptionDropped_SubscriptionDropReason_name,
			call: func(ctx context.Context, c *esclient.Client) error {
				_, err := c.SubscribeVolatile(ctx, "s", esclient.VolatileOptions{})
				return err
			}},
		"subscribe filtered": {cmd: esproto.CmdFilteredSubscribeToStream, reply: esproto.CmdSubscriptionDropped,
			result: 1, final: 1, settled: esclient.ErrAccessDenied, results: dropReasons,
			known: esproto.SubscriptionDropped_SubscriptionDropReason_name,
			call: func(ctx context.Context, c *esclient.Client) error {
				_, err := c.SubscribeVolatile(ctx, esclient.AllStream, esclient.VolatileOptions{Filter: filter})
				return err
			}},
		"connect to group": {cmd: esproto.CmdConnectToPersistentSubscription, reply: esproto.CmdSubscriptionDropped,
			result: 1, final: 1, settled: esclient.ErrAccessDenied, results: dropReasons,
			known: esproto.SubscriptionDropped_SubscriptionDropReason_name,
			call: func(ctx context.Context, c *esclient.Client) error {
				_, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{})
				return err
			}},
		"ping": {cmd: esproto.CmdPing,
			call: func(ctx context.Context, c *esclient.Client) error { _, err := c.Ping(ctx); return err }},
	}
}

// dropped reports whether the answer is that a subscription has ended.
func (o *operation) dropped() bool { return o.reply == esproto.CmdSubscriptionDropped }

// groupState is the client's result for an answer.
type groupState struct {
	again   bool  // it asks again, after a pause or on another connection
	is      error // how the call ends; nil for an error of no special kind
	ok      bool  // it ends without an error
	unknown bool  // the outcome is unknown
	timeout bool
}

func ends(err error) groupState { return groupState{is: err, ok: err == nil} }

// serverTimeout is the groupState on the server's word that it has waited long enough.
func serverTimeout(r repetition, forwarded bool) groupState {
	if r == repeatAlways || r == repeatRecognised || r == repeatSame && !forwarded {
		return groupState{again: true}
	}
	return groupState{unknown: true, timeout: true}
}

// nonsense is the groupState on an answer to another question, or one that cannot be read.
func nonsense(r repetition) groupState { return groupState{unknown: r != repeatAlways} }

// answer is one that a server may give to an operation.
type answer struct {
	send func(q *request)
	groupState
}

// answers are all that a server may give to o.
func (o *operation) answers() map[string]answer {
	raw := func(cmd esproto.Command, payload string) func(q *request) {
		return func(q *request) { q.reply(cmd, []byte(payload)) }
	}
	again := groupState{again: true}
	all := map[string]answer{
		"not ready":             {raw(esproto.CmdNotHandled, "\x08\x00"), again},
		"too busy":              {raw(esproto.CmdNotHandled, "\x08\x01"), again},
		"not leader":            {raw(esproto.CmdNotHandled, "\x08\x02"), again},
		"read-only replica":     {raw(esproto.CmdNotHandled, "\x08\x03"), groupState{is: esclient.ErrNotSupported}},
		"not handled, why ever": {raw(esproto.CmdNotHandled, "\x08\x63"), again},
		"not handled, garbage":  {raw(esproto.CmdNotHandled, "\xff"), groupState{}},
		"bad request":           {raw(esproto.CmdBadRequest, "no"), groupState{}},
		"not authenticated":     {raw(esproto.CmdNotAuthenticated, "Unauthorized"), ends(esclient.ErrNotAuthenticated)},
		"server starting":       {raw(esproto.CmdNotAuthenticated, "Server not yet ready"), again},
		"server's own error":    {raw(esproto.CmdNotAuthenticated, "Internal Server Error"), again},
		"another's reply":       {raw(esproto.CmdClientIdentified, ""), nonsense(o.repeat)},
		"the last word":         {func(q *request) { o.answer(q, o.final) }, ends(o.settled)},
	}
	if o.result != 0 {
		v := nonsense(o.repeat)
		if o.dropped() {
			v = again // for any reason
		}
		half := string(protowire.AppendTag(nil, o.result, protowire.VarintType))
		all["half a reply"] = answer{raw(o.completed(), half), v}
		all["garbage"] = answer{raw(o.completed(), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), v}
	}
	for code, is := range o.results {
		v := groupState{is: is}
		switch {
		case is == nil && o.dropped(): // for no fault of anybody's
			v = again
		case is == nil:
			v = serverTimeout(o.repeat, code == int32(esproto.OperationResult_ForwardTimeout))
		}
		all[fmt.Sprintf("result %d", code)] = answer{func(q *request) { o.answer(q, code) }, v}
	}
	return all
}

// TestEveryAnswerToEveryOperation walks all that a server may say through the rules for retries and errors.
func TestEveryAnswerToEveryOperation(t *testing.T) {
	for name, o := range operations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for code, text := range o.known {
				if _, ok := o.results[code]; code != o.final {
					assert.True(t, ok, "%v has no test", text)
				}
			}
			together(t, o.answers(), func(t *testing.T, a answer) { answered(t, &o, a) })
		})
	}
}

// together runs subtests at the same time, more of them than there are processors: they mostly wait.
func together[T any](t *testing.T, cases map[string]T, test func(t *testing.T, c T)) {
	var wg sync.WaitGroup
	for name, c := range cases {
		wg.Go(func() { t.Run(name, func(t *testing.T) { test(t, c) }) })
	}
	wg.Wait()
}

func answered(t *testing.T, o *operation, a answer) {
	s := newScript(t)
	c := s.client(nil)
	done := inBackground(func() error { return o.call(testContext(t), c) })
	first := s.next(o.cmd)
	a.send(first)
	want := a.groupState
	if want.again {
		repeated := s.next(o.cmd)
		assert.Equal(t, first.payload, repeated.payload, "the repetition is the same, event ids included")
		o.answer(repeated, o.final)
		want = ends(o.settled)
	}
	err := <-done
	assert.Zero(t, s.left(o.cmd))
	if want.ok {
		assert.NoError(t, err)
		return
	}
	require.Error(t, err)
	if want.is != nil {
		assert.ErrorIs(t, err, want.is)
	}
	assert.Equal(t, want.unknown, errors.Is(err, esclient.ErrOutcomeUnknown), "%v", err)
	assert.Equal(t, want.timeout, esclient.Timeout(err), "%v", err)
	assert.False(t, esclient.SafeToRetry(err), "%v", err)
	var op *esclient.OperationError
	assert.ErrorAs(t, err, &op, "it names the operation")
	undertest.PublicError(t, err)
}

// left returns how many requests of a kind the test has not taken.
func (s *script) left(cmd esproto.Command) (n int) {
	for {
		select {
		case q := <-s.requests:
			if q.cmd == cmd {
				n++
			}
		default:
			return n
		}
	}
}

// TestErrorsOfAnswersAreTyped checks the errors without a condition.
func TestErrorsOfAnswersAreTyped(t *testing.T) {
	ask := func(send func(q *request)) error {
		s := newScript(t)
		c := s.client(func(c *esclient.Config) { c.MaxRetries = -1 })
		done := inBackground(func() error {
			_, err := c.ReadEvent(testContext(t), "s", 0, esclient.ReadEventOptions{})
			return err
		})
		for {
			select {
			case q := <-s.requests:
				send(q)
			case err := <-done:
				return err
			}
		}
	}
	var unexpected *esclient.UnexpectedReplyError
	require.ErrorAs(t, ask(func(q *request) { q.reply(esproto.CmdPong, nil) }), &unexpected)
	assert.Equal(t, esclient.UnexpectedReplyError{Request: "ReadEvent", Reply: "Pong"}, *unexpected)
	var bad *esclient.BadRequestError
	require.ErrorAs(t, ask(func(q *request) { q.reply(esproto.CmdBadRequest, []byte("no")) }), &bad)
	assert.Equal(t, "no", bad.Text)
	var busy *esclient.NotHandledError
	err := ask(func(q *request) { q.reply(esproto.CmdNotHandled, []byte{8, 1}) })
	require.ErrorAs(t, err, &busy)
	assert.Equal(t, esclient.ReasonTooBusy, busy.Reason)
	assert.True(t, esclient.SafeToRetry(err))
}

// TestASilentServer takes every operation and answers none.
func TestASilentServer(t *testing.T) {
	together(t, operations(), func(t *testing.T, o operation) {
		s := newScript(t)
		c := s.client(func(c *esclient.Config) { c.MaxRetries, c.OperationTimeout = 1, 40*time.Millisecond })
		err := o.call(testContext(t), c)
		attempts := 2
		if o.repeat == repeatNever {
			attempts = 1
		}
		assert.Equal(t, attempts, s.left(o.cmd))
		assert.ErrorIs(t, err, esclient.ErrOperationTimeout)
		assert.True(t, esclient.Timeout(err))
		assert.Equal(t, o.repeat != repeatAlways, errors.Is(err, esclient.ErrOutcomeUnknown), "%v", err)
		assert.Equal(t, o.repeat == repeatAlways, esclient.SafeToRetry(err), "%v", err)
	})
}

// retries is a hook that counts retries. After enough of them it ends their context.
type retries struct {
	mu     sync.Mutex
	all    []esclient.OperationInfo
	enough int
	cancel context.CancelCauseFunc
}

func (r *retries) OnRetry(_ context.Context, info esclient.OperationInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all = append(r.all, info); len(r.all) == r.enough {
		r.cancel(errHungUp)
	}
}

var errHungUp = errors.New("the caller hung up")

// TestAServerThatIsNeverReady checks that the client asks again, with pauses, as long as the context lives, with any
// MaxRetries. Hooks get each attempt and its error.
func TestAServerThatIsNeverReady(t *testing.T) {
	together(t, operations(), func(t *testing.T, o operation) {
		ctx, cancel := context.WithCancelCause(testContext(t))
		s, told := newScript(t), &retries{enough: 5, cancel: cancel}
		c := s.client(func(c *esclient.Config) { c.MaxRetries, c.Hooks = 2, []esclient.Hook{told} })
		done := inBackground(func() error { return o.call(ctx, c) })
		started := time.Now()
		for n := range told.enough {
			s.next(o.cmd).reply(esproto.CmdNotHandled, []byte{8, byte(n % 2)})
		}
		err := <-done
		assert.ErrorIs(t, err, errHungUp)
		assert.ErrorContains(t, err, "last error: esclient: the server did not handle the request: NotReady")
		assert.True(t, esclient.SafeToRetry(err))
		assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown)
		assert.Zero(t, s.left(o.cmd))

		require.Len(t, told.all, told.enough)
		var pauses time.Duration
		for n, info := range told.all {
			assert.Equal(t, o.cmd.String(), info.Command)
			assert.Equal(t, n+1, info.Retries)
			assert.Positive(t, info.Delay)
			assert.Less(t, info.Delay, time.Second)
			if n < told.enough-1 { // the context ends in the last one
				pauses += info.Delay
			}
			var e *esclient.NotHandledError
			require.ErrorAs(t, info.Err, &e)
			assert.Equal(t, esclient.NotHandledReason(n%2), e.Reason)
			undertest.PublicError(t, info.Err)
		}
		assert.GreaterOrEqual(t, time.Since(started), pauses)
	})
}
