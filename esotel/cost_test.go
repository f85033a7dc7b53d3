package esotel_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esotel"
)

// swallowing is a Publisher whose server is infinitely fast.
type swallowing struct{}

func (swallowing) Publish(string, ...*message.Message) error { return nil }
func (swallowing) Close() error                              { return nil }

// handing is a Subscriber that hands out messages from a channel.
type handing struct{ messages chan *message.Message }

func (h handing) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return h.messages, nil
}
func (h handing) Close() error { return nil }

// costs returns the allocations that traces add to one message or operation.
func costs(t testing.TB, provider trace.TracerProvider) map[string]func() {
	t.Helper()
	tracing, err := esotel.New(esotel.Config{TracerProvider: provider, Propagator: w3c, Server: "localhost:1113"})
	require.NoError(t, err)
	publisher, err := tracing.DecoratePublisher(swallowing{})
	require.NoError(t, err)
	h := handing{make(chan *message.Message)}
	s, err := tracing.DecorateSubscriber(h)
	require.NoError(t, err)
	received, err := s.Subscribe(context.Background(), "orders")
	require.NoError(t, err)
	t.Cleanup(func() {
		close(h.messages)
		require.NoError(t, s.Close())
	})
	hook := tracing.Hook()
	m := message.NewMessage("uuid", []byte("{}"))
	traced := message.NewMessage("uuid", []byte("{}"))
	traced.Metadata.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	operation := esclient.OperationInfo{
		Command: "WriteEvents", Stream: "orders", Endpoint: "localhost:1113", Sent: 100, Received: 50,
		Duration: time.Millisecond,
	}
	batch := make([]*message.Message, 10)
	for i := range batch {
		batch[i] = m
	}
	consume := func(m *message.Message) func() {
		return func() {
			m.SetContext(context.Background())
			h.messages <- m
			(<-received).Ack()
		}
	}
	return map[string]func(){
		"publish":        func() { _ = publisher.Publish("orders", batch[:1]...) },
		"publish 10":     func() { _ = publisher.Publish("orders", batch...) },
		"consume":        consume(m),
		"consume traced": consume(traced),
		"operation": func() {
			hook.OnOperationEnded(hook.OnOperationStarted(context.Background(), operation), operation)
		},
	}
}

func providers() map[string]trace.TracerProvider {
	return map[string]trace.TracerProvider{
		"none":        nil,
		"noop":        noop.NewTracerProvider(),
		"not sampled": sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())),
		"sampled":     sdktrace.NewTracerProvider(),
	}
}

// Without a TracerProvider, a span costs only the context that the API of OpenTelemetry makes.
func TestWithoutATracerAlmostNothingIsAllocated(t *testing.T) {
	for _, provider := range []string{"none", "noop"} {
		for what, do := range costs(t, providers()[provider]) {
			limit := map[string]float64{
				"publish": 3, "publish 10": 5, "consume": 3, "consume traced": 10, "operation": 3,
			}[what]
			do() // the first of its kind
			assert.LessOrEqual(t, testing.AllocsPerRun(100, do), limit, "%s: %s", provider, what)
		}
	}
}

func BenchmarkTracing(b *testing.B) {
	for name, provider := range providers() {
		for what, do := range costs(b, provider) {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					do()
				}
			})
		}
	}
}
