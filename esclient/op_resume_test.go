package esclient_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// subscriptions are one of each kind, on the stream "s".
func subscriptions(t testing.TB, c *esclient.Client) map[string]func(context.Context) (*esclient.Event, error) {
	t.Helper()
	ctx := testContext(t)
	err := c.CreatePersistent(ctx, "s", "g", fromStart())
	require.Condition(t, func() bool { return err == nil || errors.Is(err, esclient.ErrGroupExists) }, "%v", err)
	group, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{})
	require.NoError(t, err)
	volatile, err := c.SubscribeVolatile(ctx, "s", esclient.VolatileOptions{FillGaps: true})
	require.NoError(t, err)
	catchUp, err := c.SubscribeCatchUp(ctx, "s", esclient.CatchUpOptions{})
	require.NoError(t, err)
	return map[string]func(context.Context) (*esclient.Event, error){
		"group": func(ctx context.Context) (*esclient.Event, error) {
			e, err := group.Next(ctx)
			if err == nil {
				err = group.Ack(e)
			}
			return e, err
		},
		"volatile": volatile.Next,
		"catch-up": catchUp.Next,
	}
}

// nextOfAll takes the next event of each subscription.
func nextOfAll(t testing.TB, subs map[string]func(context.Context) (*esclient.Event, error), number int64) {
	t.Helper()
	for kind, next := range subs {
		e, err := next(testContext(t))
		for err == nil && kind == "group" && e.Number < number { // a server that ends may not know of the ack yet
			e, err = next(testContext(t))
		}
		if assert.NoError(t, err, kind) {
			assert.Equal(t, number, e.Number, kind)
		}
	}
}

func TestSubscriptionsAndCallsOutliveAnotherServer(t *testing.T) {
	for name, stranger := range map[string]func(*wiretest.Peer){
		"HTTP 503":              says("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
		"TLS alert":             says("\x15\x03\x01\x00\x02\x02\x46"),
		"SSH":                   says("SSH-2.0-OpenSSH_9.6\r\n"),
		"nothing":               func(*wiretest.Peer) {},
		"not ready":             refuses("Server not ready"),
		"a fresh server":        refuses("Unauthorized"),
		"Not Authenticated":     refuses("Not Authenticated"),
		"internal server error": refuses("Internal Server Error"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := estest.Run(t)
			g := newGate(t, srv.Addr())
			c := open(t, "tcp://admin:changeit@"+g.l.Addr())
			subs := subscriptions(t, c)
			put(t, srv, "s", 1)
			nextOfAll(t, subs, 0)
			before := g.l.Taken()
			g.replace(stranger)
			pinged := make(chan error, 1)
			go func() {
				_, err := c.Ping(testContext(t))
				pinged <- err
			}()
			require.Eventually(t, func() bool { return g.l.Taken() >= before+2 }, patience, time.Millisecond)
			g.letThrough()
			put(t, srv, "s", 1)
			nextOfAll(t, subs, 1)
			assert.NoError(t, <-pinged)
		})
	}
}

// A server that begins with an empty database has no users for a moment, and drops requests before that.
func TestSubscriptionsAndCallsOutliveAServerThatBegins(t *testing.T) {
	t.Parallel()
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			srv := estest.Run(t,
				estest.WithPersona(persona), estest.WithStartUp(300*time.Millisecond, 600*time.Millisecond))
			cfg, err := esclient.ParseConnectionString(srv.ConnectionString())
			require.NoError(t, err)
			told := make(delays, 1000)
			cfg.Hooks = []esclient.Hook{told}
			var c *esclient.Client
			require.Eventually(t, func() bool { // before the first success a refusal is final
				if c, err = esclient.New(cfg); err == nil {
					if err = c.Connect(testContext(t)); err != nil {
						c.Close()
					}
				}
				return err == nil
			}, patience, 50*time.Millisecond)
			defer c.Close()
			subs := subscriptions(t, c)
			put(t, srv, "s", 1)
			nextOfAll(t, subs, 0)
			require.NoError(t, srv.Restart())
			require.NoError(t, c.Connect(testContext(t)))
			put(t, srv, "s", 1)
			nextOfAll(t, subs, 1)
			c.Close() // after that, the hook is called no more
			close(told)
			for delay := range told {
				assert.Less(t, delay, time.Second)
			}
		})
	}
}

func TestRefusedCredentialsDoNotEndSubscriptionsAtOnce(t *testing.T) {
	t.Parallel()
	srv := estest.Run(t)
	g := newGate(t, srv.Addr())
	c := open(t, "tcp://admin:changeit@"+g.l.Addr())
	subs := subscriptions(t, c)
	put(t, srv, "s", 1)
	nextOfAll(t, subs, 0)
	g.replace(refuses("Unauthorized"))
	require.Eventually(t, func() bool {
		_, err := c.Ping(testContext(t))
		return errors.Is(err, esclient.ErrNotAuthenticated)
	}, patience, time.Millisecond)
	start := time.Now()
	_, err := c.Ping(testContext(t))
	assert.ErrorIs(t, err, esclient.ErrNotAuthenticated)
	assert.Less(t, time.Since(start), 5*time.Second, "calls fail at once")
	for kind, next := range subs { // they do not end meanwhile
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := next(ctx)
		cancel()
		assert.ErrorIs(t, err, context.DeadlineExceeded, kind)
	}
	g.letThrough()
	put(t, srv, "s", 1)
	nextOfAll(t, subs, 1)
}

func TestCredentialsThatStayRefusedEndSubscriptions(t *testing.T) {
	t.Parallel()
	srv := estest.Run(t)
	g := newGate(t, srv.Addr())
	c := openWith(t, "tcp://admin:changeit@"+g.l.Addr()+"?authRetryTimeout=200", func(*esclient.Config) {})
	subs := subscriptions(t, c)
	put(t, srv, "s", 1)
	nextOfAll(t, subs, 0)
	g.replace(refuses("Unauthorized"))
	for kind, next := range subs {
		_, err := next(testContext(t))
		assert.ErrorIs(t, err, esclient.ErrNotAuthenticated, kind)
	}
}

// The connection acts for one user, and the subscription for another, whose password is changed.
func TestOwnCredentialsMayBeRefusedForAWhile(t *testing.T) {
	t.Parallel()
	srv := estest.Run(t, estest.WithUser("jane", "secret"))
	c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) { cfg.HTTPEndpoint = srv.HTTPAddr() })
	m, err := esadmin.New(c)
	require.NoError(t, err)
	jane := esclient.WithCredentials(testContext(t), esclient.Credentials{Login: "jane", Password: "secret"})
	sub, err := c.SubscribeVolatile(jane, "s", esclient.VolatileOptions{FillGaps: true})
	require.NoError(t, err)
	put(t, srv, "s", 1)
	_, err = sub.Next(testContext(t))
	require.NoError(t, err)
	require.NoError(t, m.ResetPassword(testContext(t), "jane", "other"))
	srv.DropConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = sub.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = c.ReadEvent(jane, "s", 0, esclient.ReadEventOptions{})
	assert.ErrorIs(t, err, esclient.ErrNotAuthenticated)
	require.NoError(t, m.ResetPassword(testContext(t), "jane", "secret"))
	put(t, srv, "s", 1)
	_, err = sub.Next(testContext(t))
	assert.NoError(t, err)
}

// delays notes the pauses before attempts.
type delays chan time.Duration

func (d delays) OnReconnecting(i esclient.ConnectionInfo) { d <- i.Delay }

func TestAClusterWithoutALeaderIsAskedAgainSoon(t *testing.T) {
	t.Parallel()
	c := runCluster(t)
	for i := range c.Size() {
		c.SetGossip(i, func(members []estest.Member) []estest.Member {
			for j := range members {
				members[j].Role = estest.RoleUnknown
			}
			return members
		})
	}
	told := make(delays, 1000)
	client := openWith(t, c.ConnectionString(), func(cfg *esclient.Config) {
		cfg.ReconnectDelay, cfg.MaxReconnectDelay = 50*time.Millisecond, time.Hour
		cfg.Hooks = []esclient.Hook{told}
	})
	for range 8 {
		assert.Less(t, <-told, time.Second)
	}
	for i := range c.Size() {
		c.SetGossip(i, nil)
	}
	start := time.Now()
	require.NoError(t, client.Connect(testContext(t)))
	assert.Less(t, time.Since(start), 10*time.Second)
}
