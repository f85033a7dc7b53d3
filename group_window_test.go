package eventstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// endless are settings of a group whose messages do not time out.
func endless(change func(*esclient.PersistentSettings)) *esclient.PersistentSettings {
	s := eventstore.DefaultGroupSettings()
	change(&s)
	return &s
}

// mostInFlight consumes n messages, each in the given time, and returns the largest number in flight that it has seen.
func mostInFlight(
	t *testing.T, srv *estest.Server, messages <-chan *message.Message, n int, handle time.Duration,
) (most int) {
	t.Helper()
	for i := range n {
		msg := receive(t, messages)
		if require.Equal(t, fmt.Sprint(i), string(msg.Payload)); i%20 == 0 {
			time.Sleep(5 * time.Millisecond) // the server may push meanwhile
			most = max(most, groupStats(t, srv).InFlight)
		}
		time.Sleep(handle)
		msg.Ack()
	}
	return most
}

func TestTheDefaultWindowFollowsTheHandler(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg     eventstore.SubscriberConfig
		n, want int
		handle  time.Duration
	}{
		"quick": {n: 2000, want: eventstore.DefaultInFlight},
		"slow":  {n: 100, want: esclient.DefaultInFlight, handle: 12 * time.Millisecond},
		"few retries": {
			cfg: eventstore.SubscriberConfig{
				GroupSettings: endless(func(s *esclient.PersistentSettings) { s.MaxRetryCount = 3 }),
			},
			n: 1000, want: esclient.DefaultInFlight,
		},
		"pinned": {
			cfg: eventstore.SubscriberConfig{
				GroupSettings: endless(func(s *esclient.PersistentSettings) { s.Strategy = esclient.Pinned }),
			},
			n: 50, want: eventstore.DefaultInFlight, handle: 12 * time.Millisecond,
		},
		"given": {cfg: eventstore.SubscriberConfig{InFlight: 30}, n: 50, want: 30, handle: 12 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := numberedServer(t, estest.Persona2310, tc.n+eventstore.DefaultInFlight)
			tc.cfg.ConnectionString, tc.cfg.ConsumerGroup = srv.ConnectionString(), "g"
			messages := subscribe(t, newSubscriber(t, tc.cfg), "topic")
			most := mostInFlight(t, srv, messages, tc.n, tc.handle)
			if name == "quick" { // how quick depends on the machine
				assert.Greater(t, most, esclient.DefaultInFlight)
				assert.LessOrEqual(t, most, tc.want)
				return
			}
			assert.Equal(t, tc.want, most)
		})
	}
}

func TestBufferBytesLimitMessagesInFlight(t *testing.T) {
	t.Parallel()
	const n, size, fit = 100, 10_000, 8
	srv := embedded(t)
	for i := range n {
		_, err := srv.Append("topic", estest.Event{Type: "t", Data: fmt.Appendf(nil, "%*d", size, i)})
		require.NoError(t, err)
	}
	messages := subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
		ConnectionString: srv.ConnectionString(), ConsumerGroup: "g", InFlight: 50, BufferBytes: fit * size,
	}), "topic")
	for i := range n {
		msg := receive(t, messages)
		require.Equal(t, fmt.Sprintf("%*d", size, i), string(msg.Payload))
		if i == n/2 {
			require.Eventually(t, func() bool { return groupStats(t, srv).InFlight <= fit }, patience, time.Millisecond)
		}
		msg.Ack()
	}
	require.Eventually(t, func() bool { return groupStats(t, srv).InFlight == 0 }, patience, time.Millisecond)
}
