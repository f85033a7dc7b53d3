package esclient_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// serverURL names a real server to run the tests on; without it each test has an embedded one.
const serverURL = "WATERMILL_TEST_EVENTSTORE_URL"

// connect returns a client of the server under test.
func connect(t testing.TB) *esclient.Client {
	t.Helper()
	return connectWith(t, func(*esclient.Config) {})
}

// connectWith is connect with a configuration that is adapted.
func connectWith(t testing.TB, change func(*esclient.Config)) *esclient.Client {
	t.Helper()
	url := os.Getenv(serverURL)
	if url == "" {
		url = estest.Run(t).ConnectionString()
	}
	return openWith(t, url, change)
}

// embedded returns an embedded server, for tests that need control of it, and a client.
func embedded(t testing.TB, opts ...estest.Option) (*estest.Server, *esclient.Client) {
	t.Helper()
	if os.Getenv(serverURL) != "" {
		t.Skip("needs control of the server, which a server given by " + serverURL + " does not offer")
	}
	srv := estest.Run(t, opts...)
	return srv, open(t, srv.ConnectionString())
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
