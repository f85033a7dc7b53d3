package esclient_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// connect returns a client of the server under test, of the user as whom the tests run.
func connect(t testing.TB) *esclient.Client {
	t.Helper()
	return connectWith(t, func(*esclient.Config) {})
}

// connectWith is connect with a configuration that is adapted.
func connectWith(t testing.TB, change func(*esclient.Config)) *esclient.Client {
	t.Helper()
	return openWith(t, undertest.URL(t), change)
}

// embedded returns an embedded server, for tests that need control of it, and a client of the user as whom the tests
// run.
func embedded(t testing.TB, opts ...estest.Option) (*estest.Server, *esclient.Client) {
	t.Helper()
	undertest.EmbeddedOnly(t)
	srv := undertest.Run(t, opts...)
	return srv, open(t, undertest.As(srv.ConnectionString()))
}

// embeddedAsAdmin is embedded for tests that say themselves who is who: the client is an administrator's.
func embeddedAsAdmin(t testing.TB, opts ...estest.Option) (*estest.Server, *esclient.Client) {
	t.Helper()
	undertest.AdminOnly(t, "the test says itself who is who")
	return embedded(t, opts...)
}

// asAdmin has requests made by an administrator of the server under test.
func asAdmin(ctx context.Context) context.Context {
	admin := &esclient.Credentials{Login: "admin", Password: "changeit"}
	if server := undertest.Real(); server != "" {
		if cfg, err := esclient.ParseConnectionString(server); err == nil && cfg.Credentials != nil {
			admin = cfg.Credentials
		}
	}
	return esclient.WithCredentials(ctx, *admin)
}

// asOps has requests made by the built-in user ops, who is no administrator.
func asOps(ctx context.Context) context.Context {
	return esclient.WithCredentials(ctx, esclient.Credentials{Login: "ops", Password: "changeit"})
}

// trusts reports whether the server accepts any credentials (--insecure).
func trusts(t testing.TB, c *esclient.Client) bool {
	t.Helper()
	if undertest.Real() == "" {
		return false // so that a test of the embedded one cannot pass because it refuses nothing
	}
	_, err := c.Ping(esclient.WithCredentials(testContext(t), esclient.Credentials{Login: "nobody", Password: "wrong"}))
	if err != nil {
		require.ErrorIs(t, err, esclient.ErrNotAuthenticated)
	}
	return err == nil
}

// needsRefusals skips a test of refusals if the server accepts any credentials.
func needsRefusals(t testing.TB, c *esclient.Client) {
	t.Helper()
	if trusts(t, c) {
		t.Skip("needs a server that refuses: the one given by " + undertest.ServerURL + " runs with --insecure")
	}
}

func open(t testing.TB, url string) *esclient.Client {
	t.Helper()
	return openWith(t, url, func(*esclient.Config) {})
}

func openWith(t testing.TB, url string, change func(*esclient.Config)) *esclient.Client {
	t.Helper()
	cfg, err := esclient.ParseConnectionString(url)
	require.NoError(t, err)
	cfg.ReconnectDelay, cfg.MaxReconnectDelay = time.Millisecond, 20*time.Millisecond // tests cut connections often
	change(&cfg)
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

var (
	run    = time.Now().UnixNano()
	unique atomic.Int64
)

// name returns a name for a stream that no other test has, nor an earlier run on the same server.
func name(what string) string { return fmt.Sprintf("%s-%x-%d", what, run, unique.Add(1)) }

// numbered returns events whose data are the numbers from from to to, in words.
func numbered(from, to int) []esclient.EventData {
	var events []esclient.EventData
	for n := from; n <= to; n++ {
		events = append(events, esclient.EventData{Type: "numbered", Data: fmt.Append(nil, n)})
	}
	return events
}

// appendNumbered appends numbered events, each batch in one append.
func appendNumbered(t testing.TB, c *esclient.Client, stream string, from, to int) {
	t.Helper()
	_, err := c.Append(testContext(t), stream, esclient.Any, numbered(from, to)...)
	require.NoError(t, err)
}

func eventually(t testing.TB, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, 5*time.Millisecond)
}
