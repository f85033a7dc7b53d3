package esprom_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esprom"
)

// hotPath returns the frequent calls of a Hook: those without errors, and those for a failed operation.
func hotPath(t testing.TB) map[string]func() {
	t.Helper()
	hook, err := esprom.NewHook(esprom.HookConfig{Streams: []string{"orders"}})
	require.NoError(t, err)
	m := measure(t, esprom.HookConfig{})
	s, err := m.client.SubscribeVolatile(testContext(t), "orders", esclient.VolatileOptions{})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	ctx := context.Background()
	operation := esclient.OperationInfo{
		Command: "WriteEvents", Stream: "orders-17", Sent: 100, Received: 50, Duration: time.Millisecond,
	}
	failed := operation
	failed.Err = &esclient.OperationError{Err: &esclient.WrongExpectedVersionError{Stream: "orders-17"}}
	event := &esclient.Event{
		Stream: "orders", Number: 7, Data: []byte("{}"), Created: esclient.TimestampOf(time.Now()), RetryCount: 1,
	}
	subscription := esclient.SubscriptionInfo{
		Subscription: s, Stream: "orders", Group: "billing", Event: event, Action: esclient.NackPark,
	}
	return map[string]func(){
		"operation": func() {
			hook.OnOperationEnded(hook.OnOperationStarted(ctx, operation), operation)
		},
		"failed operation": func() {
			hook.OnOperationEnded(hook.OnOperationStarted(ctx, failed), failed)
		},
		"delivered": func() { hook.OnDelivered(subscription) },
		"acked":     func() { hook.OnAcked(subscription) },
		"parked": func() {
			hook.OnNacked(subscription)
			hook.OnParked(subscription)
		},
	}
}

func TestCountingAllocatesNothing(t *testing.T) {
	for what, do := range hotPath(t) {
		do() // the first of its labels
		assert.Zero(t, testing.AllocsPerRun(100, do), what)
	}
}

func BenchmarkHook(b *testing.B) {
	for what, do := range hotPath(b) {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				do()
			}
		})
	}
}

// BenchmarkCollect is a scrape that meets a hundred subscriptions.
func BenchmarkCollect(b *testing.B) {
	m := measure(b, esprom.HookConfig{})
	for range 100 {
		s, err := m.client.SubscribeVolatile(testContext(b), "orders", esclient.VolatileOptions{})
		require.NoError(b, err)
		defer s.Stop()
	}
	b.ReportAllocs()
	for b.Loop() {
		_, err := m.registry.Gather()
		require.NoError(b, err)
	}
}
