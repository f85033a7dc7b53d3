package esclient_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// subscriptionLog is a hook that records subscriptions, one line for each call.
type subscriptionLog struct {
	mu    sync.Mutex
	lines []string
	errs  []error
	infos []esclient.SubscriptionInfo
}

func (l *subscriptionLog) add(what string, i esclient.SubscriptionInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, what)
	l.infos = append(l.infos, i)
	if i.Err != nil {
		l.errs = append(l.errs, i.Err)
	}
}

func (l *subscriptionLog) OnSubscribed(i esclient.SubscriptionInfo) { l.add("subscribed", i) }
func (l *subscriptionLog) OnDelivered(i esclient.SubscriptionInfo) {
	l.add(fmt.Sprintf("delivered %s lag %d", i.Event.Data, i.Lag), i)
}
func (l *subscriptionLog) OnAcked(i esclient.SubscriptionInfo) {
	l.add(fmt.Sprintf("acked %s", i.Event.Data), i)
}
func (l *subscriptionLog) OnNacked(i esclient.SubscriptionInfo) {
	l.add(fmt.Sprintf("nacked %s %v", i.Event.Data, i.Action), i)
}
func (l *subscriptionLog) OnParked(i esclient.SubscriptionInfo) {
	l.add(fmt.Sprintf("parked %s", i.Event.Data), i)
}
func (l *subscriptionLog) OnDropped(i esclient.SubscriptionInfo)           { l.add("dropped", i) }
func (l *subscriptionLog) OnLeftOut(i esclient.SubscriptionInfo)           { l.add("left out", i) }
func (l *subscriptionLog) OnCaughtUp(i esclient.SubscriptionInfo)          { l.add("caught up", i) }
func (l *subscriptionLog) OnFellBehind(i esclient.SubscriptionInfo)        { l.add("fell behind", i) }
func (l *subscriptionLog) OnSubscriptionEnded(i esclient.SubscriptionInfo) { l.add("ended", i) }

// told waits for as many lines and takes them out of the log.
func (l *subscriptionLog) told(t testing.TB, n int) (lines []string) {
	t.Helper()
	assert.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.lines) >= n
	}, patience, time.Millisecond)
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, l.lines = l.lines, nil
	return lines
}

// count returns how many lines there are of one kind.
func (l *subscriptionLog) count(line string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, other := range l.lines {
		if other == line {
			n++
		}
	}
	return n
}

func (l *subscriptionLog) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errs[len(l.errs)-1]
}

// waitUntil waits for an event that does not come, until done is closed.
func waitUntil(t testing.TB, next func(context.Context) (*esclient.Event, error), done <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	go func() {
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	e, err := next(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Nil(t, e)
}

func TestHooksSeePersistentSubscriptions(t *testing.T) {
	t.Parallel()
	var log subscriptionLog
	c := connectWith(t, func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{&log} })
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 3)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	assert.Equal(t, []string{"subscribed"}, log.told(t, 1))
	assert.Equal(t, stream, log.infos[0].Stream)
	assert.Equal(t, group, log.infos[0].Group)
	assert.NotEmpty(t, log.infos[0].Endpoint)

	var held []*esclient.Event
	for range 4 {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		held = append(held, e)
	}
	assert.Equal(t, []string{"delivered 0 lag 3", "delivered 1 lag 2", "delivered 2 lag 1", "delivered 3 lag 0"},
		log.told(t, 4))
	require.NoError(t, p.Ack(held[:2]...))
	require.NoError(t, p.Ack(held[0]), "which is settled already")
	require.NoError(t, p.Nack(esclient.NackPark, "no good", held[2]))
	require.NoError(t, p.Nack(esclient.NackSkip, "", held[3]))
	assert.Equal(t, []string{"acked 0", "acked 1", "nacked 2 Park", "parked 2", "nacked 3 Skip"}, log.told(t, 5))

	require.NoError(t, c.UpdatePersistent(asAdmin(ctx), stream, group, fromStart()))
	assert.Equal(t, []string{"dropped", "subscribed"}, log.told(t, 2))
	var dropped *esclient.SubscriptionDroppedError
	require.ErrorAs(t, log.lastError(), &dropped)
	assert.Equal(t, esclient.DropUnsubscribed, dropped.Reason)

	require.NoError(t, c.DeletePersistent(asAdmin(ctx), stream, group))
	<-p.Closed()
	assert.Equal(t, []string{"dropped", "ended"}, log.told(t, 2))
	require.ErrorAs(t, log.lastError(), &dropped)
	assert.Equal(t, esclient.DropNotFound, dropped.Reason)
	assert.ErrorIs(t, p.Err(), esclient.ErrGroupNotFound)
	assert.ErrorIs(t, p.Err(), esclient.ErrSubscriptionDropped)

	_, err := c.ConnectPersistent(ctx, stream, group, esclient.PersistentOptions{})
	assert.ErrorIs(t, err, esclient.ErrGroupNotFound)
	assert.Empty(t, log.told(t, 0), "it never began")
}

func TestHooksSeeCatchUpSubscriptions(t *testing.T) {
	var log subscriptionLog
	c := connectWith(t, func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{&log} })
	stream := name("s")
	appendNumbered(t, c, stream, 0, 2)
	s, err := c.SubscribeCatchUp(testContext(t), stream, esclient.CatchUpOptions{PageSize: 2})
	require.NoError(t, err)
	assert.Equal(t, words(0, 2), take(t, s.Next, 3))
	waitUntil(t, s.Next, s.CaughtUp())
	assert.Equal(t, []string{"delivered 0 lag 2", "delivered 1 lag 1", "delivered 2 lag 0", "subscribed", "caught up"},
		log.told(t, 5))
	appendNumbered(t, c, stream, 3, 5)
	assert.Equal(t, words(3, 5), take(t, s.Next, 3))
	live := log.told(t, 3)
	assert.Equal(t, "delivered 5 lag 0", live[2])
	s.Stop()
	s.Stop()
	assert.Equal(t, []string{"ended"}, log.told(t, 1))
	assert.ErrorIs(t, log.lastError(), esclient.ErrSubscriptionStopped)
}

func TestHooksSeeAnEndBeforeTheConfirmation(t *testing.T) {
	t.Parallel()
	var log subscriptionLog
	c := connectWith(t, func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{&log} })
	stream := name("s")
	appendNumbered(t, c, stream, 0, 2)
	s, err := c.SubscribeCatchUp(testContext(t), stream, esclient.CatchUpOptions{PageSize: 2})
	require.NoError(t, err)
	assert.Equal(t, words(0, 0), take(t, s.Next, 1))
	s.Stop()
	assert.Equal(t, []string{"delivered 0 lag 2", "ended"}, log.told(t, 2))
	s, err = c.SubscribeCatchUp(testContext(t), stream, esclient.CatchUpOptions{})
	require.NoError(t, err)
	s.Stop()
	assert.Empty(t, log.told(t, 0), "the server knows nothing of it")
}

func TestASubscriptionFallsBehindAndCatchesUpAgain(t *testing.T) {
	var log subscriptionLog
	srv, _ := embedded(t)
	c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{&log} })
	stream := name("s")
	s, err := c.SubscribeCatchUp(testContext(t), stream, esclient.CatchUpOptions{})
	require.NoError(t, err)
	<-s.FellBehind() // that is how it begins
	caughtUp := s.CaughtUp()
	for range 3 {
		waitUntil(t, s.Next, caughtUp)
		assert.Equal(t, []string{"subscribed", "caught up"}, log.told(t, 2))
		select {
		case <-s.FellBehind():
			t.Error("it has caught up")
		default:
		}
		behind := s.FellBehind()
		srv.DropConnections()
		waitUntil(t, s.Next, behind)
		caughtUp = s.CaughtUp()
		lines := log.told(t, 2)
		require.Equal(t, []string{"dropped", "fell behind"}, lines[:2])
		log.mu.Lock()
		log.lines = append(lines[2:], log.lines...)
		log.mu.Unlock()
		var lost *esclient.ConnectionError
		assert.ErrorAs(t, log.lastError(), &lost)
	}
	s.Stop()
}

// TestOverflowFallsBackToReading has a consumer that is slower than the stream grows.
func TestOverflowFallsBackToReading(t *testing.T) {
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprintf("all=%v", all), func(t *testing.T) {
			var log subscriptionLog
			c := connectWith(t, func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{&log} })
			ctx, stream := testContext(t), name("s")
			what, from := stream, esclient.FromStart()
			if all {
				ctx, what, from = asAdmin(ctx), esclient.AllStream, esclient.FromEnd()
			}
			s, err := c.SubscribeCatchUp(ctx, what, esclient.CatchUpOptions{Start: from, BufferSize: 10, PageSize: 7})
			require.NoError(t, err)
			defer s.Stop()
			next := of(stream, s.Next)
			waitUntil(t, next, s.CaughtUp())
			for round := range 3 {
				for n := range 10 {
					appendNumbered(t, c, stream, 100*round+10*n, 100*round+10*n+9)
				}
				_, err = c.Ping(ctx) // its reply comes behind the pushes
				require.NoError(t, err)
				assert.Equal(t, words(100*round, 100*round+99), take(t, next, 100))
				waitUntil(t, next, s.CaughtUp())
			}
			var overflows int
			log.mu.Lock()
			defer log.mu.Unlock()
			for _, i := range log.infos {
				if i.Err != nil {
					assert.ErrorIs(t, i.Err, esclient.ErrSlowConsumer)
					overflows++
				}
			}
			assert.GreaterOrEqual(t, overflows, 2*3, "each time it was dropped and fell behind")
		})
	}
}

func TestASubscriptionHasHooksOfItsOwn(t *testing.T) {
	srv := estest.Run(t)
	all := &wentBackLog{}
	c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) { cfg.Hooks = append(cfg.Hooks, all) })
	put(t, srv, "s", 1)
	volatile, catchUp := &wentBackLog{}, &wentBackLog{}
	v, err := c.SubscribeVolatile(t.Context(), "s", esclient.VolatileOptions{Hooks: []esclient.Hook{volatile}})
	require.NoError(t, err)
	defer v.Stop()
	s, err := c.SubscribeCatchUp(t.Context(), "s", esclient.CatchUpOptions{
		Start: esclient.FromEnd(), Hooks: []esclient.Hook{catchUp},
	})
	require.NoError(t, err)
	defer s.Stop()
	for hook, want := range map[*wentBackLog]int{all: 2, volatile: 1, catchUp: 1} {
		subscribed, _, _ := hook.count()
		assert.Equal(t, want, subscribed)
	}
	useless := []esclient.Hook{"no hook"}
	_, err = c.SubscribeVolatile(t.Context(), "s", esclient.VolatileOptions{Hooks: useless})
	require.ErrorContains(t, err, "Hooks")
	_, err = c.SubscribeCatchUp(t.Context(), "s", esclient.CatchUpOptions{Hooks: useless})
	require.ErrorContains(t, err, "Hooks")
}
