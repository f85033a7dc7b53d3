package esprom_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/esprom"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// observedGroups is a server whose groups a registry tells of, and how many requests for them it got.
type observedGroups struct {
	*measured
	groups   *esprom.Groups
	requests atomic.Int64
	hang     chan struct{} // requests wait until it is closed; nil for none
}

func observeGroups(t *testing.T, cfg esprom.GroupsConfig, hang bool, options ...estest.Option) *observedGroups {
	t.Helper()
	o := &observedGroups{measured: measure(t, esprom.HookConfig{}, options...)}
	target := &url.URL{Scheme: "http", Host: o.srv.HTTPAddr()}
	transport := &http.Transport{DisableKeepAlives: true}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	if hang {
		o.hang = make(chan struct{})
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.requests.Add(1)
		if o.hang != nil {
			select {
			case <-o.hang:
			case <-r.Context().Done():
				return
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	config, err := esclient.ParseConnectionString(o.srv.ConnectionString())
	require.NoError(t, err)
	config.HTTPEndpoint = front.URL
	client, err := esclient.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	admin, err := esadmin.New(client)
	require.NoError(t, err)
	o.groups, err = esprom.NewGroups(admin, cfg)
	require.NoError(t, err)
	o.registry = prometheus.NewPedanticRegistry()
	o.registry.MustRegister(o.groups)
	return o
}

// consume takes events of a new group, and settles none of them.
func (o *observedGroups) consume(t *testing.T, stream, group string, events int) *esclient.PersistentSubscription {
	t.Helper()
	ctx := testContext(t)
	require.NoError(t, o.client.CreatePersistent(ctx, stream, group, fromStart()))
	p, err := o.client.ConnectPersistent(ctx, stream, group, esclient.PersistentOptions{InFlight: 2})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	for range events {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		require.NoError(t, p.Nack(esclient.NackPark, "no good", e))
	}
	return p
}

func TestGroupsReportTheServersNumbers(t *testing.T) {
	t.Parallel()
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		o := observeGroups(t, esprom.GroupsConfig{CacheFor: time.Nanosecond}, false, estest.WithPersona(persona))
		o.put(t, "orders", 5)
		o.consume(t, "orders", "billing", 1)
		of := []string{"stream", "orders", "group", "billing"}
		o.reaches(t, 1, "eventstore_groups_up")
		o.reaches(t, 0, "eventstore_groups_left_out")
		o.reaches(t, 1, "eventstore_group_subscribers", of...)
		o.reaches(t, 2, "eventstore_group_in_flight", of...)
		o.reaches(t, 5, "eventstore_group_lag_events", of...)
		o.reaches(t, 3, "eventstore_group_processed_total", of...)
		parked, ok := value(t, o.registry, "eventstore_group_parked", of...)
		if persona == estest.Persona2310 {
			o.reaches(t, 1, "eventstore_group_parked", of...)
		} else {
			assert.False(t, ok, "%v does not tell, but has %v", persona, parked)
		}
		assert.NoError(t, o.groups.Err())
		problems, err := testutil.GatherAndLint(o.registry)
		require.NoError(t, err)
		assert.Empty(t, problems)
	}
}

func TestOnlyTheNamedGroupsAreAskedFor(t *testing.T) {
	t.Parallel()
	o := observeGroups(t, esprom.GroupsConfig{Groups: []esprom.GroupName{
		{Stream: "a", Group: "g"}, {Stream: "missing", Group: "g"},
	}}, false)
	o.consume(t, "a", "g", 0)
	o.consume(t, "b", "g", 0)
	o.reaches(t, 1, "eventstore_groups_up")
	_, ok := value(t, o.registry, "eventstore_group_subscribers", "stream", "a", "group", "g")
	assert.True(t, ok)
	for _, stream := range []string{"b", "missing"} {
		_, ok := value(t, o.registry, "eventstore_group_subscribers", "stream", stream)
		assert.False(t, ok, stream)
	}
	assert.Equal(t, int64(2), o.requests.Load())
}

func TestGroupsBeyondTheLimitAreCounted(t *testing.T) {
	t.Parallel()
	o := observeGroups(t, esprom.GroupsConfig{MaxGroups: 2}, false)
	for _, stream := range []string{"c", "a", "b"} {
		o.consume(t, stream, "g", 0)
	}
	o.reaches(t, 1, "eventstore_groups_left_out")
	for stream, want := range map[string]bool{"a": true, "b": true, "c": false} {
		_, ok := value(t, o.registry, "eventstore_group_subscribers", "stream", stream)
		assert.Equal(t, want, ok, stream)
	}
}

func TestScrapesShareOneAnswer(t *testing.T) {
	t.Parallel()
	o := observeGroups(t, esprom.GroupsConfig{CacheFor: time.Hour}, false)
	o.consume(t, "a", "g", 0)
	var scrapes sync.WaitGroup
	for range 8 {
		scrapes.Go(func() {
			_, err := o.registry.Gather()
			assert.NoError(t, err)
		})
	}
	scrapes.Wait()
	assert.Equal(t, int64(2), o.requests.Load(), "the list, and the group")
}

func TestAScrapeDoesNotWaitForAServerThatHangs(t *testing.T) {
	t.Parallel()
	o := observeGroups(t, esprom.GroupsConfig{Timeout: 50 * time.Millisecond, CacheFor: time.Nanosecond}, true)
	o.consume(t, "a", "g", 0)
	o.reaches(t, 0, "eventstore_groups_up")
	require.ErrorIs(t, o.groups.Err(), context.DeadlineExceeded)
	_, ok := value(t, o.registry, "eventstore_group_subscribers")
	assert.False(t, ok)
	_, ok = value(t, o.registry, "eventstore_groups_collect_seconds")
	assert.True(t, ok)
	close(o.hang)
	o.reaches(t, 1, "eventstore_groups_up")
	assert.NoError(t, o.groups.Err())
}

func TestAServerWithoutHTTPIsNotUp(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{})
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	client, err := esclient.New(esclient.Config{Address: m.srv.Addr(), HTTPEndpoint: l.Addr().String()})
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, l.Close())
	admin, err := esadmin.New(client)
	require.NoError(t, err)
	groups, err := esprom.NewGroups(admin, esprom.GroupsConfig{})
	require.NoError(t, err)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(groups)
	up, ok := value(t, registry, "eventstore_groups_up")
	assert.True(t, ok)
	assert.Zero(t, up)
	assert.Error(t, groups.Err())
}

func TestUselessConfigurationsOfGroupsAreRefused(t *testing.T) {
	t.Parallel()
	_, err := esprom.NewGroups(nil, esprom.GroupsConfig{})
	assert.ErrorIs(t, err, esprom.ErrInvalidConfig)
	for _, cfg := range []esprom.GroupsConfig{
		{MaxGroups: -1},
		{Timeout: -1},
		{CacheFor: -1},
		{Groups: []esprom.GroupName{{Stream: "s"}}},
		{Groups: []esprom.GroupName{{Stream: "s", Group: "g"}, {Stream: "s", Group: "g"}}},
	} {
		_, err := esprom.NewGroups(new(esadmin.Client), cfg)
		assert.ErrorIs(t, err, esprom.ErrInvalidConfig)
	}
}
