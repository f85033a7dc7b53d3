package esclient_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// backlogHook keeps the subscriptions that last, as a hook for metrics does.
type backlogHook struct {
	mu   sync.Mutex
	last map[esclient.AnySubscription]esclient.SubscriptionInfo
}

func (h *backlogHook) OnDelivered(i esclient.SubscriptionInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last[i.Subscription] = i
}

func (h *backlogHook) OnSubscriptionEnded(i esclient.SubscriptionInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.last, i.Subscription)
}

func (h *backlogHook) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.last)
}

// backlogBecomes waits until the backlog is as wanted; Oldest is looked at by the caller.
func backlogBecomes(t *testing.T, s esclient.AnySubscription, queued int, newest int64) esclient.Backlog {
	t.Helper()
	var b esclient.Backlog
	require.Eventually(t, func() bool {
		b = s.Backlog()
		return b.Queued == queued && b.Newest == newest
	}, patience, time.Millisecond, "the backlog")
	return b
}

func TestABacklogTellsHowFarTheConsumerIsBehind(t *testing.T) {
	t.Parallel()
	hook := &backlogHook{last: make(map[esclient.AnySubscription]esclient.SubscriptionInfo)}
	c := connectWith(t, func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{hook} })
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 4)

	caughtUp, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{PageSize: 3})
	require.NoError(t, err)
	defer caughtUp.Stop()
	assert.Equal(t, esclient.Backlog{Newest: -1}, caughtUp.Backlog(), "before it began")
	require.NoError(t, caughtUp.Ready(ctx))
	assert.Equal(t, 3, caughtUp.Backlog().Queued, "of the first page")
	volatile, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{})
	require.NoError(t, err)
	defer volatile.Stop()
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})

	assert.Equal(t, words(0, 1), take(t, caughtUp.Next, 2))
	b := backlogBecomes(t, caughtUp, 1, 4)
	assert.False(t, b.Oldest.IsZero(), "event 2 waits")
	assert.Equal(t, words(2, 4), take(t, caughtUp.Next, 3))
	waitUntil(t, caughtUp.Next, caughtUp.CaughtUp())
	assert.Equal(t, esclient.Backlog{Newest: 4}, caughtUp.Backlog())
	backlogBecomes(t, volatile, 0, 4)
	backlogBecomes(t, p, 5, 4)

	appendNumbered(t, c, stream, 5, 7)
	for _, s := range []esclient.AnySubscription{caughtUp, volatile} {
		b := backlogBecomes(t, s, 3, 7)
		assert.WithinDuration(t, time.Now(), b.Oldest, time.Hour)
	}
	assert.Equal(t, words(5, 5), take(t, caughtUp.Next, 1))
	backlogBecomes(t, caughtUp, 2, 7)
	assert.Equal(t, words(0, 1), take(t, p.Next, 2))
	backlogBecomes(t, p, 6, 7)
	assert.Equal(t, 2, hook.count(), "each delivery tells whose it is")
	assert.Equal(t, int64(1), hook.last[p].Event.Number)

	caughtUp.Stop()
	require.NoError(t, p.Stop(ctx))
	require.Eventually(t, func() bool { return hook.count() == 0 }, patience, time.Millisecond)
	assert.Zero(t, p.Backlog().Queued, "a stopped subscription has nothing")
}

func TestABacklogOfAllStreamsHasNoNumbers(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx := asAdmin(testContext(t))
	s, err := c.SubscribeVolatile(ctx, esclient.AllStream, esclient.VolatileOptions{})
	require.NoError(t, err)
	defer s.Stop()
	appendNumbered(t, c, name("s"), 0, 2)
	require.Eventually(t, func() bool { return s.Backlog().Queued >= 3 }, patience, time.Millisecond)
	assert.Equal(t, int64(-1), s.Backlog().Newest)
}

// Any goroutine may ask, while another one consumes.
func TestABacklogIsReadWhileTheConsumerGoesOn(t *testing.T) {
	t.Parallel()
	c := connect(t)
	ctx, cancel := context.WithCancel(testContext(t))
	stream := name("s")
	appendNumbered(t, c, stream, 0, 199)
	s, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{PageSize: 20})
	require.NoError(t, err)
	defer s.Stop()
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			b := s.Backlog()
			assert.GreaterOrEqual(t, b.Queued, 0)
			assert.LessOrEqual(t, b.Newest, int64(199))
		}
	})
	assert.Equal(t, words(0, 199), take(t, s.Next, 200))
	cancel()
	asking.Wait()
}
