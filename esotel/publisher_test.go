package esotel_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esotel"
)

func TestABatchHasASpanForEachMessageAndLinksToThem(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	ctx, request := f.root()
	other, second := f.provider.Tracer("test").Start(context.Background(), "other request")
	messages := []*message.Message{newMessage(ctx, "1"), newMessage(other, "2"), newMessage(ctx, "3")}
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", messages...))
	request.End()
	second.End()

	created, send := f.spans("create orders", 3), f.span("send orders")
	var ids []trace.SpanID
	for i, s := range created {
		ids = append(ids, s.SpanContext().SpanID())
		assert.Equal(t, trace.SpanKindProducer, s.SpanKind())
		assert.Equal(t, "create", attributeOf(s, "messaging.operation.type"))
		assert.Equal(t, messages[i].UUID, attributeOf(s, "messaging.message.id"))
	}
	requireChild(t, created[0], f.span("request"))
	requireChild(t, created[1], f.span("other request"))
	requireChild(t, created[2], f.span("request"))
	assert.Equal(t, trace.SpanKindClient, send.SpanKind(), "its context creates no message")
	assert.Equal(t, ids, linksOf(send))
	assert.Equal(t, int64(3), attributeOf(send, "messaging.batch.message_count"))
	assert.Nil(t, attributeOf(send, "messaging.message.id"))
	requireChild(t, f.span("WriteEvents"), send)

	received := f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}), "orders")
	for range messages {
		receive(t, received).Ack()
	}
	for i, s := range f.spans("process orders", 3) {
		requireChild(t, s, created[i])
	}
}

func TestABatchMayDoWithoutCreateSpans(t *testing.T) {
	t.Parallel()
	f := newTraced(t, func(cfg *esotel.Config) { cfg.DisableCreateSpans = true })
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders",
		newMessage(f.ctx(), "1"), newMessage(f.ctx(), "2")))
	send := f.span("send orders")
	assert.Equal(t, trace.SpanKindProducer, send.SpanKind())
	assert.Empty(t, send.Links())
	received := f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}), "orders")
	receive(t, received).Ack()
	receive(t, received).Ack()
	for _, s := range f.spans("process orders", 2) {
		requireChild(t, s, send)
	}
}

func TestPublishDoesNotChangeMessages(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	publisher := f.publisher(eventstore.PublisherConfig{})
	ctx := f.ctx()
	one, two := newMessage(ctx, "1"), newMessage(ctx, "2")
	one.Metadata.Set("key", "value")
	before := maps.Clone(one.Metadata)
	require.NoError(t, publisher.Publish("orders", one))
	require.NoError(t, publisher.Publish("orders", one, two))
	assert.Equal(t, before, one.Metadata)
	assert.Empty(t, two.Metadata)
	assert.Equal(t, ctx, one.Context())
	for _, s := range f.spans("send orders", 2) {
		assert.Equal(t, "orders", attributeOf(s, "messaging.destination.name"))
	}
	received := f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}), "orders")
	got := receive(t, received)
	assert.Equal(t, one.UUID, got.UUID)
	assert.Equal(t, "value", got.Metadata.Get("key"))
	got.Ack()
}

// The context of an outbox's message is that of the request that stored it.
func TestAMessageKeepsAContextOfItsOwn(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	const own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for n, messages := range [][]*message.Message{
		{newMessage(f.ctx(), "1")}, {newMessage(f.ctx(), "2"), newMessage(f.ctx(), "3")},
	} {
		messages[0].Metadata.Set("traceparent", own)
		require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", messages...))
		send := f.spans("send orders", n+1)[n]
		assert.Equal(t, trace.SpanKindClient, send.SpanKind())
		require.NotEmpty(t, send.Links())
		assert.Equal(t, "b7ad6b7169203331", send.Links()[0].SpanContext.SpanID().String())
	}
	f.span("create orders")
	received := f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}), "orders")
	first := receive(t, received)
	assert.Equal(t, own, first.Metadata.Get("traceparent"))
	assert.Empty(t, first.Metadata.Get("$traceId"))
	first.Ack()
	assert.Equal(t, "b7ad6b7169203331", f.span("process orders").Parent().SpanID().String())
}

func TestAFailedPublishIsInItsSpan(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	stale := newMessage(eventstore.WithExpectedVersion(f.ctx(), 41), "1")
	err := f.publisher(eventstore.PublisherConfig{}).Publish("orders", stale)
	require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	refused := f.span("send orders")
	assert.Equal(t, codes.Error, refused.Status().Code)
	assert.Equal(t, "wrong_expected_version", attributeOf(refused, "error.type"))
	assert.Equal(t, "wrong_expected_version", attributeOf(f.span("WriteEvents"), "error.type"))

	require.NoError(t, f.srv.Stop())
	messages := []*message.Message{newMessage(f.ctx(), "1"), newMessage(f.ctx(), "2")}
	impatient := f.publisher(eventstore.PublisherConfig{PublishTimeout: 50 * time.Millisecond})
	err = impatient.Publish("orders", messages...)
	var failed *eventstore.PublishError
	require.ErrorAs(t, err, &failed)
	// They may have been sent before the client noticed the end of the connection.
	listed := slices.Concat(failed.Unknown, failed.NotWritten)
	require.Len(t, listed, 2)
	assert.Same(t, messages[0], listed[0], "the messages of the call, and no copies")
	assert.Same(t, messages[1], listed[1])
	send := f.spans("send orders", 2)[1]
	assert.Equal(t, codes.Error, send.Status().Code)
	assert.Equal(t, err.Error(), send.Status().Description)
	assert.Equal(t, esclient.ErrorClass(err), attributeOf(send, "error.type"))
	assert.Equal(t, int64(len(failed.NotWritten)), attributeOf(send, "messaging.eventstoredb.messages.not_written"))
	assert.Equal(t, int64(len(failed.Unknown)), attributeOf(send, "messaging.eventstoredb.messages.unknown"))
	assert.Equal(t, int64(0), attributeOf(send, "messaging.eventstoredb.messages.written"))
}

func TestMessagesThatAreNilAreRefusedAsBefore(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	publisher := f.publisher(eventstore.PublisherConfig{})
	require.NoError(t, publisher.Publish("orders"))
	var refused *eventstore.MarshalError
	require.ErrorAs(t, publisher.Publish("orders", newMessage(f.ctx(), "1"), nil), &refused)
	assert.Empty(t, f.recorder.Ended())
}

// panicking is a Publisher with a bug.
type panicking struct{ message.Publisher }

func (panicking) Publish(string, ...*message.Message) error { panic("a bug") }

func TestASpanEndsWithAPanic(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	publisher, err := f.tracing.DecoratePublisher(panicking{})
	require.NoError(t, err)
	assert.Panics(t, func() { _ = publisher.Publish("orders", newMessage(f.ctx(), "1")) })
	f.span("send orders")
}

func TestSpanNamesAreBounded(t *testing.T) {
	t.Parallel()
	f := newTraced(t, func(cfg *esotel.Config) { cfg.MaxNames = 2 })
	publisher := f.publisher(eventstore.PublisherConfig{})
	for _, topic := range []string{"a", "b", "c", "d", "a"} {
		require.NoError(t, publisher.Publish(topic, newMessage(f.ctx(), "1")))
	}
	f.spans("send a", 2)
	f.span("send b")
	spans := f.spans("send", 2)
	assert.Equal(t, "c", attributeOf(spans[0], "messaging.destination.name"))
	assert.Equal(t, "d", attributeOf(spans[1], "messaging.destination.name"))
}

func TestATemplateNamesSpans(t *testing.T) {
	t.Parallel()
	f := newTraced(t, func(cfg *esotel.Config) { cfg.Template = esotel.Category })
	publisher := f.publisher(eventstore.PublisherConfig{})
	for _, topic := range []string{"order-1", "order-2", "plain", "-"} {
		require.NoError(t, publisher.Publish(topic, newMessage(f.ctx(), "1")))
	}
	for n, s := range f.spans("send order-{id}", 2) {
		assert.Equal(t, []string{"order-1", "order-2"}[n], attributeOf(s, "messaging.destination.name"))
		assert.Equal(t, "order-{id}", attributeOf(s, "messaging.destination.template"))
	}
	f.span("send plain")
	f.span("send -")
	f.spans("WriteEvents order-{id}", 2)
}

func TestUselessConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for _, cfg := range []esotel.Config{
		{MaxNames: -1}, {Server: "host:port"}, {Server: "host:"}, {Server: ":1113"}, {Server: "tcp://host:1113"},
		{Server: "host:70000"}, {Server: "admin:changeit@host"},
	} {
		_, err := esotel.New(cfg)
		require.ErrorIs(t, err, esotel.ErrInvalidConfig, "%+v", cfg)
		assert.NotContains(t, err.Error(), "changeit")
	}
	for _, server := range []string{"", "host", "host:1113", "10.1.2.3", "::1", "[::1]:1113"} {
		_, err := esotel.New(esotel.Config{Server: server})
		require.NoError(t, err, server)
	}
}
