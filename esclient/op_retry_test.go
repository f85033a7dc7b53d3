package esclient_test

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

var success = esproto.WriteEventsCompletedView{
	FirstEventNumber: 3, LastEventNumber: 4, PreparePosition: 77, CommitPosition: 77,
}

func result(r esproto.OperationResult) esproto.WriteEventsCompletedView {
	return esproto.WriteEventsCompletedView{Result: r, FirstEventNumber: esproto.InvalidEventNumber,
		LastEventNumber: esproto.InvalidEventNumber, PreparePosition: esproto.InvalidEventNumber, CurrentVersion: -1}
}

// outcome is how an append ended.
type outcome struct {
	res esclient.AppendResult
	err error
}

// appendTwo appends two events in the background.
func appendTwo(ctx context.Context, c *esclient.Client, expected esclient.ExpectedVersion) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		res, err := c.Append(ctx, "orders", expected,
			esclient.EventData{Type: "a", Data: []byte("1")}, esclient.EventData{Type: "b", Data: []byte("2")})
		done <- outcome{res, err}
	}()
	return done
}

// repetitions answers each repetition of an append, of which there may be several on a busy machine where answers are
// late, and returns how the call ended and how often it was repeated.
func (s *script) repetitions(done <-chan outcome, first esproto.WriteEventsView) (o outcome, n int) {
	for {
		select {
		case q := <-s.requests:
			require.Equal(s.t, esproto.CmdWriteEvents, q.cmd)
			assert.Equal(s.t, first, q.append(), "the repetition is the same, event ids included")
			q.written(success)
			n++
		case o = <-done:
			return o, n
		}
	}
}

// TestAppendIsRepeatedOnlyIfTheServerRecognisesIt plays the possible results of the first attempt, for each kind of
// expected version, and checks the reaction of the client.
func TestAppendIsRepeatedOnlyIfTheServerRecognisesIt(t *testing.T) {
	const timeout = 60 * time.Millisecond
	exact := []esclient.ExpectedVersion{esclient.NoStream, 0, 2}
	uncertain := []esclient.ExpectedVersion{esclient.Any, esclient.StreamExists}
	all := append(append([]esclient.ExpectedVersion(nil), exact...), uncertain...)
	for name, tc := range map[string]struct {
		first    func(q *request)
		repeated []esclient.ExpectedVersion
		unknown  []esclient.ExpectedVersion
	}{
		"cut before the reply": {func(q *request) { q.cut() }, exact, uncertain},
		"reply half sent": {func(q *request) {
			b := esproto.AppendFrame(nil, esproto.CmdWriteEventsCompleted, q.id, success.Append(nil, esproto.Explicit))
			q.peer.Write(b[:len(b)/2])
			q.cut()
		}, exact, uncertain},
		"no reply": {func(*request) {}, all, nil},
		"prepare timeout": {
			func(q *request) { q.written(result(esproto.OperationResult_PrepareTimeout)) }, all, nil,
		},
		"commit timeout": {
			func(q *request) { q.written(result(esproto.OperationResult_CommitTimeout)) }, all, nil,
		},
		"forward timeout": {
			func(q *request) { q.written(result(esproto.OperationResult_ForwardTimeout)) }, exact, uncertain,
		},
		"not ready": {
			func(q *request) { q.reply(esproto.CmdNotHandled, []byte{8, 0}) }, all, nil,
		},
		"too busy": {
			func(q *request) { q.reply(esproto.CmdNotHandled, []byte{8, 1}) }, all, nil,
		},
		"not authenticated, server starting": {
			func(q *request) { q.reply(esproto.CmdNotAuthenticated, []byte("Server not yet ready")) }, all, nil,
		},
		"unreadable reply": {
			func(q *request) { q.reply(esproto.CmdWriteEventsCompleted, []byte{0xff}) }, nil, all,
		},
		"a reply of another kind": {func(q *request) { q.reply(esproto.CmdPong, nil) }, nil, all},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, expected := range tc.repeated {
				s := newScript(t)
				c := s.client(func(c *esclient.Config) { c.OperationTimeout = timeout })
				done := appendTwo(testContext(t), c, expected)
				q := s.next(esproto.CmdWriteEvents)
				first := q.append()
				tc.first(q)
				o, repeated := s.repetitions(done, first)
				assert.Positive(t, repeated)
				require.NoError(t, o.err, "expected version %v", expected)
				assert.Equal(t, esclient.AppendResult{
					FirstEventNumber: 3, LastEventNumber: 4, Position: esclient.Position{Commit: 77, Prepare: 77},
				}, o.res)
			}
			for _, expected := range tc.unknown {
				s := newScript(t)
				done := appendTwo(testContext(t), s.client(nil), expected)
				tc.first(s.next(esproto.CmdWriteEvents))
				o := <-done
				assert.ErrorIs(t, o.err, esclient.ErrOutcomeUnknown, "expected version %v", expected)
				assert.False(t, esclient.SafeToRetry(o.err))
				assert.Empty(t, s.requests, "it was not repeated")
			}
		})
	}
}

func TestAppendAnswersOfTheServer(t *testing.T) {
	wrong := result(esproto.OperationResult_WrongExpectedVersion)
	wrong.CurrentVersion = 9
	for name, tc := range map[string]struct {
		answer func(q *request)
		is     error
	}{
		"wrong expected version": {func(q *request) { q.written(wrong) }, esclient.ErrWrongExpectedVersion},
		"stream deleted": {
			func(q *request) { q.written(result(esproto.OperationResult_StreamDeleted)) }, esclient.ErrStreamDeleted,
		},
		"access denied": {
			func(q *request) { q.written(result(esproto.OperationResult_AccessDenied)) }, esclient.ErrAccessDenied,
		},
		"invalid transaction": {
			func(q *request) { q.written(result(esproto.OperationResult_InvalidTransaction)) }, esclient.ErrServer,
		},
		"unknown result": {func(q *request) { q.written(result(99)) }, esclient.ErrServer},
		"not authenticated": {
			func(q *request) { q.reply(esproto.CmdNotAuthenticated, []byte("Unauthorized")) },
			esclient.ErrNotAuthenticated,
		},
		"read-only replica": {
			func(q *request) { q.reply(esproto.CmdNotHandled, []byte{8, 3}) }, esclient.ErrNotSupported,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			done := appendTwo(testContext(t), s.client(nil), 2)
			tc.answer(s.next(esproto.CmdWriteEvents))
			o := <-done
			assert.ErrorIs(t, o.err, tc.is)
			assert.NotErrorIs(t, o.err, esclient.ErrOutcomeUnknown)
			var op *esclient.OperationError
			require.ErrorAs(t, o.err, &op)
			assert.Equal(t, "orders", op.Stream)
			assert.Empty(t, s.requests)
		})
	}
	t.Run("bad request", func(t *testing.T) {
		s := newScript(t)
		done := appendTwo(testContext(t), s.client(nil), 2)
		s.next(esproto.CmdWriteEvents).reply(esproto.CmdBadRequest, []byte("no such thing"))
		var bad *esclient.BadRequestError
		require.ErrorAs(t, (<-done).err, &bad)
		assert.Equal(t, "no such thing", bad.Text)
	})
	t.Run("a wrong expected version has the current one", func(t *testing.T) {
		s := newScript(t)
		done := appendTwo(testContext(t), s.client(nil), 2)
		s.next(esproto.CmdWriteEvents).written(wrong)
		var e *esclient.WrongExpectedVersionError
		require.ErrorAs(t, (<-done).err, &e)
		assert.Equal(t, esclient.WrongExpectedVersionError{Stream: "orders", Expected: 2, Current: 9}, *e)
	})
}

func TestARefusedRepetitionSettlesComparedWrites(t *testing.T) {
	for name, tc := range map[string]struct {
		result  esproto.OperationResult
		unknown bool
	}{
		"wrong expected version": {esproto.OperationResult_WrongExpectedVersion, false},
		"stream deleted":         {esproto.OperationResult_StreamDeleted, true},
		"access denied":          {esproto.OperationResult_AccessDenied, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			done := appendTwo(testContext(t), s.client(nil), 2)
			s.next(esproto.CmdWriteEvents).cut()
			s.next(esproto.CmdWriteEvents).written(result(tc.result))
			err := (<-done).err
			if tc.unknown {
				assert.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
			} else {
				assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown)
				assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
			}
		})
	}
}

func TestAppendWhoseContextEndsIsUnknown(t *testing.T) {
	s := newScript(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := appendTwo(ctx, s.client(nil), 2)
	s.next(esproto.CmdWriteEvents)
	cancel()
	err := (<-done).err
	assert.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
	assert.ErrorIs(t, err, context.Canceled)
}

// TestAppendWhoseReplyIsTooLargeIsUnknown has a server answer with a frame that is skipped: a repetition, which might
// settle the outcome, would get another such reply.
func TestAppendWhoseReplyIsTooLargeIsUnknown(t *testing.T) {
	s := newScript(t)
	c := s.client(func(cfg *esclient.Config) { cfg.MaxFrameSize = 1 << 10 })
	done := appendTwo(testContext(t), c, 2)
	q := s.next(esproto.CmdWriteEvents)
	q.reply(esproto.CmdWriteEventsCompleted, make([]byte, 1<<10))
	var large *esclient.FrameTooLargeError
	o := <-done
	require.ErrorIs(t, o.err, esclient.ErrOutcomeUnknown)
	require.ErrorAs(t, o.err, &large)
	done = appendTwo(testContext(t), c, 2)
	next := s.next(esproto.CmdWriteEvents)
	assert.Equal(t, q.peer, next.peer, "the connection lives on")
	assert.NotEqual(t, q.append(), next.append(), "it is not a repetition")
	next.written(success)
	require.NoError(t, (<-done).err)
}

func TestAppendThatIsClosedUponIsUnknownAndClosed(t *testing.T) {
	s := newScript(t)
	c := s.client(nil)
	done := appendTwo(testContext(t), c, esclient.Any)
	s.next(esproto.CmdWriteEvents)
	require.NoError(t, c.Close())
	err := (<-done).err
	assert.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
	assert.ErrorIs(t, err, esclient.ErrClosed)
	_, err = c.Append(testContext(t), "orders", esclient.Any, esclient.EventData{Type: "a"})
	assert.ErrorIs(t, err, esclient.ErrClosed)
	assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown)
	assert.NoError(t, c.Close(), "closing twice is fine")
}

func TestAppendThatWasNeverSentIsNotUnknown(t *testing.T) {
	c, err := esclient.New(esclient.Config{Address: wiretest.Refusing(t)})
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = c.Append(ctx, "orders", esclient.Any, esclient.EventData{Type: "a"})
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown)
	assert.True(t, esclient.SafeToRetry(err))
	assert.True(t, esclient.Timeout(err))
}

func TestRetriesAreLimited(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	done := appendTwo(testContext(t), s.client(func(c *esclient.Config) { c.MaxRetries = 2 }), 2)
	for range 3 {
		for range 3 { // which do not count
			s.next(esproto.CmdWriteEvents).reply(esproto.CmdNotHandled, []byte{8, 0})
		}
		s.next(esproto.CmdWriteEvents).cut()
	}
	err := (<-done).err
	assert.ErrorContains(t, err, "3 attempts")
	assert.Empty(t, s.requests)
}

func TestNoRetriesMeansNone(t *testing.T) {
	s := newScript(t)
	done := appendTwo(testContext(t), s.client(func(c *esclient.Config) { c.MaxRetries = -1 }), 2)
	s.next(esproto.CmdWriteEvents).reply(esproto.CmdNotHandled, []byte{8, 0})
	err := (<-done).err
	assert.ErrorContains(t, err, "1 attempt")
	assert.True(t, esclient.SafeToRetry(err), "the server never took it")
	assert.Empty(t, s.requests)
}

func TestNotLeaderIsFollowed(t *testing.T) {
	leader, follower := newScript(t), newScript(t)
	host, port, err := net.SplitHostPort(leader.l.Addr())
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	info, err := proto.Marshal(&esproto.NotHandled_LeaderInfo{
		ExternalTcpAddress: proto.String(host), ExternalTcpPort: proto.Int32(int32(n)),
	})
	require.NoError(t, err)
	payload, err := proto.Marshal(&esproto.NotHandled{
		Reason: esproto.NotHandled_NotLeader.Enum(), AdditionalInfo: info,
	})
	require.NoError(t, err)

	done := appendTwo(testContext(t), follower.client(nil), esclient.Any)
	follower.next(esproto.CmdWriteEvents).reply(esproto.CmdNotHandled, payload)
	leader.next(esproto.CmdWriteEvents).written(success)
	assert.NoError(t, (<-done).err)
}

func TestAPageThatLeadsNowhereIsAnError(t *testing.T) {
	s := newScript(t)
	c := s.client(nil)
	done := make(chan error, 1)
	go func() {
		for _, err := range c.ReadStream(testContext(t), "orders", esclient.ReadOptions{From: esclient.FromNumber(5)}) {
			done <- err
		}
	}()
	s.next(esproto.CmdReadStreamEventsForward).reply(esproto.CmdReadStreamEventsForwardCompleted, []byte{0x18, 5})
	assert.ErrorIs(t, <-done, esclient.ErrServer)
}

// TestAReplyThatComesAfterItsRepetitionIsTaken has the server answer the first attempt when it has got the second.
func TestAReplyThatComesAfterItsRepetitionIsTaken(t *testing.T) {
	for name, expected := range map[string]esclient.ExpectedVersion{"Any": esclient.Any, "exact": 2} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			c := s.client(func(cfg *esclient.Config) { cfg.OperationTimeout = 60 * time.Millisecond })
			done := appendTwo(testContext(t), c, expected)
			first := s.next(esproto.CmdWriteEvents)
			second := s.next(esproto.CmdWriteEvents)
			assert.Equal(t, first.append(), second.append())
			first.written(success)
			for { // a busy machine may have made further attempts before the reply comes
				select {
				case o := <-done:
					require.NoError(t, o.err)
					assert.EqualValues(t, 4, o.res.LastEventNumber)
					return
				case <-s.requests:
				}
			}
		})
	}
}

// TestALateRefusalIsNotTaken: whether the repetition was written is another question.
func TestALateRefusalIsNotTaken(t *testing.T) {
	s := newScript(t)
	c := s.client(func(cfg *esclient.Config) { cfg.OperationTimeout = 200 * time.Millisecond })
	done := appendTwo(testContext(t), c, 2)
	first := s.next(esproto.CmdWriteEvents)
	second := s.next(esproto.CmdWriteEvents)
	first.written(result(esproto.OperationResult_WrongExpectedVersion))
	second.written(success)
	o := <-done
	require.NoError(t, o.err)
	assert.EqualValues(t, 4, o.res.LastEventNumber)
}
