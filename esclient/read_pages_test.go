package esclient_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// streamPage answers a read with the events from from to to, of a stream that goes on behind them unless end is set.
func (q *request) streamPage(from, to int64, end bool) {
	q.s.t.Helper()
	var b []byte
	for n := from; n <= to; n++ {
		r := esproto.RecordView{StreamID: "orders", EventNumber: n, EventType: "t"}
		b = esproto.AppendIndexedEvent(b, 1, r.Append(nil, esproto.Explicit), nil)
	}
	m, err := proto.Marshal(&esproto.ReadStreamEventsCompleted{
		Result:          esproto.ReadStreamEventsCompleted_Success.Enum(),
		NextEventNumber: proto.Int64(to + 1),
		IsEndOfStream:   &end,
	})
	require.NoError(q.s.t, err)
	q.reply(esproto.CmdReadStreamEventsForwardCompleted, append(b, m...))
}

// nextRead waits for a request to read a stream forward, and checks where from.
func (s *script) nextRead(from int64) *request {
	s.t.Helper()
	q := s.next(esproto.CmdReadStreamEventsForward)
	var m esproto.ReadStreamEvents
	require.NoError(s.t, proto.Unmarshal(q.payload, &m))
	require.Equal(s.t, from, m.GetFromEventNumber())
	return q
}

// pull reads a stream in pages of two, an event at a time.
func pull(t testing.TB, c *esclient.Client) (next func() (int64, bool), stop func()) {
	n, stop := iter.Pull2(c.ReadStream(testContext(t), "orders", esclient.ReadOptions{PageSize: 2}))
	return func() (int64, bool) {
		e, err, ok := n()
		if !ok {
			return 0, false
		}
		require.NoError(t, err)
		return e.Number, true
	}, stop
}

func TestThePageThatFollowsIsAskedForAhead(t *testing.T) {
	s := newScript(t)
	next, stop := pull(t, s.client(nil))
	defer stop()
	want := func(number int64) {
		t.Helper()
		n, ok := next()
		assert.True(t, ok)
		assert.Equal(t, number, n)
	}
	go func() { s.nextRead(0).streamPage(0, 1, false) }()
	want(0)
	assert.Empty(t, s.requests, "one event needs one page")
	want(1)
	ahead := s.nextRead(2) // while the consumer has the last event of the first page
	ahead.streamPage(2, 3, false)
	want(2)
	want(3)
	last := s.nextRead(4)
	assert.Empty(t, s.requests, "there is never more than one")
	last.streamPage(4, 4, true)
	want(4)
	_, ok := next()
	assert.False(t, ok)
	assert.Empty(t, s.requests, "nothing is asked for behind the end")
}

func TestAPageAheadThatIsLostIsAskedForAgain(t *testing.T) {
	for what, lose := range map[string]func(*request){
		"connection": func(q *request) { q.cut() },
		"not ready":  func(q *request) { q.reply(esproto.CmdNotHandled, []byte{8, 0}) },
	} {
		t.Run(what, func(t *testing.T) {
			s := newScript(t)
			next, stop := pull(t, s.client(nil))
			defer stop()
			go func() {
				s.nextRead(0).streamPage(0, 1, false)
				lose(s.nextRead(2))
				s.nextRead(2).streamPage(2, 3, false)
				lose(s.nextRead(4))
				lose(s.nextRead(4))
				s.nextRead(4).streamPage(4, 4, true)
			}()
			for want := range int64(5) {
				n, ok := next()
				assert.True(t, ok)
				assert.Equal(t, want, n)
			}
			_, ok := next()
			assert.False(t, ok)
		})
	}
}

// opCounter is a hook that counts operations.
type opCounter struct {
	mu               sync.Mutex
	started, ended   int
	failed, received int
}

func (o *opCounter) OnOperationStarted(ctx context.Context, _ esclient.OperationInfo) context.Context {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.started++
	return ctx
}

func (o *opCounter) OnOperationEnded(_ context.Context, info esclient.OperationInfo) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended++
	o.received += info.Received
	if info.Err != nil {
		o.failed++
	}
}

func TestAnAbandonedIteratorFreesEverything(t *testing.T) {
	s, ops := newScript(t), new(opCounter)
	c := s.client(func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{ops} })
	require.NoError(t, c.Connect(testContext(t)))
	others := goleak.IgnoreCurrent()
	next, stop := pull(t, c)
	go func() { s.nextRead(0).streamPage(0, 1, false) }()
	for range 2 {
		_, ok := next()
		require.True(t, ok)
	}
	ahead := s.nextRead(2)
	ops.mu.Lock()
	assert.Equal(t, []int{2, 1}, []int{ops.started, ops.ended}, "the read ahead has begun")
	ops.mu.Unlock()
	stop()
	assert.Equal(t, []int{2, 2, 1}, []int{ops.started, ops.ended, ops.failed}, "and it ends with the iterator")
	require.NoError(t, goleak.Find(others))

	received := ops.received
	ahead.streamPage(2, 3, false) // too late
	go func() { s.next(esproto.CmdPing).reply(esproto.CmdPong, nil) }()
	_, err := c.Ping(testContext(t))
	assert.NoError(t, err, "the connection is not harmed")
	assert.Equal(t, received, ops.received, "the page was not taken")
}

func TestTheEndOfTheContextEndsTheReadAhead(t *testing.T) {
	s := newScript(t)
	c := s.client(nil)
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		s.nextRead(0).streamPage(0, 1, false)
		s.nextRead(2)
		cancel()
	}()
	var got []string
	for e, err := range c.ReadStream(ctx, "orders", esclient.ReadOptions{PageSize: 2}) {
		if err != nil {
			assert.ErrorIs(t, err, context.Canceled)
			got = append(got, "canceled")
			break
		}
		got = append(got, fmt.Sprint(e.Number))
	}
	assert.Equal(t, []string{"0", "1", "canceled"}, got)
}

// TestReadsSurviveEverything loses connections and the server itself, again and again, while a stream and $all are read
// in both directions.
func TestReadsSurviveEverything(t *testing.T) {
	t.Parallel()
	srv, _ := embedded(t)
	c := openWith(t, undertest.As(srv.ConnectionString()), func(cfg *esclient.Config) { cfg.MaxRetries = 1000 })
	ctx, moved := progressContext(t)
	stream := name("s")
	const total = 3000
	for n := 0; n < total; n += 500 {
		appendNumbered(t, c, stream, n, n+499)
	}
	progress := make(chan struct{}) // no fault before the reads have made progress
	var trouble, readers sync.WaitGroup
	trouble.Go(func() {
		for n := 1; ; n++ {
			if _, more := <-progress; !more {
				return
			}
			if n%10 == 0 {
				assert.NoError(t, srv.Restart())
			} else {
				srv.DropConnections()
			}
		}
	})
	for _, backward := range []bool{false, true} {
		want := words(0, total-1)
		if backward {
			slices.Reverse(want)
		}
		collect := func(what string, events iter.Seq2[*esclient.Event, error]) {
			var got []string
			for e, err := range events {
				if !assert.NoError(t, err) {
					return
				}
				if e.Stream != stream {
					continue
				}
				if got = append(got, string(e.Data)); len(got)%100 == 0 {
					moved()
					progress <- struct{}{}
				}
			}
			assert.Equal(t, want, got, "%s, backward: %v", what, backward)
		}
		readers.Go(func() {
			collect("stream", c.ReadStream(ctx, stream, esclient.ReadOptions{PageSize: 30, Backward: backward}))
		})
		readers.Go(func() {
			collect("$all", c.ReadAll(asAdmin(ctx), esclient.ReadAllOptions{PageSize: 30, Backward: backward}))
		})
	}
	readers.Wait()
	close(progress)
	trouble.Wait()
}

func TestReadsAreAnsweredByTheRequiredNode(t *testing.T) {
	s := newScript(t)
	for _, follower := range []bool{false, true} {
		c := s.client(func(cfg *esclient.Config) { cfg.AllowFollower = follower })
		for what, tc := range map[string]struct {
			ctx  context.Context
			want bool
		}{
			"as configured": {testContext(t), !follower},
			"leader":        {esclient.WithRequireLeader(testContext(t), true), true},
			"any":           {esclient.WithRequireLeader(testContext(t), false), false},
		} {
			go c.ReadStreamPage(tc.ctx, "s", esclient.ReadOptions{})
			q := s.next(esproto.CmdReadStreamEventsForward)
			q.streamPage(0, 0, true)
			var read esproto.ReadStreamEvents
			require.NoError(t, proto.Unmarshal(q.payload, &read))
			assert.Equal(t, tc.want, read.GetRequireLeader(), what)

			go c.ReadEvent(tc.ctx, "s", 0, esclient.ReadEventOptions{})
			q = s.next(esproto.CmdReadEvent)
			var one esproto.ReadEvent
			require.NoError(t, proto.Unmarshal(q.payload, &one))
			assert.Equal(t, tc.want, one.GetRequireLeader(), what)

			go c.ReadAllPage(tc.ctx, esclient.ReadAllOptions{})
			q = s.next(esproto.CmdReadAllEventsForward)
			var all esproto.ReadAllEvents
			require.NoError(t, proto.Unmarshal(q.payload, &all))
			assert.Equal(t, tc.want, all.GetRequireLeader(), what)

			go c.Append(tc.ctx, "s", esclient.Any, esclient.EventData{Type: "t"})
			assert.Equal(t, tc.want, s.next(esproto.CmdWriteEvents).append().RequireLeader, what)

			first := make(chan *request)
			go func() {
				q := s.next(esproto.CmdReadStreamEventsForward)
				q.streamPage(0, 0, false)
				first <- q
			}()
			sub, err := catchUpReady(tc.ctx, c, "s", esclient.CatchUpOptions{Start: esclient.FromNumber(0)})
			require.NoError(t, err)
			require.NoError(t, proto.Unmarshal((<-first).payload, &read))
			assert.Equal(t, tc.want, read.GetRequireLeader(), what)
			_, err = sub.Next(tc.ctx)
			require.NoError(t, err)
			go sub.Next(context.Background())
			require.NoError(t, proto.Unmarshal(s.next(esproto.CmdReadStreamEventsForward).payload, &read))
			assert.Equal(t, tc.want, read.GetRequireLeader(), "%s: a subscription keeps to it", what)
			sub.Stop()
		}
	}
}
