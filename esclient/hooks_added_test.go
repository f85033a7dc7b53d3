package esclient_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// connectionCounter counts the calls of hooks of the connection. If it has more to do, that follows.
type connectionCounter struct {
	connected, lost, closed atomic.Int32
	then                    func()
}

func (c *connectionCounter) OnConnected(esclient.ConnectionInfo) { c.connected.Add(1) }
func (c *connectionCounter) OnClosed(esclient.ConnectionInfo)    { c.closed.Add(1) }

func (c *connectionCounter) OnDisconnected(esclient.ConnectionInfo) {
	c.lost.Add(1)
	if c.then != nil {
		c.then()
	}
}

// A borrower of a client watches its connection for a while.
func TestAddedHooksAreCalledUntilTheyAreRemoved(t *testing.T) {
	t.Parallel()
	undertest.EmbeddedOnly(t)
	srv := undertest.Run(t)
	own := new(connectionCounter)
	c := openWith(t, undertest.As(srv.ConnectionString()), func(cfg *esclient.Config) {
		cfg.ReconnectDelay, cfg.Hooks = time.Millisecond, []esclient.Hook{own}
	})
	connected := func(n int32) {
		t.Helper()
		require.Eventually(t, func() bool { return own.connected.Load() == n }, patience, time.Millisecond)
	}
	connected(1)

	_, err := c.AddConnectionHook(struct{}{})
	var bad *esclient.ArgumentError
	require.ErrorAs(t, err, &bad)

	var removeOnce func()
	once, always := new(connectionCounter), new(connectionCounter)
	once.then = func() { removeOnce() } // a hook may remove itself
	removeOnce, err = c.AddConnectionHook(once)
	require.NoError(t, err)
	remove, err := c.AddConnectionHook(always)
	require.NoError(t, err)
	for n := range int32(3) {
		srv.DropConnections()
		connected(n + 2)
	}
	require.Eventually(t, func() bool { return always.connected.Load() == 3 }, patience, time.Millisecond)
	assert.EqualValues(t, 3, always.lost.Load())
	assert.EqualValues(t, 1, once.lost.Load())
	assert.Zero(t, once.connected.Load())
	remove()
	remove()
	removeOnce()

	last := new(connectionCounter)
	_, err = c.AddConnectionHook(last)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	assert.EqualValues(t, 1, last.closed.Load())
	assert.EqualValues(t, 1, last.lost.Load())
	assert.Zero(t, always.closed.Load())
	assert.EqualValues(t, 3, always.lost.Load())
	assert.EqualValues(t, 4, own.lost.Load())
	remove()
}

func TestHooksComeAndGoWhileConnectionsDo(t *testing.T) {
	t.Parallel()
	undertest.EmbeddedOnly(t)
	srv := undertest.Run(t)
	c := openWith(t, undertest.As(srv.ConnectionString()), func(cfg *esclient.Config) {
		cfg.ReconnectDelay = time.Millisecond
	})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				h := new(connectionCounter)
				remove, err := c.AddConnectionHook(h)
				assert.NoError(t, err)
				_, err = c.Ping(t.Context())
				assert.NoError(t, err)
				remove()
			}
		})
	}
	wg.Go(func() {
		for range 10 {
			srv.DropConnections()
			assert.NoError(t, c.Connect(t.Context()))
		}
	})
	wg.Wait()
}
