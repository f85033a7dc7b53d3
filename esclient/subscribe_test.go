package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// take returns the data of the next n events.
func take(t testing.TB, next func(context.Context) (*esclient.Event, error), n int) (data []string) {
	t.Helper()
	ctx := testContext(t)
	for range n {
		e, err := next(ctx)
		require.NoError(t, err)
		data = append(data, string(e.Data))
	}
	return data
}

// of returns only the events of one stream: $all has more than those of the test.
func of(
	stream string, next func(context.Context) (*esclient.Event, error),
) func(context.Context) (*esclient.Event, error) {
	return func(ctx context.Context) (*esclient.Event, error) {
		for {
			if e, err := next(ctx); err != nil || e.Stream == stream {
				return e, err
			}
		}
	}
}

// nothingMore checks that no event is at hand.
func nothingMore(t testing.TB, next func(context.Context) (*esclient.Event, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	e, err := next(ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Nil(t, e)
}

func TestVolatileDeliversNewEvents(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, 0, 4)
	a, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{})
	require.NoError(t, err)
	b, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{FillGaps: true})
	require.NoError(t, err)
	appendNumbered(t, c, name("other"), 0, 4)
	appendNumbered(t, c, stream, 5, 20)
	for _, s := range []*esclient.Subscription{a, b} {
		assert.Equal(t, words(5, 20), take(t, s.Next, 16))
		nothingMore(t, s.Next)
		<-s.CaughtUp()
	}
	a.Stop()
	<-a.Closed()
	assert.ErrorIs(t, a.Err(), esclient.ErrSubscriptionStopped)
	_, err = a.Next(ctx)
	assert.ErrorIs(t, err, esclient.ErrSubscriptionStopped)
	appendNumbered(t, c, stream, 21, 21)
	assert.Equal(t, words(21, 21), take(t, b.Next, 1))
}

func TestVolatileOnAMissingStream(t *testing.T) {
	c, stream := connect(t), name("s")
	s, err := c.SubscribeVolatile(testContext(t), stream, esclient.VolatileOptions{FillGaps: true})
	require.NoError(t, err)
	appendNumbered(t, c, stream, 0, 2)
	assert.Equal(t, words(0, 2), take(t, s.Next, 3))
}

func TestVolatileFillsGaps(t *testing.T) {
	srv, c := embedded(t)
	other := open(t, srv.ConnectionString())
	ctx, stream := testContext(t), name("s")
	for _, from := range []int{0, 1} { // a stream that is missing at first, and one that is there
		filling, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{FillGaps: true})
		require.NoError(t, err)
		all, err := c.SubscribeVolatile(asAdmin(ctx), esclient.AllStream, esclient.VolatileOptions{FillGaps: true})
		require.NoError(t, err)
		for round := range 5 {
			n := (from*5 + round) * 10
			srv.DropConnections()
			// The exact version makes the append safe to repeat on the connection that follows.
			_, err := other.Append(ctx, stream, esclient.ExpectedVersion(n-1), numbered(n, n+9)...)
			require.NoError(t, err)
			assert.Equal(t, words(n, n+9), take(t, filling.Next, 10))
			assert.Equal(t, words(n, n+9), take(t, all.Next, 10))
		}
		filling.Stop()
		all.Stop()
	}
}

func TestASlowVolatileConsumer(t *testing.T) {
	_, c := embedded(t)
	ctx, stream := testContext(t), name("s")
	strict, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{BufferSize: 10})
	require.NoError(t, err)
	filling, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{BufferSize: 10, FillGaps: true})
	require.NoError(t, err)
	for n := range 10 {
		appendNumbered(t, c, stream, 10*n, 10*n+9)
	}
	_, err = c.Ping(ctx)
	require.NoError(t, err, "a slow consumer delays no other one")
	assert.Equal(t, words(0, 99), take(t, filling.Next, 100), "what did not fit is read")
	assert.Equal(t, words(0, 9), take(t, strict.Next, 10), "what did fit is delivered")
	_, err = strict.Next(ctx)
	assert.ErrorIs(t, err, esclient.ErrSlowConsumer)
	assert.ErrorIs(t, strict.Err(), esclient.ErrSlowConsumer)
}

func TestCatchUpFromEverywhere(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, 0, 29)
	for name, tc := range map[string]struct {
		start esclient.Start
		from  int
	}{
		"zero value":   {esclient.Start{}, 0},
		"from start":   {esclient.FromStart(), 0},
		"from 7":       {esclient.FromNumber(7), 7},
		"from 0":       {esclient.FromNumber(0), 0},
		"after 7":      {esclient.AfterNumber(7), 8},
		"after last":   {esclient.AfterNumber(29), 30},
		"end":          {esclient.FromEnd(), 30},
		"to be filled": {esclient.AfterNumber(31), 32},
	} {
		s, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{Start: tc.start, PageSize: 4})
		require.NoError(t, err, name)
		t.Run(name, func(t *testing.T) {
			t.Cleanup(s.Stop)
			if tc.from < 30 {
				assert.Equal(t, words(tc.from, 29), take(t, s.Next, 30-tc.from))
			}
		})
	}
}

func TestCatchUpGoesLive(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	const total = 3000
	var wg sync.WaitGroup
	defer wg.Wait()
	appendNumbered(t, c, stream, 0, 999)
	wg.Go(func() {
		for n := 1000; n < total; n += 10 {
			appendNumbered(t, c, stream, n, n+9)
		}
	})
	s, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{PageSize: 50, BufferSize: 200})
	require.NoError(t, err)
	defer s.Stop()
	assert.Equal(t, words(0, total-1), take(t, s.Next, total))
	nothingMore(t, s.Next)
	<-s.CaughtUp()
}

func TestCatchUpSurvivesEverything(t *testing.T) {
	srv, c := embedded(t)
	ctx, stream := testContext(t), name("s")
	const total = 2000
	var wg sync.WaitGroup
	defer wg.Wait()
	done := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if i%10 == 9 {
				assert.NoError(t, srv.Restart())
			} else {
				srv.DropConnections()
			}
		}
	})
	defer close(done)
	wg.Go(func() {
		for n := range total {
			// With an exact version every outcome becomes known.
			_, err := c.Append(ctx, stream, esclient.ExpectedVersion(n-1), numbered(n, n)...)
			if !assert.NoError(t, err) {
				return
			}
		}
	})
	one, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{PageSize: 20, BufferSize: 30})
	require.NoError(t, err)
	defer one.Stop()
	opts := esclient.CatchUpOptions{PageSize: 20, BufferSize: 30}
	all, err := c.SubscribeCatchUp(asAdmin(ctx), esclient.AllStream, opts)
	require.NoError(t, err)
	defer all.Stop()
	var both sync.WaitGroup
	both.Go(func() { assert.Equal(t, words(0, total-1), take(t, of(stream, all.Next), total)) })
	both.Go(func() { assert.Equal(t, words(0, total-1), take(t, one.Next, total)) })
	both.Wait()
}

func TestCatchUpOnAllFromPositions(t *testing.T) {
	undertest.AdminOnly(t, "it subscribes to $all")
	c, ctx, stream := connect(t), testContext(t), name("s")
	var positions []esclient.Position
	for n := range 10 {
		res, err := c.Append(ctx, stream, esclient.Any, numbered(n, n)...)
		require.NoError(t, err)
		positions = append(positions, res.Position)
	}
	for name, tc := range map[string]struct {
		start esclient.Start
		from  int
	}{
		"start": {esclient.FromStart(), 0},
		"from":  {esclient.FromPosition(positions[4]), 4},
		"after": {esclient.AfterPosition(positions[4]), 5},
	} {
		opts := esclient.CatchUpOptions{Start: tc.start}
		if tc.from > 0 { // from the start there may be much of others
			opts.PageSize = 3
		}
		s, err := c.SubscribeCatchUp(ctx, esclient.AllStream, opts)
		require.NoError(t, err)
		next := of(stream, s.Next)
		assert.Equal(t, words(tc.from, 9), take(t, next, 10-tc.from), name)
		nothingMore(t, next)
		s.Stop()
	}
}

func TestSubscriptionsRefuseInvalidArguments(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	for what, try := range map[string]func() (*esclient.Subscription, error){
		"empty name": func() (*esclient.Subscription, error) {
			return c.SubscribeVolatile(ctx, "", esclient.VolatileOptions{})
		},
		"negative buffer": func() (*esclient.Subscription, error) {
			return c.SubscribeVolatile(ctx, "s", esclient.VolatileOptions{BufferSize: -1})
		},
		"number in $all": func() (*esclient.Subscription, error) {
			return c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{Start: esclient.FromNumber(1)})
		},
		"position outside": func() (*esclient.Subscription, error) {
			return c.SubscribeCatchUp(ctx, "s", esclient.CatchUpOptions{
				Start: esclient.FromPosition(esclient.Position{}),
			})
		},
		"negative number": func() (*esclient.Subscription, error) {
			return c.SubscribeCatchUp(ctx, "s", esclient.CatchUpOptions{Start: esclient.FromNumber(-2)})
		},
		"page size": func() (*esclient.Subscription, error) {
			return c.SubscribeCatchUp(ctx, "s", esclient.CatchUpOptions{PageSize: 5000})
		},
	} {
		s, err := try()
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument, what)
		assert.Nil(t, s, what)
	}
	needsRefusals(t, c)
	ops := asOps(ctx)
	_, err := c.SubscribeVolatile(ops, esclient.AllStream, esclient.VolatileOptions{})
	assert.ErrorIs(t, err, esclient.ErrAccessDenied)
	_, err = catchUpReady(ops, c, esclient.AllStream, esclient.CatchUpOptions{})
	assert.ErrorIs(t, err, esclient.ErrAccessDenied)
}

func TestDrainDeliversReceivedEvents(t *testing.T) {
	_, c := embedded(t)
	ctx, stream := testContext(t), name("s")
	s, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{})
	require.NoError(t, err)
	appendNumbered(t, c, stream, 0, 9)
	_, err = c.Ping(ctx) // its reply comes behind the pushes
	require.NoError(t, err)
	s.Drain()
	appendNumbered(t, c, stream, 10, 10)
	var got []string
	for e, err := range s.All(ctx) {
		require.NoError(t, err)
		got = append(got, string(e.Data))
	}
	assert.Equal(t, words(0, 9), got)
	assert.ErrorIs(t, s.Err(), esclient.ErrSubscriptionStopped)
}

func TestStopWakesAWaitingNext(t *testing.T) {
	c, stream := connect(t), name("s")
	for what, end := range map[string]func(s *esclient.Subscription){
		"stop":  func(s *esclient.Subscription) { s.Stop() },
		"drain": func(s *esclient.Subscription) { s.Drain() },
		"close": func(*esclient.Subscription) { c.Close() },
	} {
		if what == "close" {
			continue // last of all, below
		}
		s, err := c.SubscribeVolatile(testContext(t), stream, esclient.VolatileOptions{FillGaps: true})
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { _, err := s.Next(testContext(t)); done <- err }()
		<-s.CaughtUp()
		end(s)
		assert.ErrorIs(t, <-done, esclient.ErrSubscriptionStopped, what)
	}
	s, err := c.SubscribeVolatile(testContext(t), stream, esclient.VolatileOptions{FillGaps: true})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { _, err := s.Next(testContext(t)); done <- err }()
	<-s.CaughtUp()
	require.NoError(t, c.Close())
	assert.ErrorIs(t, <-done, esclient.ErrClosed)
}

func TestManySubscriptionsOnOneConnection(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	var streams []string
	var subs []*esclient.Subscription
	for i := range 50 {
		streams = append(streams, name(fmt.Sprintf("s%d", i)))
		s, err := c.SubscribeVolatile(ctx, streams[i], esclient.VolatileOptions{})
		require.NoError(t, err)
		subs = append(subs, s)
	}
	for _, stream := range slices.Backward(streams) {
		appendNumbered(t, c, stream, 0, 3)
	}
	for i, s := range subs {
		for range 4 {
			e, err := s.Next(ctx)
			require.NoError(t, err)
			assert.Equal(t, streams[i], e.Stream)
		}
	}
}

func TestNextHonoursItsContext(t *testing.T) {
	c, stream := connect(t), name("s")
	s, err := c.SubscribeCatchUp(testContext(t), stream, esclient.CatchUpOptions{})
	require.NoError(t, err)
	for range 3 {
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("enough")
		time.AfterFunc(5*time.Millisecond, func() { cancel(why) })
		_, err := s.Next(ctx)
		assert.ErrorIs(t, err, why)
		assert.NoError(t, s.Err(), "the subscription goes on")
	}
	appendNumbered(t, c, stream, 0, 0)
	assert.Equal(t, words(0, 0), take(t, s.Next, 1))
}

func TestStopDeliversNothingMore(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, 0, 9)
	reading, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{})
	require.NoError(t, err)
	live, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{})
	require.NoError(t, err)
	appendNumbered(t, c, stream, 10, 19)
	assert.Equal(t, words(0, 0), take(t, reading.Next, 1))
	assert.Equal(t, words(10, 10), take(t, live.Next, 1))
	for _, s := range []*esclient.Subscription{reading, live} {
		s.Stop()
		e, err := s.Next(ctx)
		assert.ErrorIs(t, err, esclient.ErrSubscriptionStopped)
		assert.Nil(t, e, "though there are some at hand")
		s.Drain() // comes too late to change that
		_, err = s.Next(ctx)
		assert.ErrorIs(t, err, esclient.ErrSubscriptionStopped)
		<-s.Closed()
	}
}

// TestSubscriptionsTryForEver has a server that is not ready for far longer than a call would wait for it.
func TestSubscriptionsTryForEver(t *testing.T) {
	t.Parallel()
	const attempts = 50
	notReady := []byte{8, 0}
	number := int64(1) // the confirmation says that event 0 is there already
	var known []byte   // the event before
	for what, tc := range map[string]struct {
		cmd       esproto.Command
		subscribe func(*esclient.Client) (next func(context.Context) (*esclient.Event, error), stop func())
		confirm   func(*script)
	}{
		"persistent": {
			esproto.CmdConnectToPersistentSubscription,
			func(c *esclient.Client) (func(context.Context) (*esclient.Event, error), func()) {
				p, err := c.ConnectPersistent(testContext(t), "orders", "g", esclient.PersistentOptions{})
				require.NoError(t, err)
				return p.Next, func() {
					over, cancel := context.WithCancel(testContext(t))
					cancel() // there is no answer
					p.Stop(over)
				}
			},
			func(s *script) { s.confirmed(1) },
		},
		"volatile": {
			esproto.CmdSubscribeToStream,
			func(c *esclient.Client) (func(context.Context) (*esclient.Event, error), func()) {
				s, err := c.SubscribeVolatile(testContext(t), "orders", esclient.VolatileOptions{})
				require.NoError(t, err)
				return s.Next, s.Stop
			},
			func(s *script) {
				id := esproto.NewGUID(uuid.New())
				record := esproto.RecordView{StreamID: "orders", EventID: id[:], EventType: "t", EventNumber: number}
				number++
				event := record.Append(nil, esproto.Explicit)
				s.confirmedVolatile(esproto.AppendStreamEventAppeared(nil, event, nil, 1, 1, esproto.Explicit), known)
				known = event
			},
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newScript(t)
			c := s.client(func(cfg *esclient.Config) { cfg.MaxRetries = -1 })
			ready := make(chan struct{})
			go func() {
				defer close(ready)
				tc.confirm(s)
			}()
			next, stop := tc.subscribe(c)
			defer stop()
			<-ready
			_, err := next(testContext(t))
			require.NoError(t, err)
			s.l.Cut()
			go func() { // the volatile one subscribes again at the next call of Next
				for range attempts {
					s.next(tc.cmd).reply(esproto.CmdNotHandled, notReady)
				}
				tc.confirm(s)
			}()
			e, err := next(testContext(t))
			require.NoError(t, err)
			assert.Equal(t, "orders", e.Stream)
		})
	}
}
