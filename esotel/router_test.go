package esotel_test

import (
	"errors"
	"net"
	"strconv"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/metrics"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esprom"
)

// run runs a Router until the test has ended.
func (f *traced) run(add func(*message.Router)) {
	f.Helper()
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	require.NoError(f, err)
	add(router)
	ended := make(chan error, 1)
	go func() { ended <- router.Run(f.ctx()) }()
	<-router.Running()
	f.Cleanup(func() {
		assert.NoError(f, router.Close())
		assert.NoError(f, <-ended)
	})
}

func TestOneTraceGoesThroughTwoHandlers(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	plain, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: f.client}, nil)
	require.NoError(t, err)
	customer := make(chan string, 1)
	f.run(func(r *message.Router) {
		f.tracing.AddTo(r)
		r.AddHandler("shipping", "orders", f.group("shipping"),
			"parcels", plain, func(*message.Message) ([]*message.Message, error) {
				return []*message.Message{message.NewMessage("parcel", []byte(`{"parcel":1}`))}, nil
			})
		r.AddConsumerHandler("mailing", "parcels", f.group("mailing"),
			func(m *message.Message) error {
				customer <- baggage.FromContext(m.Context()).Member("customer").Value()
				return nil
			})
	})
	ctx, request := f.root()
	member, err := baggage.NewMember("customer", "17")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	m := newMessage(baggage.ContextWithBaggage(ctx, bag), `{"order":1}`)
	m.Metadata.Set(eventstore.CorrelationIDKey, "correlated")
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", m))
	request.End()

	root, sendOrder, shipping := f.span("request"), f.span("send orders"), f.span("process orders")
	sendParcel, mailing := f.span("send parcels"), f.span("process parcels")
	requireChild(t, sendOrder, root)
	requireChild(t, shipping, sendOrder)
	requireChild(t, sendParcel, shipping)
	requireChild(t, mailing, sendParcel)
	assert.Equal(t, []trace.SpanID{sendOrder.SpanContext().SpanID()}, linksOf(shipping))
	assert.Empty(t, sendParcel.Links(), "a parent is no link")
	assert.Equal(t, "17", <-customer, "the baggage comes along")
	assert.True(t, mailing.Parent().IsRemote())
	writes := f.spans("WriteEvents", 2)
	requireChild(t, writes[0], sendOrder)
	requireChild(t, writes[1], sendParcel)
	assert.False(t, sendParcel.StartTime().Before(shipping.StartTime()))
	assert.False(t, shipping.EndTime().Before(sendParcel.EndTime()), "the span lasts until the ack")

	host, text, err := net.SplitHostPort(f.srv.Addr())
	require.NoError(t, err)
	port, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err)
	assert.Equal(t, trace.SpanKindProducer, sendOrder.SpanKind())
	assert.Equal(t, map[string]any{
		"messaging.system": "eventstoredb", "messaging.operation.name": "send", "messaging.operation.type": "send",
		"messaging.destination.name": "orders", "messaging.message.id": m.UUID,
		"messaging.message.conversation_id": "correlated", "server.address": host, "server.port": port,
	}, attributesOf(sendOrder))
	assert.Equal(t, trace.SpanKindConsumer, shipping.SpanKind())
	got := attributesOf(shipping)
	assert.NotEmpty(t, got["db.eventstoredb.event.id"])
	delete(got, "db.eventstoredb.event.id")
	assert.Equal(t, map[string]any{
		"messaging.system": "eventstoredb", "messaging.operation.name": "process",
		"messaging.operation.type": "process", "messaging.destination.name": "orders", "messaging.message.id": m.UUID,
		"messaging.message.conversation_id": "correlated", "messaging.consumer.group.name": "shipping",
		"server.address": host, "server.port": port, "messaging.eventstoredb.answer": "ack",
		"db.eventstoredb.stream": "orders", "db.eventstoredb.event.type": "message",
	}, got)
	assert.Equal(t, codes.Unset, shipping.Status().Code)
	assert.Equal(t, []string{"name"}, keysWithout(m, eventstore.CorrelationIDKey, "name"),
		"the published message is as it was")
}

// keysWithout returns the keys of a message's metadata but one, and one more that it has not.
func keysWithout(m *message.Message, but, more string) []string {
	keys := []string{more}
	for k := range m.Metadata {
		if k != but {
			keys = append(keys, k)
		}
	}
	return keys
}

func TestTheErrorOfAHandlerIsInItsSpan(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	failures := 2
	f.run(func(r *message.Router) {
		f.tracing.AddTo(r)
		r.AddConsumerHandler("billing", "orders", f.group("billing"),
			func(*message.Message) error {
				if failures--; failures >= 0 {
					return errors.New("no money")
				}
				return nil
			})
	})
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", newMessage(f.ctx(), "{}")))
	spans := f.spans("process orders", 3)
	for n, s := range spans[:2] {
		assert.Equal(t, codes.Error, s.Status().Code)
		assert.Equal(t, "no money", s.Status().Description)
		assert.Equal(t, "*errors.errorString", attributeOf(s, "error.type"))
		assert.Equal(t, "nack", attributeOf(s, "messaging.eventstoredb.answer"))
		require.Len(t, s.Events(), 1)
		assert.Equal(t, "no money", keyOf(s.Events()[0].Attributes, "exception.message"))
		requireChild(t, s, f.span("send orders"))
		if n > 0 {
			assert.Equal(t, int64(n), attributeOf(s, "messaging.eventstoredb.message.retry_count"))
		}
	}
	assert.Equal(t, codes.Unset, spans[2].Status().Code)
	assert.Equal(t, int64(2), attributeOf(spans[2], "messaging.eventstoredb.message.retry_count"))
}

// A message that goes to the poison queue is the received one, with the trace that it came with in its metadata.
func TestAMessagePassedOnGoesOnWithItsTrace(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	publisher := f.publisher(eventstore.PublisherConfig{})
	poison, err := middleware.PoisonQueue(publisher, "poison")
	require.NoError(t, err)
	f.run(func(r *message.Router) {
		r.AddSubscriberDecorators(f.tracing.DecorateSubscriber)
		r.AddMiddleware(f.tracing.Middleware, poison)
		r.AddConsumerHandler("billing", "orders", f.group("billing"),
			func(*message.Message) error { return errors.New("no money") })
	})
	require.NoError(t, publisher.Publish("orders", newMessage(f.ctx(), "{}")))
	requireChild(t, f.span("send poison"), f.span("process orders"))
	again := receive(t, f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "doctor"}), "poison"))
	require.True(t, again.Ack())
	requireChild(t, f.span("process poison"), f.span("send poison"))
}

func TestItWorksBesideMetrics(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	hook, err := esprom.NewHook(esprom.HookConfig{})
	require.NoError(t, err)
	f.client = f.newClient(func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{hook, f.tracing.Hook()} })
	plain, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: f.client}, nil)
	require.NoError(t, err)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(hook)
	f.run(func(r *message.Router) {
		builder := metrics.NewPrometheusMetricsBuilder(registry, "", "")
		builder.AddPrometheusRouterMetrics(r)
		f.tracing.AddTo(r)
		r.AddHandler("copier", "from", f.group("g"), "to", plain,
			func(m *message.Message) ([]*message.Message, error) { return []*message.Message{m}, nil })
	})
	require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("from", newMessage(f.ctx(), "{}")))
	requireChild(t, f.span("send to"), f.span("process from"))
	requireChild(t, f.spans("WriteEvents", 2)[1], f.span("send to"))
	families, err := registry.Gather()
	require.NoError(t, err)
	counted := make(map[string]uint64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			counted[family.GetName()] += m.GetHistogram().GetSampleCount() + uint64(m.GetCounter().GetValue())
		}
	}
	assert.Equal(t, uint64(1), counted["publish_time_seconds"])
	assert.Equal(t, uint64(1), counted["handler_execution_time_seconds"])
	assert.Equal(t, uint64(1), counted["eventstore_subscription_delivered_total"])
}
