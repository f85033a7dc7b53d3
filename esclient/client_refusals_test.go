package esclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// firstCall returns how a client's first call on a peer ends, which must not be by the end of the test's patience.
func firstCall(t *testing.T, cfg esclient.Config) error {
	t.Helper()
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	ctx := testContext(t)
	_, err = c.Append(ctx, "s", esclient.Any, numbered(0, 0)...)
	require.Error(t, err)
	require.NoError(t, ctx.Err(), "it hangs")
	assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown, "nothing was sent")
	return err
}

// silent takes all and says nothing.
func silent(p *wiretest.Peer) { io.Copy(io.Discard, p) }

func TestPeersThatAreNoEventStoreAreSaidToBeNone(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for what, addr := range map[string]string{
		"HTTP":    web.Listener.Addr().String(),
		"silence": wiretest.Listen(t, silent).Addr(),
		"banner": wiretest.Listen(t, func(p *wiretest.Peer) {
			p.Write([]byte("220 mail ESMTP ready\r\n"))
			silent(p)
		}).Addr(),
	} {
		err := firstCall(t, esclient.Config{
			Address: addr, HeartbeatInterval: 50 * time.Millisecond, HeartbeatTimeout: 50 * time.Millisecond,
		})
		assert.ErrorIs(t, err, esclient.ErrNotEventStore, what)
		var e *esclient.ConnectionError
		require.ErrorAs(t, err, &e, what)
		assert.Equal(t, addr, e.Endpoint, what)
	}
}

// TestAPeerThatClosesAtOnce plays a peer that may be a proxy whose server is starting. So the client tries again, and
// the error of the context has the cause.
func TestAPeerThatClosesAtOnce(t *testing.T) {
	addr := wiretest.Listen(t, func(*wiretest.Peer) {}).Addr()
	c, err := esclient.New(esclient.Config{Address: addr, ReconnectDelay: time.Millisecond})
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err = c.Ping(ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	var e *esclient.NotConnectedError
	require.ErrorAs(t, err, &e)
	var lost *esclient.ConnectionError
	require.ErrorAs(t, e.Last, &lost)
	assert.Equal(t, addr, lost.Endpoint)
	assert.True(t, esclient.Timeout(err))
	assert.True(t, esclient.SafeToRetry(err))
}

func TestTLSOnOneSideOnly(t *testing.T) {
	t.Run("client", func(t *testing.T) {
		// A plain server asks a silent client for a sign of life, which is no TLS record.
		srv := estest.Run(t, estest.WithHeartbeat(20*time.Millisecond, time.Second))
		err := firstCall(t, esclient.Config{Address: srv.Addr(), TLS: &tls.Config{MinVersion: tls.VersionTLS12}})
		assert.ErrorIs(t, err, esclient.ErrNotEventStore)
		assert.ErrorContains(t, err, "Config.TLS")
	})
	t.Run("server", func(t *testing.T) {
		// A TLS server answers anything but a ClientHello with an alert, or closes.
		alert := []byte{21, 3, 1, 0, 2, 2, 70}
		for what, answer := range map[string][]byte{"alert": alert, "close": nil} {
			addr := wiretest.Listen(t, func(p *wiretest.Peer) {
				p.Read(make([]byte, 1))
				p.Write(answer)
			}).Addr()
			c, err := esclient.New(esclient.Config{Address: addr, ReconnectDelay: time.Millisecond})
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			err = c.Connect(ctx)
			cancel()
			if what == "alert" {
				assert.ErrorIs(t, err, esclient.ErrNotEventStore)
				assert.ErrorContains(t, err, "Config.TLS")
			} else { // it may be a server that is about to start behind a proxy
				var e *esclient.NotConnectedError
				assert.ErrorAs(t, err, &e)
			}
			assert.NoError(t, c.Close())
		}
	})
	t.Run("unknown authority", func(t *testing.T) {
		web := httptest.NewUnstartedServer(http.NotFoundHandler())
		web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		web.StartTLS()
		defer web.Close()
		err := firstCall(t, esclient.Config{
			Address: web.Listener.Addr().String(), TLS: &tls.Config{MinVersion: tls.VersionTLS12},
		})
		var e *tls.CertificateVerificationError
		assert.ErrorAs(t, err, &e)
		assert.ErrorContains(t, err, "tlsCAFile")
	})
	t.Run("another name", func(t *testing.T) {
		srv, _ := embedded(t, estest.WithTLS())
		err := firstCall(t, esclient.Config{Address: srv.Addr(), TLS: &tls.Config{
			RootCAs: srv.CertPool(), ServerName: "elsewhere.example", MinVersion: tls.VersionTLS12,
		}})
		var e *tls.CertificateVerificationError
		assert.ErrorAs(t, err, &e)
		assert.ErrorContains(t, err, "tlsServerName")
	})
}

func TestAWrongPasswordIsSaidAtOnce(t *testing.T) {
	srv, _ := embedded(t)
	for _, login := range []string{"admin", "nobody"} {
		err := firstCall(t, esclient.Config{
			Address: srv.Addr(), Credentials: &esclient.Credentials{Login: login, Password: "hunter2"},
		})
		assert.ErrorIs(t, err, esclient.ErrNotAuthenticated)
		assert.NotContains(t, err.Error(), "hunter2")
		assert.False(t, esclient.SafeToRetry(err), "a user must correct it first")
	}
}

// TestBadNamesNameTheArgument holds every call against the same names.
func TestBadNamesNameTheArgument(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	good, settings := esclient.EventData{Type: "t"}, esclient.DefaultPersistentSettings()
	calls := map[string]func(name string) error{
		"append":        func(s string) error { _, err := c.Append(ctx, s, esclient.Any, good); return err },
		"delete stream": func(s string) error { _, err := c.DeleteStream(ctx, s, esclient.Any); return err },
		"tombstone":     func(s string) error { _, err := c.TombstoneStream(ctx, s, esclient.Any); return err },
		"append from": func(s string) error {
			_, err := c.AppendFrom(ctx, s, esclient.Any, source(0, 0, nil), esclient.AppendFromOptions{})
			return err
		},
		"start":        func(s string) error { _, err := c.StartTransaction(ctx, s, esclient.Any); return err },
		"continue":     func(s string) error { _, err := c.ContinueTransaction(1, s, esclient.Any); return err },
		"metadata":     func(s string) error { _, _, err := c.StreamMetadata(ctx, s); return err },
		"raw metadata": func(s string) error { _, _, err := c.RawStreamMetadata(ctx, s); return err },
		"set metadata": func(s string) error {
			_, err := c.SetStreamMetadata(ctx, s, esclient.Any, esclient.StreamMetadata{})
			return err
		},
		"read event": func(s string) error {
			_, err := c.ReadEvent(ctx, s, 0, esclient.ReadEventOptions{})
			return err
		},
		"read page": func(s string) error { _, err := c.ReadStreamPage(ctx, s, esclient.ReadOptions{}); return err },
		"read": func(s string) error {
			for _, err := range c.ReadStream(ctx, s, esclient.ReadOptions{}) {
				return err
			}
			return nil
		},
		"volatile": func(s string) error {
			_, err := c.SubscribeVolatile(ctx, s, esclient.VolatileOptions{})
			return err
		},
		"catch-up": func(s string) error {
			_, err := c.SubscribeCatchUp(ctx, s, esclient.CatchUpOptions{})
			return err
		},
		"create": func(s string) error { return c.CreatePersistent(ctx, s, "g", settings) },
		"update": func(s string) error { return c.UpdatePersistent(ctx, s, "g", settings) },
		"delete": func(s string) error { return c.DeletePersistent(ctx, s, "g") },
		"connect": func(s string) error {
			_, err := c.ConnectPersistent(ctx, s, "g", esclient.PersistentOptions{})
			return err
		},
	}
	for what, call := range calls {
		for _, bad := range []string{"", "a\nb", "a\x00", "a\x7f", "\u0085", "\xff"} {
			err := call(bad)
			var e *esclient.ArgumentError
			require.ErrorAs(t, err, &e, "%s %q", what, bad)
			assert.ErrorIs(t, err, esclient.ErrInvalidArgument)
			assert.Equal(t, "stream", e.Argument)
			assert.False(t, bytes.ContainsAny([]byte(err.Error()), "\n\x00\x7f"), "it is quoted: %s", err)
		}
	}
	for _, bad := range []string{"", "a\nb"} {
		var e *esclient.ArgumentError
		require.ErrorAs(t, c.CreatePersistent(ctx, "s", bad, settings), &e)
		assert.Equal(t, "group", e.Argument)
	}
}

func TestCredentialsThatCannotBeSentAreRefusedBefore(t *testing.T) {
	s := newScript(t)
	c := s.client(func(cfg *esclient.Config) { cfg.HTTPEndpoint = s.l.Addr() })
	m, err := esadmin.New(c)
	require.NoError(t, err)
	for what, creds := range map[string]esclient.Credentials{
		"long login":    {Login: strings.Repeat("x", 128), Password: "secret"},
		"long password": {Login: "jane", Password: strings.Repeat("x", 128)},
		"no password":   {Login: "jane"},
		"no login":      {Password: "secret"},
		"not ASCII":     {Login: "émile", Password: "secret"},
	} {
		ctx := esclient.WithCredentials(testContext(t), creds)
		for call, try := range map[string]func() error{
			"ping":   func() error { _, err := c.Ping(ctx); return err },
			"append": func() error { _, err := c.Append(ctx, "s", esclient.Any, numbered(0, 0)...); return err },
			"create": func() error { return c.CreatePersistent(ctx, "s", "g", fromStart()) },
			"connect": func() error {
				_, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{})
				return err
			},
			"subscribe": func() error {
				_, err := c.SubscribeVolatile(ctx, "s", esclient.VolatileOptions{})
				return err
			},
			"catch up": func() error {
				_, err := c.SubscribeCatchUp(ctx, "s", esclient.CatchUpOptions{})
				return err
			},
			"management": func() error { _, err := m.Users(ctx); return err },
		} {
			err := try()
			assert.ErrorIs(t, err, esclient.ErrInvalidArgument, "%s: %s", what, call)
			assert.NotContains(t, err.Error(), "secret")
		}
	}
	assert.Empty(t, s.requests)
}

func TestAnOversizedEventNamesItself(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	for _, part := range []func(e *esclient.EventData, b []byte){
		func(e *esclient.EventData, b []byte) { e.Data = b },
		func(e *esclient.EventData, b []byte) { e.Metadata = b },
		func(e *esclient.EventData, b []byte) { e.Type = string(b[:len(b)/2]) },
	} {
		events := numbered(0, 1)
		part(&events[1], bytes.Repeat([]byte("x"), esclient.MaxEventSize))
		_, err := c.Append(ctx, name("s"), esclient.Any, events...)
		assert.ErrorIs(t, err, esclient.ErrTooLarge)
		var e *esclient.ArgumentError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "events[1]", e.Argument)
		assert.Less(t, len(err.Error()), 300, "the error does not hold the event")
	}
}
