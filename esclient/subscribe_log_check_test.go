package esclient_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// stand is the address of a server, which may be replaced by another one.
type stand struct {
	addr atomic.Value // string
	c    *esclient.Client
	log  wentBackLog
}

// wentBackLog is a hook that records logs that went back.
type wentBackLog struct {
	mu         sync.Mutex
	subscribed int
	wentBack   []error
	behind     []error
}

func (l *wentBackLog) OnSubscribed(esclient.SubscriptionInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.subscribed++
}

func (l *wentBackLog) OnLogWentBack(i esclient.SubscriptionInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wentBack = append(l.wentBack, i.Err)
}

func (l *wentBackLog) OnStartBehindEnd(i esclient.SubscriptionInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.behind = append(l.behind, i.Err)
}

func (l *wentBackLog) count() (subscribed, wentBack, behind int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.subscribed, len(l.wentBack), len(l.behind)
}

func (l *wentBackLog) waitSubscribed(t *testing.T, times int) {
	t.Helper()
	require.Eventually(t, func() bool { n, _, _ := l.count(); return n >= times }, patience, time.Millisecond)
}

// newStand opens a client of srv, for a user.
func newStand(t *testing.T, srv *estest.Server, login string) *stand {
	t.Helper()
	s := &stand{}
	s.addr.Store(srv.Addr())
	s.c = openWith(t, fmt.Sprintf("tcp://%s:changeit@%s", login, srv.Addr()), func(cfg *esclient.Config) {
		cfg.Hooks = append(cfg.Hooks, &s.log)
		cfg.Dial = dialTo(&s.addr)
	})
	return s
}

// swap has the client find another server.
func (s *stand) swap(old, fresh *estest.Server) {
	s.addr.Store(fresh.Addr())
	old.Close()
}

// consumed has the events of one stream that a subscription delivers, which a goroutine gathers, and the end of the
// subscription.
type consumed struct {
	mu   sync.Mutex
	data []string
	done chan struct{}
	err  error
}

func consumeAll(t *testing.T, s *esclient.Subscription, stream string) *consumed {
	t.Helper()
	c := &consumed{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for e, err := range s.All(context.Background()) {
			if err != nil {
				c.err = err
				return
			}
			if e.Stream == stream {
				c.mu.Lock()
				c.data = append(c.data, string(e.Data))
				c.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { s.Stop(); <-c.done })
	return c
}

func (c *consumed) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.data)
}

// is waits until exactly these were delivered.
func (c *consumed) is(t *testing.T, want []string) {
	t.Helper()
	assert.EventuallyWithT(t, func(ct *assert.CollectT) { assert.Equal(ct, want, c.all()) },
		10*time.Second, time.Millisecond)
}

// putNamed writes events to a server, whose ids are those of the same data in each log of a test run.
func putNamed(t *testing.T, srv *estest.Server, stream, what string, from, to int) {
	t.Helper()
	var events []estest.Event
	for n := from; n <= to; n++ {
		data := fmt.Sprint(what, n)
		events = append(events, estest.Event{
			ID: uuid.NewSHA1(uuid.Nil, []byte(stream+data)), Type: "t", Data: []byte(data),
		})
	}
	_, err := srv.Append(stream, events...)
	require.NoError(t, err)
}

func named(what string, from, to int) (data []string) {
	for n := from; n <= to; n++ {
		data = append(data, fmt.Sprint(what, n))
	}
	return data
}

var wentBackKinds = map[string]struct {
	all, live, gaps bool
	over            bool
}{
	"volatile":                   {live: true},
	"volatile, gaps filled":      {live: true, gaps: true},
	"catch-up":                   {},
	"catch-up, starts over":      {over: true},
	"$all":                       {all: true, live: true},
	"$all, gaps filled":          {all: true, live: true, gaps: true},
	"$all, catch-up":             {all: true},
	"$all, catch-up starts over": {all: true, over: true},
}

// TestSubscriptionsRecogniseAnotherLog has a server come back with an empty log, or with an older one, to which less or
// more was written before the client is back than the subscription had seen.
func TestSubscriptionsRecogniseAnotherLog(t *testing.T) {
	t.Parallel()
	const seen = 10 // of the old log, half of them delivered
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		for kind, k := range wentBackKinds {
			for what, log := range map[string]struct{ kept, new int }{
				"an empty log":                       {0, 0},
				"an empty log that has grown":        {0, 3},
				"an empty log that has grown beyond": {0, 40},
				"an older log":                       {7, 0},
				"an older log that has grown":        {7, 2},
				"an older log that has grown beyond": {7, 40},
			} {
				for _, login := range []string{"admin", "plain"} {
					if login == "plain" && k.all {
						continue // $all is for administrators
					}
					t.Run(fmt.Sprintf("%s/%s/%s/%s", persona, kind, what, login), func(t *testing.T) {
						t.Parallel()
						began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
						start := func() (*estest.Server, *estest.Clock) {
							clock := estest.NewClock(began)
							return estest.Run(t, estest.WithPersona(persona), estest.WithUser("plain", "changeit"),
								estest.WithClock(clock)), clock
						}
						old, clock := start()
						putNamed(t, old, "s", "old", 0, seen/2-1)
						s := newStand(t, old, login)
						sub := s.subscribe(t, k.all, k.live, k.gaps, k.over)
						got := consumeAll(t, sub, "s")
						clock.Advance(time.Second)
						putNamed(t, old, "s", "old", seen/2, seen-1)
						want := named("old", seen/2, seen-1)
						if !k.live {
							want = named("old", 0, seen-1)
						}
						got.is(t, want)
						<-sub.CaughtUp()

						fresh, clock := start()
						putNamed(t, fresh, "s", "old", 0, log.kept-1)
						clock.Advance(time.Minute)
						putNamed(t, fresh, "s", "new", 0, log.new-1)
						s.swap(old, fresh)
						switch {
						case k.live || k.over:
							s.log.waitSubscribed(t, 2)
							putNamed(t, fresh, "s", "new", log.new, log.new+4)
							switch {
							case k.over:
								want = slices.Concat(want, named("old", 0, log.kept-1), named("new", 0, log.new+4))
							case k.gaps:
								want = slices.Concat(want, named("new", 0, log.new+4))
							default:
								want = slices.Concat(want, named("new", log.new, log.new+4))
							}
							got.is(t, want)
							assert.NoError(t, sub.Err())
							_, n, _ := s.log.count()
							assert.Equal(t, 1, n, "calls of the hook")
							s.log.mu.Lock()
							defer s.log.mu.Unlock()
							assert.ErrorIs(t, s.log.wentBack[0], esclient.ErrLogWentBack)
						default:
							<-got.done
							assert.ErrorIs(t, got.err, esclient.ErrLogWentBack)
							assert.ErrorIs(t, sub.Err(), esclient.ErrLogWentBack)
							assert.Equal(t, want, got.all())
							var e *esclient.LogWentBackError
							require.ErrorAs(t, got.err, &e)
							if !k.all {
								assert.Equal(t, int64(seen-1), e.KnownNumber)
								assert.Equal(t, int64(log.kept+log.new-1), e.FoundNumber)
							}
						}
					})
				}
			}
		}
	}
}

func (s *stand) subscribe(t *testing.T, all, live, gaps, over bool) (sub *esclient.Subscription) {
	t.Helper()
	stream := "s"
	if all {
		stream = esclient.AllStream
	}
	var err error
	if live {
		sub, err = s.c.SubscribeVolatile(testContext(t), stream, esclient.VolatileOptions{FillGaps: gaps})
	} else {
		sub, err = s.c.SubscribeCatchUp(testContext(t), stream, esclient.CatchUpOptions{StartOver: over, PageSize: 3})
	}
	require.NoError(t, err)
	return sub
}

// TestSubscriptionsKeepToALogThatLostEvents has a stream truncated, expired or deleted while the client is away: its
// numbers go on, and so does the subscription.
func TestSubscriptionsKeepToALogThatLostEvents(t *testing.T) {
	t.Parallel()
	metadata := func(data string) func(t *testing.T, srv *estest.Server, c *esclient.Client) {
		return func(t *testing.T, srv *estest.Server, c *esclient.Client) {
			_, err := srv.Append("$$s", estest.Event{Type: "$metadata", JSON: true, Data: []byte(data)})
			require.NoError(t, err)
		}
	}
	for what, change := range map[string]func(t *testing.T, srv *estest.Server, c *esclient.Client){
		"nothing":   func(*testing.T, *estest.Server, *esclient.Client) {},
		"truncated": metadata(`{"$tb":10}`),
		"one left":  metadata(`{"$maxCount":1}`),
		"restart":   func(t *testing.T, srv *estest.Server, _ *esclient.Client) { require.NoError(t, srv.Restart()) },
		"deleted": func(t *testing.T, _ *estest.Server, c *esclient.Client) {
			_, err := c.DeleteStream(testContext(t), "s", esclient.Any)
			require.NoError(t, err)
		},
	} {
		for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
			for kind, k := range wentBackKinds {
				t.Run(fmt.Sprintf("%s/%s/%s", what, persona, kind), func(t *testing.T) {
					t.Parallel()
					srv := estest.Run(t, estest.WithPersona(persona))
					other := open(t, srv.ConnectionString())
					putNamed(t, srv, "s", "e", 0, 4)
					s := newStand(t, srv, "admin")
					sub := s.subscribe(t, k.all, k.live, k.gaps, k.over)
					got := consumeAll(t, sub, "s")
					<-sub.CaughtUp()
					putNamed(t, srv, "s", "e", 5, 9)
					first := 5
					if !k.live {
						first = 0
					}
					got.is(t, named("e", first, 9))
					change(t, srv, other)
					srv.DropConnections()
					s.log.waitSubscribed(t, 2)
					require.NoError(t, other.Connect(testContext(t)))
					putNamed(t, srv, "s", "e", 10, 12)
					got.is(t, named("e", first, 12))
					_, wentBack, _ := s.log.count()
					assert.Zero(t, wentBack)
				})
			}
		}
	}
}

// TestASubscriptionThatKnowsNoEventGoesOn has an empty stream on an old and on a fresh server: there is nothing that
// could have gone back.
func TestASubscriptionThatKnowsNoEventGoesOn(t *testing.T) {
	for kind, k := range wentBackKinds {
		if k.all {
			continue
		}
		t.Run(kind, func(t *testing.T) {
			old := estest.Run(t)
			s := newStand(t, old, "admin")
			got := consumeAll(t, s.subscribe(t, false, k.live, k.gaps, k.over), "s")
			s.log.waitSubscribed(t, 1)
			fresh := estest.Run(t)
			s.swap(old, fresh)
			s.log.waitSubscribed(t, 2)
			putNamed(t, fresh, "s", "new", 0, 4)
			got.is(t, named("new", 0, 4))
		})
	}
}

func TestAStartBehindTheEndIsReported(t *testing.T) {
	srv := estest.Run(t)
	s := newStand(t, srv, "admin")
	putNamed(t, srv, "s", "e", 0, 4)
	last, err := srv.Read("s", 4, 1)
	require.NoError(t, err)
	at := esclient.Position{Commit: last[0].Commit, Prepare: last[0].Prepare}
	beyond := esclient.Position{Commit: at.Commit + 100_000, Prepare: at.Prepare + 100_000}
	for _, tc := range []struct {
		stream string
		start  esclient.Start
		behind bool
	}{
		{"s", esclient.AfterNumber(4), false},
		{"s", esclient.FromNumber(5), false},
		{"s", esclient.FromNumber(6), true},
		{"s", esclient.AfterNumber(5), true},
		{"none", esclient.AfterNumber(-1), false},
		{"none", esclient.FromNumber(0), false},
		{"none", esclient.AfterNumber(0), true},
		{"s", esclient.FromEnd(), false},
		{"none", esclient.FromEnd(), false},
		{esclient.AllStream, esclient.AfterPosition(at), false},
		{esclient.AllStream, esclient.FromPosition(beyond), true},
	} {
		_, _, before := s.log.count()
		sub, err := s.c.SubscribeCatchUp(testContext(t), tc.stream, esclient.CatchUpOptions{Start: tc.start})
		require.NoError(t, err)
		waitUntil(t, sub.Next, sub.CaughtUp())
		_, _, after := s.log.count()
		assert.Equal(t, tc.behind, after > before, "%s %v", tc.stream, tc.start)
		sub.Stop()
	}
	for _, err := range s.log.behind {
		assert.ErrorContains(t, err, "no event comes until the stream gets there")
	}
}

// TestACatchUpRecognisesAnotherLogWhileItReads exchanges the server between two pages.
func TestACatchUpRecognisesAnotherLogWhileItReads(t *testing.T) {
	for _, stream := range []string{"s", esclient.AllStream} {
		for _, over := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, starts over: %v", stream, over), func(t *testing.T) {
				old, fresh := estest.Run(t), estest.Run(t)
				putNamed(t, old, "s", "old", 0, 19)
				putNamed(t, fresh, "s", "new", 0, 29)
				s := newStand(t, old, "admin")
				sub, err := s.c.SubscribeCatchUp(testContext(t), stream,
					esclient.CatchUpOptions{PageSize: 3, StartOver: over})
				require.NoError(t, err)
				defer sub.Stop()
				next := of("s", sub.Next)
				delivered := take(t, next, 7)
				s.swap(old, fresh)
				var ended error
				for ended == nil && len(delivered) < 50 {
					var e *esclient.Event
					if e, ended = next(testContext(t)); ended == nil {
						delivered = append(delivered, string(e.Data))
					}
					if over && len(delivered) > 30 && delivered[len(delivered)-1] == "new29" {
						break
					}
				}
				seen := slices.IndexFunc(delivered, func(data string) bool { return data == "new0" })
				if !over {
					assert.ErrorIs(t, ended, esclient.ErrLogWentBack)
					assert.Equal(t, named("old", 0, len(delivered)-1), delivered)
					return
				}
				require.NoError(t, ended)
				require.Positive(t, seen)
				assert.Equal(t, slices.Concat(named("old", 0, seen-1), named("new", 0, 29)), delivered)
			})
		}
	}
}
