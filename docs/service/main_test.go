package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// If a Router cannot be started, it waits for ever for its handlers, which it did not start either.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(
		"github.com/ThreeDotsLabs/watermill/message.(*Router).watchAllHandlersStopped.func1"))
}

func TestThePageHasThisProgram(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	page, err := os.ReadFile("../service.md")
	require.NoError(t, err)
	assert.Contains(t, string(page), "```go\n"+string(source)+"```\n", "copy main.go into the page")
}

// service is the program while it runs.
type service struct {
	t     *testing.T
	url   string
	spans bytes.Buffer // to be read when it has ended
	stop  func() error // may be called more than once
}

// start runs the program until stop is called or the test ends.
func start(t *testing.T, eventStore, file string) *service {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &service{t: t, url: "http://" + listener.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, eventStore, file, listener, &s.spans) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = s.stop() })
	return s
}

// request returns the status and the body of an answer.
func (s *service) request(method, path string) (status int, body string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, http.NoBody)
	if !assert.NoError(s.t, err) {
		return 0, ""
	}
	resp, err := client.Do(req)
	if !assert.NoError(s.t, err) {
		return 0, ""
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	assert.NoError(s.t, err)
	return resp.StatusCode, string(read)
}

// waitFor waits until a GET request is answered with a status and a body that contains a text.
func (s *service) waitFor(path string, status int, text string) {
	s.t.Helper()
	require.EventuallyWithT(s.t, func(c *assert.CollectT) {
		got, body := s.request(http.MethodGet, path)
		assert.Equal(c, status, got)
		assert.Contains(c, body, text)
	}, time.Minute, 10*time.Millisecond)
}

func (s *service) order(customer string) {
	s.t.Helper()
	status, body := s.request(http.MethodPost, "/orders/"+customer)
	require.Equal(s.t, http.StatusCreated, status, body)
}

func TestTheServiceShipsAndCountsOrders(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	eventStore := server.ConnectionString() + "?httpEndpoint=" + server.HTTPAddr()
	file := filepath.ToSlash(filepath.Join(t.TempDir(), "orders.db"))
	client, err := esclient.Open(server.ConnectionString())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })

	first := start(t, eventStore, file)
	first.waitFor("/ready", http.StatusNoContent, "")
	first.order("ann")
	first.order("ben")
	first.waitFor("/totals/ann", http.StatusOK, "1")
	first.waitFor("/totals/ben", http.StatusOK, "1")
	first.waitFor("/metrics", http.StatusOK, `eventstore_subscription_acked_total{`)
	first.waitFor("/metrics", http.StatusOK, "eventstore_groups_up 1")
	require.NoError(t, first.stop())
	for _, span := range []string{"send orders", "process orders", "send shipments", "WriteEvents"} {
		assert.Contains(t, first.spans.String(), `"Name":"`+span+`"`)
	}

	// What is no order stops nothing. The second process goes on where the first one was.
	other := esclient.EventData{Type: "other", Data: []byte("no order")}
	_, err = client.Append(t.Context(), "orders", esclient.Any, other)
	require.NoError(t, err)
	second := start(t, eventStore, file)
	second.order("ann")
	second.waitFor("/totals/ann", http.StatusOK, "2")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		shipped := make(map[string]int)
		for e, err := range client.ReadStream(t.Context(), "shipments", esclient.ReadOptions{}) {
			require.NoError(c, err)
			shipped[string(e.Data)]++
		}
		assert.GreaterOrEqual(c, shipped[`{"customer":"ann"}`], 2)
		assert.GreaterOrEqual(c, shipped[`{"customer":"ben"}`], 1)
		assert.GreaterOrEqual(c, shipped["no order"], 1)
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, second.stop())
}

func TestTheServiceStopsWhileItWaitsForAServer(t *testing.T) {
	t.Parallel()
	proxy, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var proxying sync.WaitGroup
	t.Cleanup(proxying.Wait)
	t.Cleanup(func() { assert.NoError(t, proxy.Close()) })
	proxying.Go(func() { // no server is behind it
		for conn, err := proxy.Accept(); err == nil; conn, err = proxy.Accept() {
			assert.NoError(t, conn.Close())
		}
	})

	file := filepath.ToSlash(filepath.Join(t.TempDir(), "orders.db"))
	s := start(t, "tcp://admin:changeit@"+proxy.Addr().String(), file)
	s.waitFor("/ready", http.StatusServiceUnavailable, "not complete")
	s.waitFor("/metrics", http.StatusOK, "eventstore_client_reconnects_total")
	assert.NoError(t, s.stop())
}
