package engine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// silentPeer takes requests, tells of each, and answers none.
func silentPeer(asked chan<- frame) func(*peer) {
	return func(p *peer) {
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			asked <- f
		}
	}
}

// begin begins so many calls with a context, one after the other.
func begin(t *testing.T, ctx context.Context, c *Conn, calls int) (all []Pending) {
	t.Helper()
	for range calls {
		p, err := c.Begin(ctx, &ping{}, nil)
		require.NoError(t, err)
		all = append(all, p)
	}
	return all
}

func TestCallsThatShareAContextEndWithIt(t *testing.T) {
	const calls = 50
	asked := make(chan frame, 4*calls)
	c := dial(t, connConfig(), silentPeer(asked))
	one, endOne := context.WithCancelCause(context.Background())
	other, endOther := context.WithCancelCause(context.Background())
	ofOne := begin(t, one, c, calls)
	ofOther := begin(t, other, c, calls) // it is watched from now on, and one still is
	ofOne = append(ofOne, begin(t, one, c, calls)...)
	require.True(t, ofOne[1].handle.watched)
	require.True(t, ofOther[1].handle.watched)
	why := errors.New("changed my mind")
	ended := func(pending []Pending, ctx context.Context, want error) {
		var wg sync.WaitGroup
		for _, p := range pending {
			wg.Go(func() {
				_, err := p.Wait(ctx)
				assert.ErrorIs(t, err, want)
			})
		}
		wg.Wait()
	}
	endOne(why)
	ended(ofOne, one, why)
	c.mu.Lock()
	assert.Equal(t, calls, c.mu.receivers.n, "those of the other context wait on")
	c.mu.Unlock()
	endOther(nil)
	ended(ofOther, other, context.Canceled)
	after := begin(t, background(t), c, 3)
	c.Close(ErrClosed)
	ended(after, background(t), ErrClosed)
}

func TestACallEndsWithTheContextOfItsWait(t *testing.T) {
	c := dial(t, connConfig(), silentPeer(make(chan frame, 10)))
	shared := background(t)
	watched := begin(t, shared, c, 3)[2]
	require.True(t, watched.handle.watched)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	sent, err := watched.Wait(ctx)
	assert.True(t, sent)
	assert.ErrorIs(t, err, context.Canceled)
}

// aContext is none of package context's, for which that needs a goroutine to watch it.
type aContext struct{ context.Context }

func (c aContext) Done() <-chan struct{} { return c.Context.Done() }

func (c aContext) Value(any) any { return nil }

// TestAWatchedContextIsReleased leaves contexts that go on: goleak finds a goroutine that still watches them.
func TestAWatchedContextIsReleased(t *testing.T) {
	cfg := connConfig()
	cfg.HeartbeatInterval, cfg.HeartbeatTimeout = 40*time.Millisecond, time.Minute
	c := dial(t, cfg, (*peer).Echo)
	watcher := func() *contextWatcher {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.mu.watcher
	}
	share := func() {
		ctx := aContext{background(t)}
		for range 3 {
			_, err := c.Do(ctx, &ping{}, nil)
			require.NoError(t, err)
		}
		require.NotNil(t, watcher())
	}
	share()
	first := watcher()
	share()
	assert.NotSame(t, first, watcher())
	assert.False(t, first.stop(), "it is not watched any more")
	last := watcher()
	require.Eventually(t, func() bool { return watcher() == nil }, 10*time.Second, time.Millisecond, "in silence")
	assert.False(t, last.stop())
	share()
	last = watcher()
	c.Close(ErrClosed)
	assert.False(t, last.stop())
}
