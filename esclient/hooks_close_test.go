package esclient_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// acting is a hook that does the same in every call. It first records the name of the call.
type acting struct {
	client atomic.Pointer[esclient.Client]
	do     func(what string, c *esclient.Client)
}

func (a *acting) tell(what string) {
	if c := a.client.Load(); c != nil {
		a.do(what, c)
	}
}

func (a *acting) OnConnected(esclient.ConnectionInfo)                      { a.tell("connected") }
func (a *acting) OnDisconnected(esclient.ConnectionInfo)                   { a.tell("disconnected") }
func (a *acting) OnReconnecting(esclient.ConnectionInfo)                   { a.tell("reconnecting") }
func (a *acting) OnAuthenticationFailed(esclient.ConnectionInfo)           { a.tell("refused") }
func (a *acting) OnClosed(esclient.ConnectionInfo)                         { a.tell("closed") }
func (a *acting) OnSubscribed(esclient.SubscriptionInfo)                   { a.tell("subscribed") }
func (a *acting) OnDropped(esclient.SubscriptionInfo)                      { a.tell("dropped") }
func (a *acting) OnDelivered(esclient.SubscriptionInfo)                    { a.tell("delivered") }
func (a *acting) OnAcked(esclient.SubscriptionInfo)                        { a.tell("acked") }
func (a *acting) OnSubscriptionEnded(esclient.SubscriptionInfo)            { a.tell("ended") }
func (a *acting) OnRetry(context.Context, esclient.OperationInfo)          { a.tell("retry") }
func (a *acting) OnOperationEnded(context.Context, esclient.OperationInfo) { a.tell("operation ended") }

func (a *acting) OnOperationStarted(ctx context.Context, _ esclient.OperationInfo) context.Context {
	a.tell("operation started")
	return ctx
}

// actingClient opens a client with such a hook, which begins to act with the first connection.
func actingClient(
	t testing.TB, url string, do func(string, *esclient.Client), change func(*esclient.Config),
) *esclient.Client {
	t.Helper()
	a := &acting{do: do}
	c := openWith(t, url, func(cfg *esclient.Config) {
		cfg.Hooks = []esclient.Hook{a}
		if change != nil {
			change(cfg)
		}
	})
	a.client.Store(c)
	return c
}

// provoke causes all calls of hooks, until the client is closed.
func provoke(t testing.TB, srv *estest.Server, c *esclient.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, _ = c.Ping(ctx)
	settings := fromStart()
	_ = c.CreatePersistent(ctx, "s", "g", settings)
	put(t, srv, "s", 3)
	p, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{Recreate: &settings})
	if err == nil {
		if e, err := p.Next(ctx); err == nil {
			_ = p.Ack(e)
		}
		_ = c.DeletePersistent(ctx, "s", "g")
	}
	srv.DropConnections()
	select {
	case <-c.Closed():
	case <-ctx.Done():
	}
}

func put(t testing.TB, srv *estest.Server, stream string, n int) {
	t.Helper()
	for range n {
		_, err := srv.Append(stream, estest.Event{Type: "t", Data: []byte("{}")})
		require.NoError(t, err)
	}
}

// within fails the test if f does not return soon.
func within(t testing.TB, limit time.Duration, f func(), what string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		assert.Fail(t, what+" does not return")
	}
}

func TestEveryHookMayCloseTheClient(t *testing.T) {
	for _, hook := range []string{
		"connected", "disconnected", "reconnecting", "refused", "closed", "subscribed", "dropped", "delivered", "acked",
		"ended", "operation started", "operation ended",
	} {
		t.Run(hook, func(t *testing.T) {
			t.Parallel()
			srv := estest.Run(t)
			url := srv.ConnectionString()
			if hook == "refused" {
				url = "tcp://admin:wrong@" + srv.Addr()
			}
			var closed sync.Once
			returned := make(chan struct{})
			c := actingClient(t, url, func(what string, c *esclient.Client) {
				if what == hook {
					assert.NoError(t, c.Close())
					closed.Do(func() { close(returned) })
				}
			}, nil)
			if hook == "connected" {
				srv.DropConnections() // it may have been connected before the hook knew of the client
			}
			if hook == "closed" || hook == "ended" {
				go c.Close()
			} else {
				provoke(t, srv, c)
			}
			if hook == "ended" {
				return // there may have been no subscription
			}
			within(t, 10*time.Second, func() { <-returned }, "Close within the hook")
			within(t, 10*time.Second, func() { c.Close() }, "Close by another goroutine")
			_, err := c.Ping(t.Context())
			assert.ErrorIs(t, err, esclient.ErrClosed)
		})
	}
}

// All hooks at once, each with another goroutine that does it for them half of the time.
func TestHooksMayCloseTheClientTogetherAndThroughOthers(t *testing.T) {
	t.Parallel()
	srv := estest.Run(t)
	var n atomic.Int32
	c := actingClient(t, srv.ConnectionString(), func(what string, c *esclient.Client) {
		if what != "disconnected" && what != "dropped" && what != "ended" {
			return
		}
		if n.Add(1)%2 == 0 {
			c.Close()
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Close()
		}()
		<-done
	}, nil)
	within(t, 20*time.Second, func() { provoke(t, srv, c) }, "the client")
	within(t, 10*time.Second, func() { c.Close() }, "Close")
	assert.Positive(t, n.Load())
}

func TestCloseFromAHookOfAnEndingSubscription(t *testing.T) {
	srv := estest.Run(t)
	ended := make(chan struct{})
	c := actingClient(t, srv.ConnectionString(), func(what string, c *esclient.Client) {
		if what == "ended" {
			assert.NoError(t, c.Close())
			close(ended)
		}
	}, nil)
	ctx := testContext(t)
	require.NoError(t, c.CreatePersistent(ctx, "s", "g", fromStart()))
	put(t, srv, "s", 1)
	p, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{AckDelay: time.Hour})
	require.NoError(t, err)
	e, err := p.Next(ctx)
	require.NoError(t, err)
	require.NoError(t, p.Ack(e))
	start := time.Now()
	require.NoError(t, c.Close())
	assert.Less(t, time.Since(start), 10*time.Second)
	<-ended
	other := open(t, srv.ConnectionString())
	p, err = other.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{})
	require.NoError(t, err)
	put(t, srv, "s", 1)
	e, err = p.Next(ctx)
	require.NoError(t, err)
	assert.Equal(t, int64(1), e.Number, "the ack was sent before the end")
}

func TestHooksOfTheConnectionMayCallTheClient(t *testing.T) {
	srv := estest.Run(t)
	answered := make(chan error, 100)
	c := actingClient(t, srv.ConnectionString(), func(what string, c *esclient.Client) {
		if what != "connected" && what != "disconnected" && what != "reconnecting" {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := c.Ping(ctx)
		if !errors.Is(err, esclient.ErrClosed) {
			answered <- err
		}
	}, nil)
	require.NoError(t, c.Connect(testContext(t)))
	srv.DropConnections()
	for range 3 { // disconnected and reconnecting wait for the next connection
		require.NoError(t, <-answered)
	}
	require.NoError(t, c.Close())
}

func TestCloseWaitsForAHookThatIsRunning(t *testing.T) {
	srv := estest.Run(t)
	var returned atomic.Bool
	began := make(chan struct{})
	c := actingClient(t, srv.ConnectionString(), func(what string, _ *esclient.Client) {
		if what == "disconnected" && !returned.Load() {
			close(began)
			time.Sleep(200 * time.Millisecond)
			returned.Store(true)
		}
	}, nil)
	require.NoError(t, c.Connect(testContext(t)))
	srv.DropConnections()
	<-began
	require.NoError(t, c.Close())
	assert.True(t, returned.Load())
}

func TestAHookThatHangsKeepsNeitherCallsNorClose(t *testing.T) {
	t.Parallel()
	srv := estest.Run(t)
	release := make(chan struct{})
	var once sync.Once
	c := actingClient(t, srv.ConnectionString(), func(what string, _ *esclient.Client) {
		if what == "disconnected" {
			<-release
		}
	}, nil)
	defer once.Do(func() { close(release) })
	for range 20 {
		require.NoError(t, c.Connect(testContext(t)))
		srv.DropConnections()
	}
	_, err := c.Ping(testContext(t))
	require.NoError(t, err)
	within(t, 10*time.Second, func() { c.Close() }, "Close")
}
