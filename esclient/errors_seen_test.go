package esclient_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// errorLog is a hook that records the errors of all calls. It is also a Discoverer of one node.
type errorLog struct {
	node discovery.Endpoint

	mu     sync.Mutex
	errors map[string][]error // by the hook
}

func (l *errorLog) note(hook string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.errors == nil {
		l.errors = make(map[string][]error)
	}
	if err != nil {
		l.errors[hook] = append(l.errors[hook], err)
	}
}

// told waits for an error in a call of a hook.
func (l *errorLog) told(t testing.TB, hook string) (err error) {
	t.Helper()
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.errors[hook]) > 0 {
			err = l.errors[hook][0]
		}
		return err != nil
	}, patience, time.Millisecond, hook)
	return err
}

func (l *errorLog) OnDisconnected(i esclient.ConnectionInfo)            { l.note("disconnected", i.Err) }
func (l *errorLog) OnReconnecting(i esclient.ConnectionInfo)            { l.note("reconnecting", i.Err) }
func (l *errorLog) OnAuthenticationFailed(i esclient.ConnectionInfo)    { l.note("refused", i.Err) }
func (l *errorLog) OnClosed(i esclient.ConnectionInfo)                  { l.note("closed", i.Err) }
func (l *errorLog) OnRetry(_ context.Context, i esclient.OperationInfo) { l.note("retry", i.Err) }
func (l *errorLog) OnDropped(i esclient.SubscriptionInfo)               { l.note("dropped", i.Err) }
func (l *errorLog) OnLeftOut(i esclient.SubscriptionInfo)               { l.note("left out", i.Err) }
func (l *errorLog) OnFellBehind(i esclient.SubscriptionInfo)            { l.note("fell behind", i.Err) }
func (l *errorLog) OnSubscriptionEnded(i esclient.SubscriptionInfo)     { l.note("ended", i.Err) }
func (l *errorLog) Next(context.Context) (t discovery.Target, err error) {
	t.Endpoint = l.node
	return t, nil
}
func (l *errorLog) Report(_ discovery.Endpoint, err error) { l.note("report", err) }

func (l *errorLog) OnOperationEnded(_ context.Context, i esclient.OperationInfo) {
	l.note("operation", i.Err)
}

// open returns a client that tells the log, which also finds the node.
func (l *errorLog) open(t testing.TB, address string, change func(*esclient.Config)) *esclient.Client {
	t.Helper()
	var err error
	l.node, err = discovery.ParseEndpoint(address)
	require.NoError(t, err)
	t.Cleanup(func() { // after that of the client
		for _, errs := range l.errors {
			for _, err := range errs {
				undertest.PublicError(t, err)
			}
		}
	})
	return openWith(t, "tcp://admin:changeit@"+address, func(cfg *esclient.Config) {
		cfg.Discoverer, cfg.Hooks = l, []esclient.Hook{l}
		if change != nil {
			change(cfg)
		}
	})
}

// isLost holds that an error has a ConnectionError for a cause, and is of types that users know.
func isLost(t testing.TB, err error) {
	t.Helper()
	undertest.PublicError(t, err)
	var lost *esclient.ConnectionError
	require.ErrorAs(t, err, &lost)
	assert.NotEmpty(t, lost.Endpoint)
}

// A user sees only errors of this package, from a call, a hook, a subscription or a Discoverer.
func TestALostConnectionIsAnErrorOfThisPackage(t *testing.T) {
	t.Parallel()
	var log errorLog
	srv := estest.Run(t)
	c := log.open(t, srv.Addr(), nil)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	caught, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{})
	require.NoError(t, err)
	waitUntil(t, caught.Next, caught.CaughtUp())
	volatile, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{})
	require.NoError(t, err)
	srv.Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Disconnect()), estest.Times(1))
	_, err = c.Append(ctx, name("s"), esclient.Any, numbered(0, 0)...)
	require.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
	isLost(t, err)
	waitUntil(t, caught.Next, caught.CaughtUp())

	behind := caught.FellBehind()
	srv.DropConnections()
	waitUntil(t, caught.Next, behind)
	_, err = volatile.Next(withTimeout(t, 50*time.Millisecond))
	undertest.PublicError(t, err)
	for _, hook := range []string{"disconnected", "reconnecting", "dropped", "fell behind"} {
		isLost(t, log.told(t, hook))
	}
	require.NoError(t, c.Close())
	_, err = p.Next(ctx)
	for _, err := range []error{err, p.Err(), second(caught.Next(ctx)), second(c.Ping(ctx))} {
		undertest.PublicError(t, err)
		require.ErrorIs(t, err, esclient.ErrClosed)
	}
	undertest.PublicError(t, second(volatile.Next(ctx)))
	require.ErrorIs(t, log.told(t, "closed"), esclient.ErrClosed)
}

func second[T any](_ T, err error) error { return err }

func withTimeout(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestAFailedConnectionIsAnErrorOfThisPackage(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	for what, tt := range map[string]struct {
		address string
		change  func(*esclient.Config)
		is      error
		as      any
		silent  bool // until the context ends
	}{
		"HTTP": {address: web.Listener.Addr().String(), is: esclient.ErrNotEventStore},
		"wrong password": {
			address: estest.Run(t).Addr(), is: esclient.ErrNotAuthenticated, as: new(*esclient.NotAuthenticatedError),
			change: func(cfg *esclient.Config) { cfg.Credentials.Password = "wrong" },
		},
		"too many attempts": {
			address: "127.0.0.1:1", is: esclient.ErrClosed,
			change: func(cfg *esclient.Config) { cfg.MaxReconnects = 1 },
		},
		"no answer in time": {
			address: wiretest.Listen(t, silent).Addr(), silent: true,
			is: context.DeadlineExceeded, as: new(*esclient.NotConnectedError),
			change: func(cfg *esclient.Config) { cfg.ConnectTimeout = 10 * time.Second },
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var log errorLog
			c := log.open(t, tt.address, tt.change)
			inTime := func() context.Context {
				if tt.silent {
					return withTimeout(t, 30*time.Millisecond)
				}
				return testContext(t)
			}
			for _, err := range []error{c.Connect(inTime()), second(c.Ping(inTime()))} {
				require.ErrorIs(t, err, tt.is)
				if tt.as != nil {
					require.ErrorAs(t, err, tt.as)
				}
				undertest.PublicError(t, err)
			}
			if !tt.silent {
				isLost(t, log.told(t, "report"))
			}
		})
	}
}

func TestASilentServerIsAnErrorOfThisPackage(t *testing.T) {
	t.Parallel()
	var log errorLog
	srv := estest.Run(t)
	c := log.open(t, srv.Addr(), func(cfg *esclient.Config) {
		cfg.HeartbeatInterval, cfg.HeartbeatTimeout = 20*time.Millisecond, 20*time.Millisecond
		cfg.OperationTimeout, cfg.MaxRetries = 20*time.Millisecond, -1
	})
	require.NoError(t, c.Connect(testContext(t)))
	srv.Pause()
	defer srv.Resume()
	err := log.told(t, "disconnected")
	isLost(t, err)
	require.ErrorIs(t, err, esclient.ErrHeartbeatTimeout)
	assert.True(t, esclient.Timeout(err))
	assert.True(t, esclient.SafeToRetry(err))
}

func TestAFrameThatIsTooLargeIsAnErrorOfThisPackage(t *testing.T) {
	t.Parallel()
	var log errorLog
	srv := estest.Run(t)
	c := log.open(t, srv.Addr(), func(cfg *esclient.Config) { cfg.MaxFrameSize = 10_000 })
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	volatile, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{})
	require.NoError(t, err)
	event := esclient.EventData{Type: "large", Data: bytes.Repeat([]byte("x"), 20_000)}
	_, err = c.Append(ctx, stream, esclient.Any, event)
	require.NoError(t, err)
	catchUp, err := c.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{})
	require.NoError(t, err)
	for _, err := range []error{
		second(c.ReadEvent(ctx, stream, 0, esclient.ReadEventOptions{})), second(catchUp.Next(ctx)), catchUp.Err(),
		log.told(t, "left out"),
	} {
		var large *esclient.FrameTooLargeError
		require.ErrorAs(t, err, &large)
		assert.Greater(t, large.Length, 20_000)
		assert.Equal(t, 10_000, large.Max)
		assert.Contains(t, large.Reply, "E")
		undertest.PublicError(t, err)
		assert.False(t, esclient.SafeToRetry(err))
	}
	_, err = volatile.Next(withTimeout(t, 50*time.Millisecond))
	undertest.PublicError(t, err)
	require.NoError(t, p.Stop(ctx))
}
