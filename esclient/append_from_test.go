package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// source yields numbered events from from to to, and does something before each.
func source(from, to int, before func(n int)) iter.Seq2[esclient.EventData, error] {
	return func(yield func(esclient.EventData, error) bool) {
		for n := from; n <= to; n++ {
			if before != nil {
				before(n)
			}
			if !yield(numbered(n, n)[0], nil) {
				return
			}
		}
	}
}

// withID gives an event an id that depends on its data alone.
func withID(e esclient.EventData) esclient.EventData {
	e.ID = uuid.NewSHA1(uuid.NameSpaceOID, e.Data)
	return e
}

// dataOf returns the data of the events of a type in a stream.
func dataOf(t testing.TB, c *esclient.Client, stream, eventType string) (data []string) {
	t.Helper()
	for e, err := range c.ReadStream(testContext(t), stream, esclient.ReadOptions{PageSize: 4096}) {
		require.NoError(t, err)
		if e.Type == eventType {
			data = append(data, string(e.Data))
		}
	}
	return data
}

func requireNumbers(t testing.TB, from, to int, data []string) {
	t.Helper()
	var want []string
	for n := from; n <= to; n++ {
		want = append(want, fmt.Sprint(n))
	}
	require.Equal(t, want, data)
}

func TestASourceIsAppendedInOrder(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	var reported []esclient.AppendFromResult
	res, err := c.AppendFrom(ctx, stream, esclient.NoStream, source(0, 2999, nil), esclient.AppendFromOptions{
		BatchEvents: 70, Progress: func(r esclient.AppendFromResult) { reported = append(reported, r) },
	})
	require.NoError(t, err)
	assert.Equal(t, int64(3000), res.Events)
	assert.Equal(t, int64(0), res.FirstEventNumber)
	assert.Equal(t, int64(2999), res.LastEventNumber)
	assert.Positive(t, res.Position.Commit)
	assert.Zero(t, res.Unknown)
	requireNumbers(t, 0, 2999, dataOf(t, c, stream, "numbered"))
	assert.Equal(t, res, reported[len(reported)-1])
	assert.True(t, slices.IsSortedFunc(reported, func(a, b esclient.AppendFromResult) int {
		return int(a.Events - b.Events)
	}))

	res, err = c.AppendFrom(ctx, stream, 2999, source(3000, 3009, nil), esclient.AppendFromOptions{})
	require.NoError(t, err)
	assert.Equal(t, int64(3000), res.FirstEventNumber)
	res, err = c.AppendFrom(ctx, stream, esclient.Any, source(3010, 3019, nil), esclient.AppendFromOptions{})
	require.NoError(t, err)
	assert.Equal(t, int64(3010), res.FirstEventNumber)
	res, err = c.AppendFrom(ctx, stream, esclient.StreamExists, source(3020, 3029, nil),
		esclient.AppendFromOptions{BatchEvents: 3})
	require.NoError(t, err)
	assert.Equal(t, int64(3029), res.LastEventNumber)
	requireNumbers(t, 0, 3029, dataOf(t, c, stream, "numbered"))

	res, err = c.AppendFrom(ctx, stream, esclient.Any, source(1, 0, nil), esclient.AppendFromOptions{})
	require.NoError(t, err, "a source may be empty")
	nothing := esclient.AppendFromResult{
		FirstEventNumber: -1, LastEventNumber: -1, Position: esclient.UnknownPosition,
	}
	assert.Equal(t, nothing, res)
}

// TestASourceSurvivesDropsAndRestarts cuts connections and restarts the server while appends are on their way. Restarts
// also make the server forget the event ids, so that only exact versions are recognised.
func TestASourceSurvivesDropsAndRestarts(t *testing.T) {
	t.Parallel()
	for _, expected := range []esclient.ExpectedVersion{esclient.NoStream, esclient.Any} {
		t.Run(expected.String(), func(t *testing.T) {
			srv, _ := embedded(t)
			cfg, err := esclient.ParseConnectionString(srv.ConnectionString())
			require.NoError(t, err)
			// Connections that never last would be made ever more slowly.
			cfg.ReconnectDelay, cfg.MaxReconnectDelay = time.Millisecond, time.Millisecond
			c, err := esclient.New(cfg)
			require.NoError(t, err)
			defer c.Close()
			stream, last := name("s"), 5999
			ctx, moved := progressContext(t)
			res, err := c.AppendFrom(ctx, stream, expected, source(0, last, func(n int) {
				moved()
				switch {
				case n%500 == 499:
					assert.NoError(t, srv.Restart())
				case n%100 == 99:
					srv.DropConnections()
				}
			}), esclient.AppendFromOptions{BatchEvents: 20, WindowEvents: 40})
			require.NoError(t, err)
			assert.Equal(t, int64(last+1), res.Events)
			assert.Equal(t, int64(last), res.LastEventNumber)
			requireNumbers(t, 0, last, dataOf(t, c, stream, "numbered"))
		})
	}
}

// TestASourceSurvivesElections also loses the events that a leader wrote while it was cut off from the others.
func TestASourceSurvivesElections(t *testing.T) {
	t.Parallel()
	cluster := runCluster(t, estest.WithElectionDelay(20*time.Millisecond),
		estest.WithStepDownDelay(20*time.Millisecond))
	c, _ := openClient(t, cluster.ConnectionString(), func(cfg *esclient.Config) {
		cfg.ReconnectDelay, cfg.MaxReconnectDelay = time.Millisecond, 10*time.Millisecond
	})
	stream, last, cutOff := name("s"), 1999, 0
	ctx, moved := progressContext(t)
	res, err := c.AppendFrom(ctx, stream, esclient.NoStream, source(0, last, func(n int) {
		moved()
		leader := cluster.Leader()
		switch {
		case leader < 0:
		case n == 500:
			assert.NoError(t, cluster.Kill(leader))
			cutOff = leader
		case n == 700:
			assert.NoError(t, cluster.Restart(cutOff))
		case n == 1000:
			cluster.Partition(leader)
		case n == 1300:
			cluster.Heal()
		case n%150 == 0:
			if next := (leader + 1) % cluster.Size(); n < 500 || n > 1300 {
				assert.NoError(t, cluster.Elect(next))
			}
		}
	}), esclient.AppendFromOptions{BatchEvents: 20, WindowEvents: 40})
	require.NoError(t, err)
	assert.Equal(t, int64(last+1), res.Events)
	assert.Equal(t, int64(last), res.LastEventNumber)
	requireNumbers(t, 0, last, dataOf(t, c, stream, "numbered"))
}

func TestASourceSharesItsStream(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, -3, -1)
	others := 0
	res, err := c.AppendFrom(ctx, stream, esclient.Any, source(0, 999, func(n int) {
		if n%10 == 0 { // right between two batches, or between two attempts
			_, err := c.Append(ctx, stream, esclient.Any, esclient.EventData{Type: "other"})
			assert.NoError(t, err)
			others++
		}
	}), esclient.AppendFromOptions{BatchEvents: 7, WindowEvents: 14})
	require.NoError(t, err)
	assert.Equal(t, int64(1000), res.Events)
	requireNumbers(t, -3, 999, dataOf(t, c, stream, "numbered"))
	assert.Len(t, dataOf(t, c, stream, "other"), others)
}

func TestASourceOfItsOwnStreamNoticesOthers(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	var failed error
	res, err := c.AppendFrom(ctx, stream, esclient.NoStream, source(0, math.MaxInt, func(n int) {
		if n == 100 {
			_, err := c.Append(ctx, stream, esclient.Any, esclient.EventData{Type: "other"})
			assert.NoError(t, err)
		}
	}), esclient.AppendFromOptions{BatchEvents: 10, WindowEvents: 20, Failed: func(err error) { failed = err }})
	var wrong *esclient.WrongExpectedVersionError
	require.ErrorAs(t, err, &wrong)
	assert.Equal(t, err, failed)
	assert.Zero(t, res.Unknown)
	require.Positive(t, res.Events)
	requireNumbers(t, 0, int(res.Events)-1, dataOf(t, c, stream, "numbered"))

	res, err = c.AppendFrom(ctx, name("missing"), esclient.StreamExists, source(0, 9, nil),
		esclient.AppendFromOptions{})
	assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	assert.Zero(t, res.Events)
}

// TestASourceIsAppendedAgain appends a source again, as a caller does that has lost the result.
func TestASourceIsAppendedAgain(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	identified := func(to int) iter.Seq2[esclient.EventData, error] {
		return func(yield func(esclient.EventData, error) bool) {
			for e, err := range source(0, to, nil) {
				if !yield(withID(e), err) {
					return
				}
			}
		}
	}
	for _, run := range []struct{ last, batch int }{{99, 30}, {99, 7}, {250, 64}, {40, 1000}, {300, 1000}} {
		res, err := c.AppendFrom(ctx, stream, esclient.NoStream, identified(run.last),
			esclient.AppendFromOptions{BatchEvents: run.batch})
		require.NoError(t, err)
		assert.Equal(t, int64(run.last+1), res.Events)
		assert.Equal(t, int64(run.last), res.LastEventNumber)
	}
	requireNumbers(t, 0, 300, dataOf(t, c, stream, "numbered"))
}

func TestAnEndlessSourceEndsWithItsContext(t *testing.T) {
	c, stream := connect(t), name("s")
	ctx, cancel := context.WithCancelCause(testContext(t))
	enough := errors.New("enough")
	ended := false
	res, err := c.AppendFrom(ctx, stream, esclient.NoStream, func(yield func(esclient.EventData, error) bool) {
		defer func() { ended = true }()
		source(0, math.MaxInt, nil)(yield)
	}, esclient.AppendFromOptions{BatchEvents: 10, Progress: func(r esclient.AppendFromResult) {
		if r.Events >= 200 {
			cancel(enough)
		}
	}})
	assert.ErrorIs(t, err, enough)
	assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown)
	assert.True(t, ended)
	assert.Zero(t, res.Unknown)
	requireNumbers(t, 0, int(res.Events)-1, dataOf(t, c, stream, "numbered"))

	_, err = c.AppendFrom(ctx, stream, esclient.Any, func(func(esclient.EventData, error) bool) {
		assert.Fail(t, "the source is not begun when the context has ended")
	}, esclient.AppendFromOptions{})
	assert.ErrorIs(t, err, enough)
}

func TestEventsBeforeAnErrorOfTheSourceAreWritten(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	broken := errors.New("broken")
	for what, tc := range map[string]struct {
		bad esclient.EventData
		err error
		is  error
	}{
		"the source's error": {err: broken, is: broken},
		"an invalid event":   {bad: esclient.EventData{}, is: esclient.ErrInvalidArgument},
	} {
		t.Run(what, func(t *testing.T) {
			stream := name("s")
			res, err := c.AppendFrom(ctx, stream, esclient.NoStream, func(yield func(esclient.EventData, error) bool) {
				source(0, 24, nil)(yield)
				assert.False(t, yield(tc.bad, tc.err))
			}, esclient.AppendFromOptions{BatchEvents: 10})
			assert.ErrorIs(t, err, tc.is)
			assert.Equal(t, int64(25), res.Events)
			requireNumbers(t, 0, 24, dataOf(t, c, stream, "numbered"))
		})
	}
	_, err := c.AppendFrom(ctx, name("s"), esclient.Any, func(yield func(esclient.EventData, error) bool) {
		source(0, 2, nil)(yield)
		yield(esclient.EventData{Type: "\xff"}, nil)
	}, esclient.AppendFromOptions{})
	var e *esclient.ArgumentError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "events[3].Type", e.Argument)

	assert.PanicsWithValue(t, "the source's", func() {
		c.AppendFrom(ctx, name("s"), esclient.Any, source(0, 9, func(n int) {
			if n == 5 {
				panic("the source's")
			}
		}), esclient.AppendFromOptions{})
	})
}

func TestAppendFromRefusesInvalidArguments(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	for argument, try := range map[string]func() error{
		"stream": func() error {
			_, err := c.AppendFrom(ctx, "", esclient.Any, source(0, 0, nil), esclient.AppendFromOptions{})
			return err
		},
		"expected": func() error {
			_, err := c.AppendFrom(ctx, "s", -3, source(0, 0, nil), esclient.AppendFromOptions{})
			return err
		},
		"source": func() error {
			_, err := c.AppendFrom(ctx, "s", esclient.Any, nil, esclient.AppendFromOptions{})
			return err
		},
	} {
		var e *esclient.ArgumentError
		require.ErrorAs(t, try(), &e, argument)
		assert.Equal(t, argument, e.Argument)
	}
	for field, opts := range map[string]esclient.AppendFromOptions{
		"BatchEvents":  {BatchEvents: -1},
		"BatchBytes":   {BatchBytes: esclient.MaxAppendSize + 1},
		"WindowEvents": {WindowEvents: -1},
		"WindowBytes":  {WindowBytes: -1},
		"Linger":       {Linger: -1},
	} {
		_, err := c.AppendFrom(ctx, "s", esclient.Any, source(0, 0, nil), opts)
		var e *esclient.ArgumentError
		require.ErrorAs(t, err, &e, field)
		assert.Equal(t, "AppendFromOptions."+field, e.Argument)
	}
}

// appending runs AppendFrom in the background on a scripted server.
func appending(
	ctx context.Context, c *esclient.Client, source iter.Seq2[esclient.EventData, error],
	opts esclient.AppendFromOptions,
) <-chan appended {
	done := make(chan appended, 1)
	go func() {
		res, err := c.AppendFrom(ctx, "orders", esclient.NoStream, source, opts)
		done <- appended{res, err}
	}()
	return done
}

type appended struct {
	res esclient.AppendFromResult
	err error
}

// accept takes the next append and replies that it is written. It returns how many events it had.
func (s *script) accept() int {
	s.t.Helper()
	q := s.next(esproto.CmdWriteEvents)
	v := q.append()
	n := int64(len(v.Events))
	q.written(esproto.WriteEventsCompletedView{
		FirstEventNumber: v.ExpectedVersion + 1, LastEventNumber: v.ExpectedVersion + n,
	})
	return int(n)
}

func TestASourceIsPulledNoFurtherThanTheWindow(t *testing.T) {
	for what, tc := range map[string]struct {
		opts esclient.AppendFromOptions
		most int
	}{
		"events": {esclient.AppendFromOptions{BatchEvents: 3, WindowEvents: 5}, 5},
		"bytes":  {esclient.AppendFromOptions{WindowBytes: 3 * esclient.AppendEventSize(&numbered(0, 0)[0])}, 3},
		"one":    {esclient.AppendFromOptions{WindowBytes: 1, BatchBytes: 1}, 1},
	} {
		t.Run(what, func(t *testing.T) {
			s := newScript(t)
			pulled := make(chan int, 100)
			done := appending(testContext(t), s.client(nil), source(0, 9, func(n int) { pulled <- n }), tc.opts)
			q := s.next(esproto.CmdWriteEvents)
			for range tc.most + 1 { // one waits for room
				<-pulled
			}
			select {
			case n := <-pulled:
				assert.Fail(t, "the window is exceeded", "by event %d", n)
			case <-time.After(50 * time.Millisecond):
			}
			s.requests <- q
			for written := 0; written < 10; {
				written += s.accept()
			}
			assert.NoError(t, (<-done).err)
		})
	}
}

func TestBatchesLinger(t *testing.T) {
	t.Run("for events that fill them", func(t *testing.T) {
		s := newScript(t)
		done := appending(testContext(t), s.client(nil), source(0, 6, nil), esclient.AppendFromOptions{
			BatchEvents: 3, Linger: time.Hour,
		})
		assert.Equal(t, 3, s.accept())
		assert.Equal(t, 3, s.accept())
		assert.Equal(t, 1, s.accept(), "the source has ended")
		assert.NoError(t, (<-done).err)
	})
	t.Run("no longer than the source can go on", func(t *testing.T) {
		s := newScript(t)
		done := appending(testContext(t), s.client(nil), source(0, 3, nil),
			esclient.AppendFromOptions{BatchEvents: 3, WindowEvents: 2, Linger: time.Hour})
		assert.Equal(t, 2, s.accept())
		assert.Equal(t, 2, s.accept())
		assert.NoError(t, (<-done).err)
	})
	t.Run("no longer than told", func(t *testing.T) {
		s := newScript(t)
		goOn := make(chan struct{})
		done := appending(testContext(t), s.client(nil), source(0, 2, func(n int) {
			if n == 2 {
				<-goOn // a source that waits keeps nothing back
			}
		}), esclient.AppendFromOptions{Linger: 20 * time.Millisecond})
		for written := 0; written < 2; {
			written += s.accept()
		}
		close(goOn)
		assert.Equal(t, 1, s.accept())
		assert.NoError(t, (<-done).err)
	})
	t.Run("by bytes", func(t *testing.T) {
		s := newScript(t)
		one := esclient.AppendEventSize(&numbered(0, 0)[0])
		done := appending(testContext(t), s.client(nil), source(0, 4, nil),
			esclient.AppendFromOptions{
				BatchBytes: esclient.AppendSize("orders") + 2*one, Linger: 20 * time.Millisecond,
			})
		for _, n := range []int{2, 2, 1} {
			assert.Equal(t, n, s.accept())
		}
		assert.NoError(t, (<-done).err)
	})
}

func TestTheOutcomeIsAwaitedForAMoment(t *testing.T) {
	t.Run("and is known", func(t *testing.T) {
		s := newScript(t)
		ctx, cancel := context.WithCancel(testContext(t))
		done := appending(ctx, s.client(nil), source(0, math.MaxInt, nil), esclient.AppendFromOptions{
			BatchEvents: 5, Grace: time.Minute,
		})
		first := s.accept()
		q := s.next(esproto.CmdWriteEvents)
		n := len(q.append().Events)
		cancel()
		q.written(esproto.WriteEventsCompletedView{
			FirstEventNumber: int64(first), LastEventNumber: int64(first + n - 1),
		})
		o := <-done
		assert.ErrorIs(t, o.err, context.Canceled)
		assert.NotErrorIs(t, o.err, esclient.ErrOutcomeUnknown)
		assert.Equal(t, int64(first+n), o.res.Events)
		assert.Zero(t, o.res.Unknown)
		assert.Empty(t, s.requests, "nothing is sent any more")
	})
	t.Run("and stays unknown", func(t *testing.T) {
		s := newScript(t)
		ctx, cancel := context.WithCancel(testContext(t))
		called := false
		done := appending(ctx, s.client(nil), source(0, math.MaxInt, nil),
			esclient.AppendFromOptions{BatchEvents: 5, Grace: -1, Failed: func(error) { called = true }})
		first := s.accept()
		n := len(s.next(esproto.CmdWriteEvents).append().Events)
		cancel()
		o := <-done
		assert.ErrorIs(t, o.err, context.Canceled)
		assert.ErrorIs(t, o.err, esclient.ErrOutcomeUnknown)
		assert.Equal(t, int64(first), o.res.Events)
		assert.Equal(t, int64(n), o.res.Unknown)
		assert.False(t, called, "the context ended, no append failed")
	})
}

func TestAWaitingSourceIsWokenByAFailure(t *testing.T) {
	s := newScript(t)
	ctx, cancel := context.WithCancelCause(testContext(t))
	done := appending(ctx, s.client(nil), source(0, 1, func(n int) {
		if n == 1 {
			<-ctx.Done() // nothing more comes
		}
	}), esclient.AppendFromOptions{Failed: cancel})
	s.next(esproto.CmdWriteEvents).written(result(esproto.OperationResult_AccessDenied))
	o := <-done
	assert.ErrorIs(t, o.err, esclient.ErrAccessDenied)
	assert.Zero(t, o.res.Events)
}

// TestAServerThatNeverAgreesEndsASharedSource plays a server that makes no sense.
func TestAServerThatNeverAgreesEndsASharedSource(t *testing.T) {
	s := newScript(t)
	c, done := s.client(nil), make(chan error, 1)
	go func() {
		_, err := c.AppendFrom(testContext(t), "orders", esclient.Any, source(0, 0, nil), esclient.AppendFromOptions{})
		done <- err
	}()
	for {
		select {
		case q := <-s.requests:
			wrong := result(esproto.OperationResult_WrongExpectedVersion)
			wrong.CurrentVersion = (q.append().ExpectedVersion + 7) % 20
			q.written(wrong)
			continue
		case err := <-done:
			assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
		}
		return
	}
}
