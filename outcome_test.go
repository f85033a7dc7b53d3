package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

// both runs a test with one message at a time and with several.
func both(t *testing.T, f func(t *testing.T, concurrency int)) {
	t.Helper()
	for _, concurrency := range []int{1, 4} {
		t.Run(fmt.Sprintf("Concurrency %d", concurrency), func(t *testing.T) { f(t, concurrency) })
	}
}

// newLogged is newSubscriber with a capturing logger.
func newLogged(
	t testing.TB, cfg eventstore.SubscriberConfig,
) (*eventstore.Subscriber, *watermill.CaptureLoggerAdapter) {
	t.Helper()
	log := watermill.NewCaptureLogger()
	sub, err := eventstore.NewSubscriber(withGroups(t, cfg), log)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, sub.Close()) })
	return sub, log
}

// logged returns the errors that were logged with a text.
func logged(log *watermill.CaptureLoggerAdapter, text string) (lines []watermill.CapturedMessage) {
	for _, m := range log.Captured()[watermill.ErrorLogLevel] {
		if m.Msg == text {
			lines = append(lines, m)
		}
	}
	return lines
}

// awaitLogged waits for n such errors.
func awaitLogged(t testing.TB, log *watermill.CaptureLoggerAdapter, text string, n int) []watermill.CapturedMessage {
	t.Helper()
	require.Eventually(t, func() bool { return len(logged(log, text)) >= n }, patience, time.Millisecond, text)
	return logged(log, text)
}

// subscribeUntil subscribes until end is called.
func subscribeUntil(
	t testing.TB, sub message.Subscriber, topic string,
) (messages <-chan *message.Message, end context.CancelFunc) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	messages, err := sub.Subscribe(ctx, topic)
	require.NoError(t, err)
	return messages, end
}

func TestADecisionWithinTheGraceReachesTheServer(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	for action, left := range map[eventstore.Action][]string{
		eventstore.ActionPark:  {"good"},
		eventstore.ActionSkip:  {"good"},
		eventstore.ActionRetry: {"poison", "good"},
		eventstore.ActionStop:  {"poison", "good"},
	} {
		t.Run(action.String(), func(t *testing.T) {
			both(t, func(t *testing.T, concurrency int) {
				topic := name("decide")
				require.NoError(t, pub.Publish(topic, newMessage("poison"), newMessage("good")))
				cfg := eventstore.SubscriberConfig{
					Client: c, ConsumerGroup: "g", AckGrace: patience, Concurrency: concurrency,
				}
				messages, end := subscribeUntil(t, newSubscriber(t, cfg), topic)
				msg := receive(t, messages)
				end()
				<-msg.Context().Done()
				require.True(t, eventstore.NackWith(msg, action, "it is poison"))
				closes(t, messages)

				messages = subscribe(t, newSubscriber(t, cfg), topic)
				assert.ElementsMatch(t, left, consume(t, messages, len(left)))
				silence(t, messages)
				if action == eventstore.ActionPark {
					assert.Contains(t, string(parkedEvents(t, c, topic, 1)[0].Metadata), "it is poison")
				}
			})
		})
	}
}

func TestAPlainNackBecauseOfTheEndDoesNotCount(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	for how, learn := range map[string]func(context.Context){
		"Done": func(ctx context.Context) { <-ctx.Done() },
		"Err": func(ctx context.Context) {
			for ctx.Err() == nil {
				time.Sleep(time.Microsecond)
			}
		},
		"derived": func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, time.Hour)
			defer cancel()
			<-ctx.Done()
		},
	} {
		t.Run(how, func(t *testing.T) {
			both(t, func(t *testing.T, concurrency int) {
				topic := name("shutdown")
				publishNumbered(t, pub, topic, 1, 1)
				sub := newSubscriber(t, eventstore.SubscriberConfig{
					Client: c, ConsumerGroup: "g", MaxNacks: 1, AckGrace: patience, Concurrency: concurrency,
				})
				for range 20 {
					messages, end := subscribeUntil(t, sub, topic)
					msg := receive(t, messages)
					end()
					learn(msg.Context())
					require.ErrorIs(t, msg.Context().Err(), context.Canceled)
					msg.Nack()
					closes(t, messages)
				}
				assert.Equal(t, []string{"1"}, consume(t, subscribe(t, sub, topic), 1), "nothing is wrong with it")
			})
		})
	}
}

func TestAPlainNackBeforeTheEndCounts(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	both(t, func(t *testing.T, concurrency int) {
		sub := newSubscriber(t, eventstore.SubscriberConfig{
			Client: c, ConsumerGroup: "g", MaxNacks: 1, AckGrace: patience, Concurrency: concurrency,
		})
		for n := range 20 {
			topic := name("counts")
			publishNumbered(t, pub, topic, 1, 1)
			messages, end := subscribeUntil(t, sub, topic)
			msg := receive(t, messages)
			if n%2 == 0 { // the handler uses its context, which says nothing yet
				require.NoError(t, msg.Context().Err())
			}
			msg.Nack()
			end()
			<-msg.Context().Done()
			closes(t, messages)
			parkedEvents(t, c, topic, 1)
		}
	})
}

func TestNackWithSaysWhetherItCounts(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("truth")
	publishNumbered(t, pub, topic, 1, 5)
	sub, log := newLogged(t, eventstore.SubscriberConfig{
		Client: c, ConsumerGroup: "g", NackDelay: -1, AckGrace: time.Millisecond,
	})
	messages, end := subscribeUntil(t, sub, topic)

	done := receive(t, messages)
	done.Ack()
	assert.False(t, eventstore.NackWith(done, eventstore.ActionPark, "it was acked"))

	parked := receive(t, messages)
	assert.True(t, eventstore.NackWith(parked, eventstore.ActionPark, "no"))
	assert.False(t, eventstore.NackWith(parked, eventstore.ActionSkip, "it is decided on"))
	assert.True(t, eventstore.NackWith(parked, eventstore.ActionPark, "that is what becomes of it"))

	nacked := receive(t, messages)
	nacked.Nack()
	again := receive(t, messages)
	assert.False(t, eventstore.NackWith(nacked, eventstore.ActionPark, "it was handed out again"))
	awaitLogged(t, log, tooLate, 1)
	assert.True(t, eventstore.NackWith(again.CopyWithContext(), eventstore.ActionSkip, "a copy will do"))

	plain := receive(t, messages)
	assert.True(t, eventstore.NackWith(plain, eventstore.ActionDefault, "as Nack"))
	require.Equal(t, plain.Payload, receive(t, messages).Payload)
	end()
	closes(t, messages)
	assert.Len(t, logged(log, tooLate), 1)
	parkedEvents(t, c, topic, 1)
}

const tooLate = "Too late: the server delivers the message again"

func TestALateAnswerIsLogged(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	for answer, say := range map[string]func(*message.Message){
		"ack": func(msg *message.Message) { msg.Ack() },
		"NackWith": func(msg *message.Message) {
			assert.False(t, eventstore.NackWith(msg, eventstore.ActionPark, "late"))
		},
	} {
		t.Run(answer, func(t *testing.T) {
			both(t, func(t *testing.T, concurrency int) {
				topic := name("late")
				publishNumbered(t, pub, topic, 1, 1)
				sub, log := newLogged(t, eventstore.SubscriberConfig{
					Client: c, ConsumerGroup: "g", AckGrace: time.Millisecond, Concurrency: concurrency,
				})
				messages, end := subscribeUntil(t, sub, topic)
				msg := receive(t, messages)
				end()
				closes(t, messages)
				given := awaitLogged(t, log, "Message given back to the server", 1)
				assert.Equal(t, msg.UUID, given[0].Fields["message_uuid"])
				say(msg)
				late := awaitLogged(t, log, tooLate, 1)
				assert.Equal(t, msg.UUID, late[0].Fields["message_uuid"])
				assert.Equal(t, answer, late[0].Fields["answer"])
				assert.Equal(t, []string{"1"}, consume(t, subscribe(t, sub, topic), 1))
			})
		})
	}
}

func TestAMessagesContextEndsWithItsSubscription(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("context")
	publishNumbered(t, pub, topic, 1, 2)
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, Mode: eventstore.ModeCatchUp, Concurrency: 1})
	type key struct{}
	deadline := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(context.WithValue(context.Background(), key{}, "value"), deadline)
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	messages, err := sub.Subscribe(ctx, topic)
	require.NoError(t, err)

	first := receive(t, messages)
	waited := receiveDone(first.Context())
	require.NoError(t, first.Context().Err())
	first.Ack()
	<-waited
	require.ErrorIs(t, first.Context().Err(), context.Canceled, "the message is dealt with")

	second := receive(t, messages).Context()
	assert.Equal(t, "value", second.Value(key{}))
	got, ok := second.Deadline()
	assert.True(t, ok)
	assert.Equal(t, deadline, got)
	require.NoError(t, second.Err())
	require.NoError(t, context.Cause(second))
	why := errors.New("enough")
	end(why)
	<-second.Done()
	require.ErrorIs(t, second.Err(), context.Canceled)
	require.ErrorIs(t, context.Cause(second), why)
	closes(t, messages)
}

// receiveDone closes a channel when a context derived from ctx ends.
func receiveDone(ctx context.Context) <-chan struct{} {
	derived, cancel := context.WithCancel(ctx)
	context.AfterFunc(derived, cancel)
	return derived.Done()
}

// A service is stopped at any moment. Its handler nacks when the context of its message ends.
func TestASubscriptionThatEndsUnderLoadParksNothing(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	both(t, func(t *testing.T, concurrency int) {
		topic := name("stopped")
		sub := newSubscriber(t, eventstore.SubscriberConfig{
			Client: c, ConsumerGroup: "g", MaxNacks: 1, AckGrace: patience, Concurrency: concurrency,
		})
		published, seen := 0, make(map[string]bool)
		handle := func(msg *message.Message) {
			select {
			case <-msg.Context().Done():
				msg.Nack()
			case <-time.After(20 * time.Microsecond):
				seen[string(msg.Payload)] = true
				msg.Ack()
			}
		}
		for n := range 60 {
			publishNumbered(t, pub, topic, published+1, published+10)
			published += 10
			messages, end := subscribeUntil(t, sub, topic)
			for range n % 12 {
				handle(receive(t, messages))
				if len(seen) == published {
					break
				}
			}
			time.AfterFunc(time.Duration(n)*10*time.Microsecond, end)
			for msg := range messages {
				handle(msg)
			}
		}
		messages, _ := subscribeUntil(t, sub, topic)
		for len(seen) < published {
			handle(receive(t, messages))
		}
		silence(t, messages)
		assert.Empty(t, payloads(t, c, "$persistentsubscription-"+topic+"::g-parked"))
	})
}
