package eventstore_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// personas are the versions whose groups differ.
var personas = []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310}

// overPersonas runs a test on a server of each version.
func overPersonas(t *testing.T, f func(t *testing.T, srv *estest.Server, clock *estest.Clock)) {
	t.Helper()
	for _, p := range personas {
		t.Run(string(p), func(t *testing.T) {
			clock := estest.NewClock(time.Time{})
			f(t, embedded(t, estest.WithPersona(p), estest.WithClock(clock)), clock)
		})
	}
}

// groupStats returns the counters of the only group.
func groupStats(t testing.TB, srv *estest.Server) estest.GroupStats {
	t.Helper()
	groups := srv.Stats().Groups
	require.Len(t, groups, 1)
	return groups[0]
}

// TestADayOfFailuresParksNothing has handlers that fail for a day. No message that waits behind the failing one times
// out at the server.
func TestADayOfFailuresParksNothing(t *testing.T) {
	overPersonas(t, func(t *testing.T, srv *estest.Server, clock *estest.Clock) {
		sub := newSubscriber(t, eventstore.SubscriberConfig{
			ConnectionString: srv.ConnectionString(), ConsumerGroup: "g",
		})
		const n = 30
		publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{
			ConnectionString: srv.ConnectionString(),
		}), "topic", 1, n)
		messages := subscribe(t, sub, "topic")
		var failures atomic.Int64
		var healthy atomic.Bool
		acked := make(chan string, n)
		go func() {
			for msg := range messages {
				if !healthy.Load() {
					failures.Add(1)
					msg.Nack()
					continue
				}
				acked <- string(msg.Payload)
				msg.Ack()
			}
		}()
		for hour := range 24 {
			clock.Advance(time.Hour)
			before := failures.Load()
			require.Eventually(t, func() bool { return failures.Load() > before }, patience, time.Millisecond, hour)
		}
		healthy.Store(true)
		got := make(map[string]bool)
		for len(got) < n {
			payload := <-acked
			assert.False(t, got[payload], "%s is handed out again after its ack", payload)
			got[payload] = true
		}
		require.Eventually(t, func() bool { return groupStats(t, srv).InFlight == 0 }, patience, time.Millisecond)
		assert.Zero(t, groupStats(t, srv).Parked)
		assert.Empty(t, acked)
	})
}

func TestAHandlerMayTakeADay(t *testing.T) {
	overPersonas(t, func(t *testing.T, srv *estest.Server, clock *estest.Clock) {
		sub := newSubscriber(t, eventstore.SubscriberConfig{
			ConnectionString: srv.ConnectionString(), ConsumerGroup: "g",
		})
		publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{
			ConnectionString: srv.ConnectionString(),
		}), "topic", 1, 2)
		messages := subscribe(t, sub, "topic")
		msg := receive(t, messages)
		clock.Advance(24 * time.Hour)
		assert.Equal(t, int64(2), groupStats(t, srv).Processed, "nothing is delivered again")
		msg.Ack()
		assert.Equal(t, []string{"2"}, consume(t, messages, 1))
		require.Eventually(t, func() bool { return groupStats(t, srv).InFlight == 0 }, patience, time.Millisecond)
		assert.Zero(t, groupStats(t, srv).Parked)
	})
}

func TestDefaultGroupSettingsAreTheLargest(t *testing.T) {
	s := eventstore.DefaultGroupSettings()
	assert.Equal(t, int64(1<<31-1), s.MessageTimeout.Milliseconds())
	assert.Equal(t, 1<<31-1, s.MaxRetryCount)
	s.StartFrom, s.MessageTimeout, s.MaxRetryCount = -1, 30*time.Second, 10
	assert.Equal(t, esclient.DefaultPersistentSettings(), s, "but for these they are the reference client's")
}
