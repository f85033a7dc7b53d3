package esprom_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/esprom"
)

func fromStart() esclient.PersistentSettings {
	s := esclient.DefaultPersistentSettings()
	s.StartFrom = 0
	return s
}

func TestOperationsAreMeasuredByCommandAndResult(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{})
	ctx := testContext(t)
	event := esclient.EventData{Type: "t", Data: []byte(strings.Repeat("x", 1000))}
	for range 3 {
		_, err := m.client.Append(ctx, "s", esclient.Any, event)
		require.NoError(t, err)
	}
	_, err := m.client.Append(ctx, "s", 77, event)
	require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	_, err = m.client.ReadEvent(ctx, "nothing", 0, esclient.ReadEventOptions{})
	require.ErrorIs(t, err, esclient.ErrStreamNotFound)
	_, err = m.client.ReadEvent(ctx, "s", 0, esclient.ReadEventOptions{})
	require.NoError(t, err)

	const durations = "eventstore_client_operation_duration_seconds"
	m.reaches(t, 3, durations, "command", "WriteEvents", "result", "ok")
	m.reaches(t, 1, durations, "command", "WriteEvents", "result", "wrong_expected_version")
	m.reaches(t, 1, durations, "command", "ReadEvent", "result", "stream_not_found")
	m.reaches(t, 1, durations, "command", "ReadEvent", "result", "ok")
	m.reaches(t, 0, "eventstore_client_operations_in_flight", "command", "WriteEvents")
	sent, _ := value(t, m.registry, "eventstore_client_operation_sent_bytes_total", "command", "WriteEvents")
	assert.Greater(t, sent, 4000.0)
	assert.Less(t, sent, 4800.0)
	received, _ := value(t, m.registry, "eventstore_client_operation_received_bytes_total", "command", "ReadEvent")
	assert.Greater(t, received, 1000.0)
	m.reaches(t, 1, "eventstore_client_connections")
	m.reaches(t, 1, "eventstore_client_connects_total")
}

func TestOperationsInFlightRetriesAndConnectionsAreCounted(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{})
	ctx := testContext(t)
	require.NoError(t, m.client.Connect(ctx))
	m.srv.Pause()
	read := make(chan error, 1)
	go func() {
		_, err := m.client.ReadEvent(ctx, "s", 0, esclient.ReadEventOptions{})
		read <- err
	}()
	m.reaches(t, 1, "eventstore_client_operations_in_flight", "command", "ReadEvent")
	m.srv.DropConnections()
	m.srv.Resume()
	require.ErrorIs(t, <-read, esclient.ErrStreamNotFound)
	m.reaches(t, 0, "eventstore_client_operations_in_flight", "command", "ReadEvent")
	m.reaches(t, 1, "eventstore_client_retries_total", "command", "ReadEvent", "reason", "connection")
	m.reaches(t, 1, "eventstore_client_disconnects_total", "reason", "connection")
	m.reaches(t, 2, "eventstore_client_connects_total")
	m.reaches(t, 1, "eventstore_client_connections")
	reconnects, _ := value(t, m.registry, "eventstore_client_reconnects_total")
	assert.Positive(t, reconnects)
	require.NoError(t, m.client.Close())
	m.reaches(t, 0, "eventstore_client_connections")
	m.reaches(t, 1, "eventstore_client_disconnects_total", "reason", "closed")
}

func TestRefusedCredentialsAreCounted(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{})
	hook, err := esprom.NewHook(esprom.HookConfig{})
	require.NoError(t, err)
	registry := prometheus.NewRegistry()
	registry.MustRegister(hook)
	client, err := esclient.New(esclient.Config{
		Address: m.srv.Addr(), Credentials: &esclient.Credentials{Login: "admin", Password: "wrong"},
		Hooks: []esclient.Hook{hook},
	})
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Ping(testContext(t))
	require.ErrorIs(t, err, esclient.ErrNotAuthenticated)
	require.Eventually(t, func() bool {
		v, _ := value(t, registry, "eventstore_client_authentication_failures_total")
		return v > 0
	}, 20*time.Second, time.Millisecond)
}

func TestGroupsConsumersAreMeasured(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{Streams: []string{"orders"}})
	ctx := testContext(t)
	require.NoError(t, m.client.CreatePersistent(ctx, "orders", "billing", fromStart()))
	m.put(t, "orders", 6)
	p, err := m.client.ConnectPersistent(ctx, "orders", "billing", esclient.PersistentOptions{})
	require.NoError(t, err)
	of := []string{"stream", "orders", "group", "billing"}
	m.reaches(t, 6, "eventstore_subscription_queue_length", of...)
	seconds, ok := value(t, m.registry, "eventstore_subscription_lag_seconds", of...)
	assert.True(t, ok)
	assert.Positive(t, seconds, "event 0 waits")
	_, ok = value(t, m.registry, "eventstore_subscription_lag_events", of...)
	assert.False(t, ok, "nothing was delivered")

	var held []*esclient.Event
	for range 2 {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		held = append(held, e)
	}
	m.reaches(t, 4, "eventstore_subscription_lag_events", of...)
	for range 4 {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		held = append(held, e)
	}
	m.reaches(t, 0, "eventstore_subscription_lag_events", of...)
	m.reaches(t, 0, "eventstore_subscription_lag_seconds", of...)
	m.reaches(t, 0, "eventstore_subscription_queue_length", of...)
	require.NoError(t, p.Ack(held[:2]...))
	require.NoError(t, p.Nack(esclient.NackPark, "no good", held[2]))
	require.NoError(t, p.Nack(esclient.NackSkip, "", held[3], held[4]))
	require.NoError(t, p.Nack(esclient.NackRetry, "later", held[5]))
	again, err := p.Next(ctx)
	require.NoError(t, err)
	require.NoError(t, p.Ack(again))

	m.reaches(t, 7, "eventstore_subscription_delivered_total", of...)
	m.reaches(t, 7*9, "eventstore_subscription_delivered_bytes_total", of...)
	m.reaches(t, 7, "eventstore_subscription_delivery_delay_seconds", of...)
	m.reaches(t, 1, "eventstore_subscription_redelivered_total", of...)
	m.reaches(t, 3, "eventstore_subscription_acked_total", of...)
	for action, n := range map[string]float64{"park": 1, "skip": 2, "retry": 1, "stop": 0} {
		m.reaches(t, n, "eventstore_subscription_nacked_total", append(of, "action", action)...)
	}
	m.reaches(t, 1, "eventstore_subscription_parked_total", of...)
	m.reaches(t, 2, "eventstore_subscription_skipped_total", of...)

	m.srv.DropConnections()
	m.reaches(t, 1, "eventstore_subscription_dropped_total", append(of, "reason", "connection")...)
	m.reaches(t, 2, "eventstore_subscription_confirmations_total", of...)
	m.reaches(t, 1, "eventstore_subscription_active", of...)
	require.NoError(t, p.Stop(ctx))
	m.reaches(t, 0, "eventstore_subscription_active", of...)
	m.reaches(t, 1, "eventstore_subscription_ended_total", append(of, "reason", "stopped")...)
	_, ok = value(t, m.registry, "eventstore_subscription_lag_seconds", of...)
	assert.False(t, ok, "there is no consumer")
}

func TestAConsumerThatHangsHasALagThatGrows(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{Streams: []string{"orders"}})
	ctx := testContext(t)
	m.put(t, "orders", 3)
	s, err := m.client.SubscribeCatchUp(ctx, "orders", esclient.CatchUpOptions{})
	require.NoError(t, err)
	of := []string{"stream", "orders", "group", ""}
	_, err = s.Next(ctx)
	require.NoError(t, err)
	m.reaches(t, 2, "eventstore_subscription_lag_events", of...)
	m.reaches(t, 2, "eventstore_subscription_queue_length", of...)
	before, _ := value(t, m.registry, "eventstore_subscription_lag_seconds", of...)
	require.Eventually(t, func() bool {
		now, _ := value(t, m.registry, "eventstore_subscription_lag_seconds", of...)
		return now > before
	}, 20*time.Second, time.Millisecond, "though nothing is delivered")

	next, cancel := context.WithCancel(ctx)
	go func() {
		<-s.CaughtUp()
		cancel()
	}()
	for {
		if _, err = s.Next(next); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, context.Canceled)
	m.reaches(t, 0, "eventstore_subscription_lag_events", of...)
	m.reaches(t, 0, "eventstore_subscription_lag_seconds", of...)
	m.put(t, "orders", 5)
	m.reaches(t, 5, "eventstore_subscription_lag_events", of...)
	m.reaches(t, 5, "eventstore_subscription_queue_length", of...)
	s.Stop()
	m.reaches(t, 0, "eventstore_subscription_active", of...)
}

func TestSubscriptionsOfOneStreamAreAddedUp(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{Streams: []string{"orders"}})
	ctx := testContext(t)
	m.put(t, "orders", 3)
	for n := range 2 {
		s, err := m.client.SubscribeCatchUp(ctx, "orders", esclient.CatchUpOptions{})
		require.NoError(t, err)
		defer s.Stop()
		for range n + 1 {
			_, err = s.Next(ctx)
			require.NoError(t, err)
		}
	}
	of := []string{"stream", "orders", "group", ""}
	m.reaches(t, 2, "eventstore_subscription_active", of...)
	m.reaches(t, 2, "eventstore_subscription_lag_events", of...)
	m.reaches(t, 3, "eventstore_subscription_queue_length", of...)
}

func TestAllStreamsHaveALagInSeconds(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{})
	ctx := testContext(t)
	m.put(t, "orders", 3)
	s, err := m.client.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{})
	require.NoError(t, err)
	defer s.Stop()
	_, err = s.Next(ctx)
	require.NoError(t, err)
	of := []string{"stream", "$all", "group", ""}
	m.reaches(t, 1, "eventstore_subscription_active", of...)
	seconds, ok := value(t, m.registry, "eventstore_subscription_lag_seconds", of...)
	assert.True(t, ok)
	assert.Positive(t, seconds)
	_, ok = value(t, m.registry, "eventstore_subscription_lag_events", of...)
	assert.False(t, ok, "its events have no numbers")
}

// A goroutine in Next may tell of an event when another one has stopped the subscription.
func TestASubscriptionThatHasEndedIsForgotten(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{})
	hook, err := esprom.NewHook(esprom.HookConfig{})
	require.NoError(t, err)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(hook)
	s, err := m.client.SubscribeVolatile(testContext(t), "s", esclient.VolatileOptions{})
	require.NoError(t, err)
	late := esclient.SubscriptionInfo{Subscription: s, Stream: "s", Event: &esclient.Event{Stream: "s"}}
	hook.OnDelivered(late)
	active, _ := value(t, registry, "eventstore_subscription_active")
	assert.InDelta(t, 1, active, 0)
	s.Stop()
	hook.OnDelivered(late)
	active, ok := value(t, registry, "eventstore_subscription_active")
	assert.True(t, ok)
	assert.Zero(t, active)
}

func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{Streams: []string{"listed"}, MaxSubscriptions: 4})
	ctx := testContext(t)
	for _, stream := range []string{"listed", esclient.AllStream, "order-1", "order-2", "order-3"} {
		s, err := m.client.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{})
		require.NoError(t, err)
		defer s.Stop()
	}
	m.reaches(t, 1, "eventstore_subscription_active", "stream", "listed", "group", "")
	m.reaches(t, 1, "eventstore_subscription_active", "stream", "$all", "group", "")
	m.reaches(t, 3, "eventstore_subscription_active", "stream", "other", "group", "")
	for _, group := range []string{"a", "b", "c"} {
		require.NoError(t, m.client.CreatePersistent(ctx, "listed", group, fromStart()))
		p, err := m.client.ConnectPersistent(ctx, "listed", group, esclient.PersistentOptions{})
		require.NoError(t, err)
		defer p.Stop(ctx)
	}
	m.reaches(t, 1, "eventstore_subscription_active", "stream", "listed", "group", "a")
	m.reaches(t, 2, "eventstore_subscription_active", "stream", "other", "group", "other")
}

func TestAFunctionMakesTheLabelOfAStream(t *testing.T) {
	t.Parallel()
	category := func(stream string) string {
		if stream == "bad-1" {
			return "\xff"
		}
		before, _, _ := strings.Cut(stream, "-")
		return before
	}
	m := measure(t, esprom.HookConfig{StreamLabel: category})
	for _, stream := range []string{"order-1", "order-2", "bad-1"} {
		s, err := m.client.SubscribeVolatile(testContext(t), stream, esclient.VolatileOptions{})
		require.NoError(t, err)
		defer s.Stop()
	}
	m.reaches(t, 2, "eventstore_subscription_active", "stream", "order", "group", "")
	m.reaches(t, 1, "eventstore_subscription_active", "stream", "\uFFFD", "group", "")
}

func TestNamesFollowTheConventions(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{})
	ctx := testContext(t)
	_, err := m.client.Ping(ctx)
	require.NoError(t, err)
	s, err := m.client.SubscribeVolatile(ctx, "s", esclient.VolatileOptions{})
	require.NoError(t, err)
	defer s.Stop()
	problems, err := testutil.GatherAndLint(m.registry)
	require.NoError(t, err)
	assert.Empty(t, problems)
}

// descriptions returns the metrics of a collector, each with its labels.
func descriptions(c prometheus.Collector) (all []string) {
	to := make(chan *prometheus.Desc)
	go func() {
		c.Describe(to)
		close(to)
	}()
	form := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: {([^}]*)}`)
	for d := range to {
		m := form.FindStringSubmatch(d.String())
		all = append(all, m[1]+"{"+m[2]+"}")
	}
	return all
}

func TestTheDocumentationListsEachMetric(t *testing.T) {
	t.Parallel()
	hook, err := esprom.NewHook(esprom.HookConfig{})
	require.NoError(t, err)
	groups, err := esprom.NewGroups(new(esadmin.Client), esprom.GroupsConfig{})
	require.NoError(t, err)
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^//\t(eventstore_\w+)({\S*})?`).FindAllStringSubmatch(string(text), -1) {
		labels := strings.Trim(m[2], "{}")
		if strings.HasPrefix(m[1], "eventstore_subscription_") || strings.HasPrefix(m[1], "eventstore_group_") {
			labels = strings.TrimSuffix("stream,group,"+labels, ",")
		}
		listed = append(listed, m[1]+"{"+labels+"}")
	}
	assert.ElementsMatch(t, append(descriptions(hook), descriptions(groups)...), listed)
}

func TestUselessConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for _, cfg := range []esprom.HookConfig{
		{MaxSubscriptions: -1},
		{Streams: []string{"s"}, StreamLabel: strings.ToLower},
		{DurationBuckets: []float64{2, 1}},
		{DelayBuckets: []float64{1, 1}},
	} {
		_, err := esprom.NewHook(cfg)
		assert.ErrorIs(t, err, esprom.ErrInvalidConfig)
	}
}

// Everything at once: the race detector looks on.
func TestAScrapeMeetsSubscriptionsThatComeAndGo(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{})
	ctx := testContext(t)
	m.put(t, "s", 10)
	done := make(chan error, 4)
	for range cap(done) {
		go func() {
			for range 10 {
				s, err := m.client.SubscribeCatchUp(ctx, "s", esclient.CatchUpOptions{PageSize: 3})
				for n := 0; n < 10 && err == nil; n++ {
					_, err = s.Next(ctx)
				}
				if err != nil {
					done <- err
					return
				}
				s.Stop()
			}
			done <- nil
		}()
	}
	var errs []error
	for len(errs) < cap(done) {
		select {
		case err := <-done:
			errs = append(errs, err)
		default:
			_, err := m.registry.Gather()
			require.NoError(t, err)
		}
	}
	require.NoError(t, errors.Join(errs...))
	m.reaches(t, 400, "eventstore_subscription_delivered_total", "stream", "other", "group", "")
	m.reaches(t, 0, "eventstore_subscription_active", "stream", "other", "group", "")
}

// What makes a client leave out events is in the tests of esclient.
func TestEventsThatAreLeftOutAreCountedByTheReason(t *testing.T) {
	t.Parallel()
	m := measure(t, esprom.HookConfig{Streams: []string{"orders"}})
	hook, err := esprom.NewHook(esprom.HookConfig{Streams: []string{"orders"}})
	require.NoError(t, err)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(hook)
	s, err := m.client.SubscribeVolatile(testContext(t), "orders", esclient.VolatileOptions{})
	require.NoError(t, err)
	defer s.Stop()
	for reason, why := range map[string]error{
		"message_timeout": esclient.ErrMessageTimeout, "slow_consumer": esclient.ErrSlowConsumer,
		"too_large": &esclient.FrameTooLargeError{},
	} {
		hook.OnLeftOut(esclient.SubscriptionInfo{Subscription: s, Stream: "orders", Group: "billing", Err: why})
		n, ok := value(t, registry, "eventstore_subscription_left_out_total",
			"stream", "orders", "group", "billing", "reason", reason)
		assert.True(t, ok, reason)
		assert.InDelta(t, 1, n, 0, reason)
	}
}
