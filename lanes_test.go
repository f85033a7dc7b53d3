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

		// All five keys are handed out at once; with fewer this would not end.
		inHand := make(map[string]*message.Message)
		for range 5 {
			msg := receive(t, messages)
			require.Nil(t, inHand[keyOf(msg)], "two messages of one key at a time")
			inHand[keyOf(msg)] = msg
		}
		silence(t, messages)

		// A key that hangs, and one that is nacked, do not stop the others.
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
		// InFlight allows this many beside the messages of the key that waits.
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

// inModes runs a test in each way to subscribe.
func inModes(t *testing.T, f func(t *testing.T, cfg eventstore.SubscriberConfig)) {
	t.Helper()
	for _, cfg := range []eventstore.SubscriberConfig{
		{ConsumerGroup: "g"}, {Mode: eventstore.ModeVolatile}, {Mode: eventstore.ModeCatchUp},
	} {
		t.Run(cfg.Mode.String(), func(t *testing.T) { f(t, cfg) })
	}
}

func TestAsManyFailingKeysAsWorkersStopNoOtherKey(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	inModes(t, func(t *testing.T, cfg eventstore.SubscriberConfig) {
		topic := name("failing")
		cfg.Client, cfg.Key, cfg.Concurrency, cfg.NackDelay = c, keyOf, 2, 200*time.Millisecond
		messages := subscribe(t, newSubscriber(t, cfg), topic)
		publishKeyed(t, pub, topic, 5, 2)
		nacked, acked := map[string]time.Time{}, map[string]int{}
		for len(acked) < 3 || acked["2"]+acked["3"]+acked["4"] < 6 { // healthy keys
			msg := receive(t, messages)
			if key := keyOf(msg); key < "2" {
				require.Equal(t, key+"/0", string(msg.Payload), "no other of its key comes before")
				if before, again := nacked[key]; again {
					require.GreaterOrEqual(t, time.Since(before), cfg.NackDelay)
				}
				nacked[key] = time.Now()
				msg.Nack()
			} else {
				require.Equal(t, fmt.Sprintf("%s/%d", key, acked[key]), string(msg.Payload))
				acked[key]++
				msg.Ack()
			}
		}
		for acked["0"]+acked["1"] < 4 { // they recover
			msg := receive(t, messages)
			require.Equal(t, fmt.Sprintf("%s/%d", keyOf(msg), acked[keyOf(msg)]), string(msg.Payload))
			acked[keyOf(msg)]++
			msg.Ack()
		}
		silence(t, messages)
	})
}

func TestAHotKeyStopsOthersOnlyWhenInFlightIsUsedUp(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	inModes(t, func(t *testing.T, cfg eventstore.SubscriberConfig) {
		topic := name("hot")
		cfg.Client, cfg.Key, cfg.Concurrency = c, keyOf, 4
		messages := subscribe(t, newSubscriber(t, cfg), topic)
		publishKeyed(t, pub, topic, 1, eventstore.DefaultInFlight-10)
		hanging := receive(t, messages)
		var others []*message.Message
		for n := range 20 {
			others = append(others, newMessage(fmt.Sprintf("%d/0", n+1)))
		}
		require.NoError(t, pub.Publish(topic, others...))
		for range others {
			msg := receive(t, messages)
			require.NotEqual(t, "0", keyOf(msg))
			msg.Ack()
		}
		hanging.Ack()
		for n := 1; n < eventstore.DefaultInFlight-10; n++ {
			msg := receive(t, messages)
			require.Equal(t, fmt.Sprintf("0/%d", n), string(msg.Payload))
			msg.Ack()
		}
	})
}

func TestManyFailingKeysUnderLoadLoseNothing(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("storm")
	const keys, each = 20, 10
	publishKeyed(t, pub, topic, keys, each)
	messages := subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
		Client: c, ConsumerGroup: "g", Key: keyOf, Concurrency: 4, NackDelay: 50 * time.Microsecond,
	}), topic)
	next, tries := map[string]int{}, 0
	for done := 0; done < keys*each; {
		msg := receive(t, messages)
		require.Equal(t, fmt.Sprintf("%s/%d", keyOf(msg), next[keyOf(msg)]), string(msg.Payload))
		if tries++; tries%3 != 0 {
			msg.Nack()
			continue
		}
		next[keyOf(msg)]++
		done++
		msg.Ack()
	}
	silence(t, messages)
}

// A handler that takes a millisecond is the purpose of Concurrency.
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
