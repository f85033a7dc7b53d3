package esadmin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
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

var personas = []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310}

// manage returns a client of the server under test, for the user of the tests, and an administrator of the server.
func manage(t testing.TB, opts ...estest.Option) (*esclient.Client, *esadmin.Client) {
	t.Helper()
	url, web := undertest.Real(), ""
	if url == "" {
		srv := undertest.Run(t, opts...)
		url, web = srv.ConnectionString(), srv.HTTPURL()
	} else if len(opts) > 0 {
		t.Skip("starts a server with options of its own, and the one in " + undertest.ServerURL + " already runs")
	}
	m := administer(t, open(t, url, web))
	if _, err := m.Users(testContext(t)); undertest.Real() != "" && unanswered(err) {
		t.Skipf("administration needs HTTP, and the server does not answer there: set httpEndpoint in %s: %v",
			undertest.ServerURL, err)
	}
	return open(t, undertest.As(url), web), m
}

// unanswered reports whether there is no HTTP server at the configured address.
func unanswered(err error) bool {
	var failed *esadmin.HTTPError
	return errors.As(err, &failed) && failed.Status == 0
}

// manageOf starts a server of a version and returns it with an administrator of it.
func manageOf(t testing.TB, version estest.Persona) (*estest.Server, *esclient.Client, *esadmin.Client) {
	t.Helper()
	undertest.EmbeddedOnly(t)
	srv := undertest.Run(t, estest.WithPersona(version))
	c := open(t, srv.ConnectionString(), srv.HTTPURL())
	return srv, c, administer(t, c)
}

// answering returns an administrator of a server whose answers come from the test.
func answering(t testing.TB, answer http.HandlerFunc) *esadmin.Client {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	return managing(t, esclient.Config{Address: "127.0.0.1:1", HTTPEndpoint: srv.URL})
}

// managing returns an administrator with a configuration.
func managing(t testing.TB, cfg esclient.Config) *esadmin.Client {
	t.Helper()
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return administer(t, c)
}

func administer(t testing.TB, c *esclient.Client) *esadmin.Client {
	t.Helper()
	m, err := esadmin.New(c)
	require.NoError(t, err)
	return m
}

// open returns a client with a connection string. The HTTP interface is at web, unless the string has another one.
func open(t testing.TB, url, web string) *esclient.Client {
	t.Helper()
	cfg, err := esclient.ParseConnectionString(url)
	require.NoError(t, err)
	if cfg.HTTPEndpoint == "" {
		cfg.HTTPEndpoint = web
	}
	cfg.ReconnectDelay, cfg.MaxReconnectDelay = time.Millisecond, 20*time.Millisecond
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var (
	run    = time.Now().UnixNano()
	unique atomic.Int64
)

// name returns a name that no other test and no earlier run on the same server has.
func name(what string) string { return fmt.Sprintf("%s-%x-%d", what, run, unique.Add(1)) }

// fromStart returns the settings of a group that begins with the first event.
func fromStart() esclient.PersistentSettings {
	s := esclient.DefaultPersistentSettings()
	s.StartFrom = 0
	return s
}

// group creates a group on its own stream.
func group(t testing.TB, c *esclient.Client, s esclient.PersistentSettings) (stream, group string) {
	t.Helper()
	stream, group = name("s"), "group"
	require.NoError(t, c.CreatePersistent(asAdmin(testContext(t)), stream, group, s))
	return stream, group
}

// appendWords appends events with the numbers from from to to as data, in one append.
func appendWords(t testing.TB, c *esclient.Client, stream string, from, to int) {
	t.Helper()
	var events []esclient.EventData
	for _, w := range words(from, to) {
		events = append(events, esclient.EventData{Type: "numbered", Data: []byte(w)})
	}
	_, err := c.Append(testContext(t), stream, esclient.Any, events...)
	require.NoError(t, err)
}

func words(from, to int) (w []string) {
	for n := from; n <= to; n++ {
		w = append(w, fmt.Sprint(n))
	}
	return w
}

func subscribe(
	t testing.TB, c *esclient.Client, stream, group string, opts esclient.PersistentOptions,
) *esclient.PersistentSubscription {
	t.Helper()
	p, err := c.ConnectPersistent(testContext(t), stream, group, opts)
	require.NoError(t, err)
	return p
}

// consume acks the next n events and returns their data.
func consume(t testing.TB, p *esclient.PersistentSubscription, n int) (data []string) {
	t.Helper()
	for range n {
		e, err := p.Next(testContext(t))
		require.NoError(t, err)
		data = append(data, string(e.Data))
		require.NoError(t, p.Ack(e))
	}
	return data
}

// nothingMore waits a moment for an event that must not come.
func nothingMore(t testing.TB, next func(context.Context) (*esclient.Event, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	e, err := next(ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Nil(t, e)
}

func eventually(t testing.TB, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, time.Minute, 5*time.Millisecond)
}
