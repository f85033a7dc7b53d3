package esclient_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// The users and the parked events of the server under test; see package undertest.
var (
	asAdmin       = undertest.AsAdmin
	asOps         = undertest.AsOps
	trusts        = undertest.Trusts
	needsRefusals = undertest.NeedsRefusals
	park          = undertest.Park
	readParked    = undertest.ReadParked
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
	require.Eventually(t, condition, patience, 5*time.Millisecond)
}
