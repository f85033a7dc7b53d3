package eventstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

func TestRepeatedNacksOfAMessageBackOff(t *testing.T) {
	t.Parallel()
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	both(t, func(t *testing.T, concurrency int) {
		topic := name("backoff")
		publishNumbered(t, pub, topic, 1, 2)
		const first, limit = 20 * time.Millisecond, 100 * time.Millisecond
		sub := newSubscriber(t, eventstore.SubscriberConfig{
			Client: c, ConsumerGroup: "g", Concurrency: concurrency, NackDelay: first, MaxNackDelay: limit,
		})
		messages := subscribe(t, sub, topic)
		for _, number := range []string{"1", "2"} { // each message begins with NackDelay
			for n, least := range []time.Duration{first, first * 3 / 2, first * 3, limit * 3 / 4} {
				msg := receive(t, messages)
				require.Equal(t, number, string(msg.Payload))
				nacked := time.Now()
				msg.Nack()
				msg = receive(t, messages)
				require.Equal(t, number, string(msg.Payload), "no other of its key comes before")
				waited := time.Since(nacked)
				assert.GreaterOrEqual(t, waited, least, "after %d nacks", 2*n+1)
				if n == 3 {
					msg.Ack()
					break
				}
				msg.Nack()
			}
		}
	})
}

func TestNacksAreLoggedAtTheFirstTheTenthTheHundredth(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	both(t, func(t *testing.T, concurrency int) {
		topic := name("log")
		publishNumbered(t, pub, topic, 1, 1)
		sub, log := newLogged(t, eventstore.SubscriberConfig{
			Client: c, ConsumerGroup: "g", Concurrency: concurrency, NackDelay: -1,
		})
		messages := subscribe(t, sub, topic)
		for range 110 {
			receive(t, messages).Nack()
		}
		last := receive(t, messages)
		last.Ack()
		var counts []any
		for _, line := range logged(log, "Message nacked") {
			assert.Equal(t, last.UUID, line.Fields["message_uuid"])
			counts = append(counts, line.Fields["nacks"])
		}
		assert.Equal(t, []any{1, 10, 100}, counts)
	})
}

func TestAWaitAfterANackEndsWithTheSubscription(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	both(t, func(t *testing.T, concurrency int) {
		for _, cfg := range []eventstore.SubscriberConfig{{ConsumerGroup: "g"}, {Mode: eventstore.ModeCatchUp}} {
			topic := name("wait")
			publishNumbered(t, pub, topic, 1, 2)
			cfg.Client, cfg.Concurrency, cfg.NackDelay, cfg.AckGrace = c, concurrency, time.Hour, time.Hour
			messages, end := subscribeUntil(t, newSubscriber(t, cfg), topic)
			receive(t, messages).Nack()
			silence(t, messages)
			end()
			closes(t, messages)
		}
	})
}
