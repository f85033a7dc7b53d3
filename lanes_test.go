package eventstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

func keyOf(msg *message.Message) string { return strings.Split(string(msg.Payload), "/")[0] }

// publishKeyed publishes n messages for each of some keys, in turn; the payload is key/number.
func publishKeyed(t testing.TB, pub message.Publisher, topic string, keys, n int) {
	t.Helper()
	var messages []*message.Message
	for i := range n {
		for k := range keys {
			messages = append(messages, newMessage(fmt.Sprintf("%d/%d", k, i)))
		}
	}
	require.NoError(t, pub.Publish(topic, messages...))
}

func TestMessagesOfOneKeyStayInOrderAndOthersDoNotWait(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	for _, cfg := range []eventstore.SubscriberConfig{{ConsumerGroup: "g"}, {Mode: eventstore.ModeCatchUp}} {
		topic := name("lanes")
		publishKeyed(t, pub, topic, 5, 20)
		cfg.Client, cfg.Concurrency, cfg.Key, cfg.InFlight = c, 5, keyOf, 50
		messages := subscribe(t, newSubscriber(t, cfg), topic)

		// All five keys are in hand at once: with fewer this would not end.
		inHand := make(map[string]*message.Message)
		for range 5 {
			msg := receive(t, messages)
			require.Nil(t, inHand[keyOf(msg)], "two messages of one key at a time")
			inHand[keyOf(msg)] = msg
		}
		silence(t, messages)

		// One key may lag behind for ever, and one be nacked: the others go on.
		held := inHand["0"]
		delete(inHand, "0")
		inHand["1"].Nack()
		again := receive(t, messages)
		require.Equal(t, "1/0", string(again.Payload))
		inHand["1"] = again
		seen := map[string]int{}
		for _, msg := range inHand {
			assert.Equal(t, fmt.Sprintf("%s/0", keyOf(msg)), string(msg.Payload))
			seen[keyOf(msg)] = 1
			msg.Ack()
		}
		// As many as fit beside the key that waits, whose messages fill the places of the group in flight.
		for range 16 {
			msg := receive(t, messages)
			require.Equal(t, fmt.Sprintf("%s/%d", keyOf(msg), seen[keyOf(msg)]), string(msg.Payload))
			seen[keyOf(msg)]++
			msg.Ack()
		}
		held.Ack()
		seen["0"] = 1
		for range 100 - 21 {
			msg := receive(t, messages)
			require.Equal(t, fmt.Sprintf("%s/%d", keyOf(msg), seen[keyOf(msg)]), string(msg.Payload))
			seen[keyOf(msg)]++
			msg.Ack()
		}
		silence(t, messages)
	}
}

func TestTheKeyIsTheSourceStreamByDefault(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("key")
	publishNumbered(t, pub, topic, 1, 3)
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g", Concurrency: 4})
	messages := subscribe(t, sub, topic)
	first := receive(t, messages)
	silence(t, messages)
	first.Ack()
	assert.Equal(t, numbers(2, 3), consume(t, messages, 2))
}

func TestConcurrentHandlersLoseNothingAtTheEnd(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("end")
	publishKeyed(t, pub, topic, 10, 30)
	var mu sync.Mutex
	done := make(map[string]int)
	for round := 0; len(done) < 300; round++ {
		require.Less(t, round, 100)
		ctx, cancel := context.WithCancel(context.Background())
		sub := newSubscriber(t, eventstore.SubscriberConfig{
			Client: c, ConsumerGroup: "g", Concurrency: 8, Key: keyOf, InFlight: 40, AckGrace: patience,
		})
		messages, err := sub.Subscribe(ctx, topic)
		require.NoError(t, err)
		var handlers sync.WaitGroup
		for range 8 {
			handlers.Go(func() {
				for msg := range messages {
					mu.Lock()
					done[string(msg.Payload)]++
					if len(done)%40 == 0 {
						cancel()
					}
					mu.Unlock()
					msg.Ack()
				}
			})
		}
		time.AfterFunc(500*time.Millisecond, cancel) // the last round has no fortieth
		handlers.Wait()
		require.NoError(t, sub.Close())
	}
	for payload, n := range done {
		assert.Equal(t, 1, n, payload)
	}
}

// A handler that takes a millisecond: what Concurrency is for.
func BenchmarkConcurrency(b *testing.B) {
	c := openClient(b, connectionString(b))
	pub := newPublisher(b, eventstore.PublisherConfig{Client: c})
	for _, concurrency := range []int{1, 8, 32} {
		b.Run(fmt.Sprint(concurrency), func(b *testing.B) {
			topic := name("bench")
			for n := 0; n < b.N; n += 320 {
				publishKeyed(b, pub, topic, 32, 10)
			}
			sub := newSubscriber(b, eventstore.SubscriberConfig{
				Client: c, ConsumerGroup: "g", Concurrency: concurrency, Key: keyOf, InFlight: 200,
			})
			messages := subscribe(b, sub, topic)
			b.ResetTimer()
			for range b.N {
				msg := <-messages
				go func() {
					time.Sleep(time.Millisecond)
					msg.Ack()
				}()
			}
		})
	}
}
