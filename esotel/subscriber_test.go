package esotel_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esotel"
)

func TestEveryModeHasProcessSpans(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]eventstore.SubscriberConfig{
		"group":    {ConsumerGroup: "g"},
		"fan-out":  {Mode: eventstore.ModeVolatile},
		"catch-up": {Mode: eventstore.ModeCatchUp},
		"lanes":    {ConsumerGroup: "g", Concurrency: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTraced(t, nil)
			received := f.subscribe(f.subscriber(cfg), "orders")
			publisher := f.publisher(eventstore.PublisherConfig{})
			const n = 5
			for range n {
				require.NoError(t, publisher.Publish("orders", newMessage(f.ctx(), "{}")))
			}
			for range n {
				receive(t, received).Ack()
			}
			parents := make(map[trace.SpanID]bool)
			for _, s := range f.spans("send orders", n) {
				parents[s.SpanContext().SpanID()] = true
			}
			for _, s := range f.spans("process orders", n) {
				assert.True(t, parents[s.Parent().SpanID()])
				delete(parents, s.Parent().SpanID())
				group := attributeOf(s, "messaging.consumer.group.name")
				if cfg.ConsumerGroup == "" {
					assert.Nil(t, group)
				} else {
					assert.Equal(t, "g", group)
				}
			}
		})
	}
}

func TestReceiveSpansComeBeforeProcessSpans(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]bool{"child of the sender": false, "trace of its own": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTraced(t, func(cfg *esotel.Config) { cfg.ReceiveSpans, cfg.LinkConsumers = true, link })
			message := newMessage(f.ctx(), "{}")
			require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", message))
			received := f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}), "orders")
			receive(t, received).Ack()
			sent, got, processed := f.span("send orders"), f.span("receive orders"), f.span("process orders")
			assert.Equal(t, trace.SpanKindClient, got.SpanKind())
			assert.Equal(t, "receive", attributeOf(got, "messaging.operation.type"))
			assert.Equal(t, "g", attributeOf(got, "messaging.consumer.group.name"))
			assert.Equal(t, message.UUID, attributeOf(got, "messaging.message.id"))
			assert.Equal(t, got.SpanContext().SpanID(), processed.Parent().SpanID())
			assert.Equal(t, link, got.Parent().SpanID() != sent.SpanContext().SpanID())
			assert.Equal(t, !link, got.Parent().IsValid())
			for _, s := range []sdktrace.ReadOnlySpan{got, processed} {
				require.Len(t, s.Links(), 1)
				assert.Equal(t, sent.SpanContext().SpanID(), s.Links()[0].SpanContext.SpanID())
			}
		})
	}
}

// The message is given back at Close, because no consumer takes it.
func TestReceiveSpansOfUntakenMessagesEnd(t *testing.T) {
	t.Parallel()
	f := newTraced(t, func(cfg *esotel.Config) { cfg.ReceiveSpans = true })
	s := f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"})
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", newMessage(f.ctx(), "{}")))
	f.subscribe(s, "orders")
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(f.recorder.Started(), func(s sdktrace.ReadWriteSpan) bool {
			return s.Name() == "receive orders"
		})
	}, 30*time.Second, time.Millisecond)
	require.NoError(t, s.Close())
	f.span("receive orders")
	assert.Equal(t, "nacked", attributeOf(f.span("process orders"), "error.type"))
}

func TestANackAndTheRedeliveryHaveSpans(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", newMessage(f.ctx(), "{}")))
	received := f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}), "orders")
	receive(t, received).Nack()
	receive(t, received).Ack()
	spans := f.spans("process orders", 2)
	assert.Equal(t, codes.Error, spans[0].Status().Code)
	assert.Equal(t, "nacked", attributeOf(spans[0], "error.type"))
	assert.Equal(t, "nack", attributeOf(spans[0], "messaging.eventstoredb.answer"))
	assert.Nil(t, attributeOf(spans[0], "messaging.eventstoredb.message.retry_count"))
	assert.Equal(t, codes.Unset, spans[1].Status().Code)
	assert.Nil(t, attributeOf(spans[1], "error.type"))
	assert.Equal(t, int64(1), attributeOf(spans[1], "messaging.eventstoredb.message.retry_count"))
}

func TestNackWithReachesTheServer(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", newMessage(f.ctx(), "{}")))
	received := f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}), "orders")
	require.True(t, eventstore.NackWith(receive(t, received), eventstore.ActionPark, "no good"))
	assert.Equal(t, "nack", attributeOf(f.span("process orders"), "messaging.eventstoredb.answer"))
	require.Eventually(t, func() bool {
		for _, err := range f.client.ReadParked(f.ctx(), "orders", "g") {
			return err == nil
		}
		return false
	}, 30*time.Second, time.Millisecond)
}

func TestASpanWithoutAnAnswerEndsWithItsSubscription(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", newMessage(f.ctx(), "{}")))
	s := f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g", AckGrace: time.Millisecond})
	ctx, cancel := context.WithCancel(f.ctx())
	received, err := s.Subscribe(ctx, "orders")
	require.NoError(t, err)
	msg := receive(t, received)
	cancel()
	span := f.span("process orders")
	assert.Equal(t, "none", attributeOf(span, "messaging.eventstoredb.answer"))
	assert.Equal(t, "unanswered", attributeOf(span, "error.type"))
	<-msg.Context().Done()
	_, more := <-received
	assert.False(t, more)
	require.NoError(t, s.Close())
}

func TestAnAckAfterTheEndOfTheContextCounts(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", newMessage(f.ctx(), "{}")))
	s := f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"})
	ctx, cancel := context.WithCancel(f.ctx())
	received, err := s.Subscribe(ctx, "orders")
	require.NoError(t, err)
	msg := receive(t, received)
	cancel()
	<-msg.Context().Done()
	assert.Empty(t, spansNamed(f, "process orders"), "the handler is still running")
	require.True(t, msg.Ack())
	assert.Equal(t, "ack", attributeOf(f.span("process orders"), "messaging.eventstoredb.answer"))
}

func spansNamed(f *traced, name string) int {
	n := 0
	for _, s := range f.recorder.Ended() {
		if s.Name() == name {
			n++
		}
	}
	return n
}

// The message waits in the decorator. It must not count as nacked: MaxNacks would skip it.
func TestAConsumerThatWentAwayGivesItsMessageBack(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", newMessage(f.ctx(), "{}")))
	cfg := eventstore.SubscriberConfig{ConsumerGroup: "g", MaxNacks: 1, NackAction: eventstore.ActionSkip}
	for n := range 5 {
		s := f.subscriber(cfg)
		_, err := s.Subscribe(f.ctx(), "orders")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return processing(f) > n }, 30*time.Second, time.Millisecond)
		require.NoError(t, s.Close())
	}
	msg := receive(t, f.subscribe(f.subscriber(cfg), "orders"))
	assert.Equal(t, "{}", string(msg.Payload))
	msg.Ack()
}

// No handler takes the message from the decorator, so none can answer it within AckGrace.
func TestAnUnreceivedMessageIsGivenBackEarly(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", newMessage(f.ctx(), "{}")))
	ctx, cancel := context.WithCancel(f.ctx())
	leaving := f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g", AckGrace: time.Hour})
	abandoned, err := leaving.Subscribe(ctx, "orders")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return processing(f) > 0 }, 30*time.Second, time.Millisecond)
	cancel()
	receive(t, f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}), "orders")).Ack()
	_, more := <-abandoned
	assert.False(t, more)
}

// processing returns how many process spans have begun.
func processing(f *traced) int {
	n := 0
	for _, s := range f.recorder.Started() {
		if s.SpanKind() == trace.SpanKindConsumer {
			n++
		}
	}
	return n
}

func TestConsumersMayHaveTracesOfTheirOwn(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", newMessage(f.ctx(), "{}")))
	linking := f.newTracing(func(cfg *esotel.Config) { cfg.LinkConsumers = true })
	s, err := linking.DecorateSubscriber(f.plainSubscriber(eventstore.SubscriberConfig{Mode: eventstore.ModeCatchUp}))
	require.NoError(t, err)
	defer s.Close()
	receive(t, f.subscribe(s, "orders")).Ack()
	send, process := f.span("send orders"), f.span("process orders")
	assert.False(t, process.Parent().IsValid())
	assert.NotEqual(t, send.SpanContext().TraceID(), process.SpanContext().TraceID())
	assert.Equal(t, []trace.SpanID{send.SpanContext().SpanID()}, linksOf(process))
}

// A subscription lasts too long to have its messages in the trace of the call that began it.
func TestTheSpanOfASubscribeCallIsALink(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	_, err := f.client.Append(f.ctx(), "orders", esclient.Any, esclient.EventData{Type: "t"})
	require.NoError(t, err)
	ctx, starting := f.root()
	received, err := f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}).Subscribe(ctx, "orders")
	require.NoError(t, err)
	receive(t, received).Ack()
	process := f.span("process orders")
	assert.False(t, process.Parent().IsValid())
	assert.Equal(t, []trace.SpanID{starting.SpanContext().SpanID()}, linksOf(process))
	starting.End()
}

func TestADecoratedSubscriberStillInitializes(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	s, ok := f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}).(message.SubscribeInitializer)
	require.True(t, ok)
	require.NoError(t, s.SubscribeInitialize("orders"))
	require.ErrorIs(t, f.client.CreatePersistent(f.ctx(), "orders", "g", esclient.DefaultPersistentSettings()),
		esclient.ErrGroupExists)
}

// gochannel keeps a subscription whose message has no answer.
func TestOtherPubSubsHaveSpansToo(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	other := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	publisher, err := f.tracing.DecoratePublisher(other)
	require.NoError(t, err)
	s, err := f.tracing.DecorateSubscriber(other)
	require.NoError(t, err)
	_, initializes := s.(message.SubscribeInitializer)
	assert.False(t, initializes)
	received := f.subscribe(s, "orders")
	require.NoError(t, publisher.Publish("orders", newMessage(f.ctx(), "{}")))
	receive(t, received).Ack()
	requireChild(t, f.span("process orders"), f.span("send orders"))
	require.NoError(t, publisher.Publish("orders", newMessage(f.ctx(), "{}")))
	receive(t, received)
	require.NoError(t, s.Close())
	spans := f.spans("process orders", 2)
	assert.Equal(t, "none", attributeOf(spans[1], "messaging.eventstoredb.answer"))
}
