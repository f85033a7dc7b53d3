package esotel_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esotel"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// w3c has the propagators of most programs.
var w3c = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// traced is a server, a client of it with a Hook, and the spans of both.
type traced struct {
	*testing.T
	srv      *estest.Server
	client   *esclient.Client
	tracing  *esotel.Tracing
	provider *sdktrace.TracerProvider
	recorder *tracetest.SpanRecorder
}

func newTraced(t *testing.T, change func(*esotel.Config), options ...sdktrace.TracerProviderOption) *traced {
	t.Helper()
	f := &traced{T: t, srv: estest.Run(t), recorder: tracetest.NewSpanRecorder()}
	f.provider = sdktrace.NewTracerProvider(append(options, sdktrace.WithSpanProcessor(f.recorder))...)
	f.tracing = f.newTracing(change)
	f.client = f.newClient(func(cfg *esclient.Config) { cfg.Hooks = append(cfg.Hooks, f.tracing.Hook()) })
	return f
}

func (f *traced) newTracing(change func(*esotel.Config)) *esotel.Tracing {
	f.Helper()
	cfg := esotel.Config{TracerProvider: f.provider, Propagator: w3c, Server: f.srv.Addr(), OperationsNeedParent: true}
	if change != nil {
		change(&cfg)
	}
	tracing, err := esotel.New(cfg)
	require.NoError(f, err)
	return tracing
}

func (f *traced) newClient(change func(*esclient.Config)) *esclient.Client {
	f.Helper()
	cfg, err := esclient.ParseConnectionString(f.srv.ConnectionString())
	require.NoError(f, err)
	cfg.ReconnectDelay = time.Millisecond
	change(&cfg)
	client, err := esclient.New(cfg)
	require.NoError(f, err)
	f.Cleanup(func() { client.Close() })
	return client
}

func (f *traced) publisher(cfg eventstore.PublisherConfig) message.Publisher {
	f.Helper()
	cfg.Client = f.client
	plain, err := eventstore.NewPublisher(cfg, watermill.NopLogger{})
	require.NoError(f, err)
	p, err := f.tracing.DecoratePublisher(plain)
	require.NoError(f, err)
	f.Cleanup(func() { p.Close() })
	return p
}

func (f *traced) plainSubscriber(cfg eventstore.SubscriberConfig) message.Subscriber {
	f.Helper()
	cfg.Client = f.client
	s, err := eventstore.NewSubscriber(cfg, watermill.NopLogger{})
	require.NoError(f, err)
	f.Cleanup(func() { s.Close() })
	return s
}

func (f *traced) group(name string) message.Subscriber {
	f.Helper()
	return f.plainSubscriber(eventstore.SubscriberConfig{ConsumerGroup: name})
}

func (f *traced) subscriber(cfg eventstore.SubscriberConfig) message.Subscriber {
	f.Helper()
	s, err := f.tracing.DecorateSubscriber(f.plainSubscriber(cfg))
	require.NoError(f, err)
	f.Cleanup(func() { s.Close() })
	return s
}

func (f *traced) subscribe(s message.Subscriber, topic string) <-chan *message.Message {
	f.Helper()
	messages, err := s.Subscribe(f.ctx(), topic)
	require.NoError(f, err)
	return messages
}

func (f *traced) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	f.Cleanup(cancel)
	return ctx
}

// span waits until a span has ended, and returns it. There must be one of its name.
func (f *traced) span(name string) sdktrace.ReadOnlySpan {
	f.Helper()
	return f.spans(name, 1)[0]
}

// spans waits until n spans of a name have ended, and returns them in the order of their starts.
func (f *traced) spans(name string, n int) []sdktrace.ReadOnlySpan {
	f.Helper()
	var found []sdktrace.ReadOnlySpan
	require.Eventually(f, func() bool {
		found = nil
		for _, s := range f.recorder.Ended() {
			if s.Name() == name {
				found = append(found, s)
			}
		}
		return len(found) >= n
	}, 30*time.Second, time.Millisecond, "%d spans %q", n, name)
	require.Len(f, found, n, "spans %q", name)
	slices.SortStableFunc(found, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	return found
}

// root returns a context with the span of a request, and that span.
func (f *traced) root() (context.Context, trace.Span) {
	ctx, span := f.provider.Tracer("test").Start(f.ctx(), "request")
	return ctx, span
}

func receive(t testing.TB, from <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-from:
		require.True(t, ok, "the channel is closed")
		return m
	case <-time.After(60 * time.Second):
		require.Fail(t, "no message came")
	}
	return nil
}

// newMessage returns a message with the values of a context.
func newMessage(ctx context.Context, payload string) *message.Message {
	m := message.NewMessage(watermill.NewUUID(), []byte(payload))
	m.SetContext(ctx)
	return m
}

func attributesOf(s sdktrace.ReadOnlySpan) map[string]any {
	all := make(map[string]any)
	for _, kv := range s.Attributes() {
		all[string(kv.Key)] = kv.Value.AsInterface()
	}
	return all
}

func attributeOf(s sdktrace.ReadOnlySpan, key string) any { return attributesOf(s)[key] }

func keyOf(kvs []attribute.KeyValue, key string) any {
	for _, kv := range kvs {
		if string(kv.Key) == key {
			return kv.Value.AsInterface()
		}
	}
	return nil
}

// requireChild holds that a span is a child of another one.
func requireChild(t testing.TB, child, parent sdktrace.ReadOnlySpan) {
	t.Helper()
	require.Equal(t, parent.SpanContext().TraceID(), child.SpanContext().TraceID(),
		"%s and %s are in one trace", child.Name(), parent.Name())
	require.Equal(t, parent.SpanContext().SpanID(), child.Parent().SpanID(),
		"%s is a child of %s", child.Name(), parent.Name())
}

func linksOf(s sdktrace.ReadOnlySpan) []trace.SpanID {
	var ids []trace.SpanID
	for _, l := range s.Links() {
		ids = append(ids, l.SpanContext.SpanID())
	}
	return ids
}
