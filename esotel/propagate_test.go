package esotel_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esotel"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

const (
	dotNet = `{"$traceId":"0af7651916cd43dd8448eb211c80319c","$spanId":"b7ad6b7169203331"}`
	w3cIDs = `"traceparent":"00-11111111111111111111111111111111-2222222222222222-01"`
)

// metadata is that of events of other writers, and the span that created them.
var metadata = map[string]struct{ metadata, parent string }{
	".NET":            {dotNet, "b7ad6b7169203331"},
	".NET, with more": {`{"n":1,` + dotNet[1:], "b7ad6b7169203331"},
	"W3C":             {`{` + w3cIDs + `}`, "2222222222222222"},
	"both":            {`{` + w3cIDs + `,` + dotNet[1:], "2222222222222222"},
	"malformed W3C":   {`{"traceparent":"00-xyz",` + dotNet[1:], "b7ad6b7169203331"},
	"all malformed":   {`{"traceparent":"garbage","$traceId":"0af7","$spanId":"b7ad6b7169203331"}`, ""},
	"upper case":      {`{"$traceId":"0AF7651916CD43DD8448EB211C80319C","$spanId":"b7ad6b7169203331"}`, ""},
	"zero":            {`{"$traceId":"00000000000000000000000000000000","$spanId":"b7ad6b7169203331"}`, ""},
	"half of it":      {`{"$traceId":"0af7651916cd43dd8448eb211c80319c"}`, ""},
	"no strings":      {`{"$traceId":1,"$spanId":{},"traceparent":[]}`, ""},
	"future W3C": {
		`{"traceparent":"cc-11111111111111111111111111111111-2222222222222222-01-x"}`, "2222222222222222",
	},
	"none":             {"", ""},
	"no object":        {`["$traceId"]`, ""},
	"text":             {`$traceId: 0af7651916cd43dd8448eb211c80319c`, ""},
	"null":             {`null`, ""},
	"bytes":            {"\xff\xfe$traceId", ""},
	"baggage, no span": {`{"baggage":"k=v"}`, ""},
}

func TestEventsOfOtherWritersGoOnWithTheirTraces(t *testing.T) {
	t.Parallel()
	for name, tt := range metadata {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTraced(t, nil)
			_, err := f.srv.Append("orders", estest.Event{Type: "t", Data: []byte("{}"), Metadata: []byte(tt.metadata)})
			require.NoError(t, err)
			received := f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}), "orders")
			receive(t, received).Ack()
			span := f.span("process orders")
			var parent trace.SpanID
			if tt.parent != "" {
				parent, err = trace.SpanIDFromHex(tt.parent)
				require.NoError(t, err)
				assert.Equal(t, []trace.SpanID{parent}, linksOf(span))
			}
			assert.Equal(t, parent, span.Parent().SpanID())

			e, err := f.client.ReadEvent(f.ctx(), "orders", 0, esclient.ReadEventOptions{})
			require.NoError(t, err)
			sc := trace.SpanContextFromContext(f.tracing.ExtractEvent(f.ctx(), e))
			assert.Equal(t, parent, sc.SpanID(), "the client alone sees the same")
		})
	}
}

// The .NET client reads these keys, and ignores values that are no strings.
func TestTheNETClientFindsTheTrace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*esotel.Config)
		keys   []string
	}{
		"default": {nil, []string{"$spanId", "$traceId", "traceparent"}},
		"W3C only": {
			func(cfg *esotel.Config) { cfg.DisableTraceIDs = true }, []string{"traceparent"},
		},
		"without a propagator": {
			func(cfg *esotel.Config) { cfg.Propagator = propagation.NewCompositeTextMapPropagator() },
			[]string{"$spanId", "$traceId"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTraced(t, tt.change)
			require.NoError(t, f.publisher(eventstore.PublisherConfig{}).Publish("orders", newMessage(f.ctx(), "{}")))
			plain := f.plainSubscriber(eventstore.SubscriberConfig{Mode: eventstore.ModeCatchUp})
			msg := receive(t, f.subscribe(plain, "orders"))
			msg.Ack()
			var keys []string
			for _, k := range []string{"$spanId", "$traceId", "traceparent"} {
				if msg.Metadata.Get(k) != "" {
					keys = append(keys, k)
				}
			}
			assert.Equal(t, tt.keys, keys)
			assert.Len(t, msg.Metadata, len(keys))
			send := f.span("send orders").SpanContext()
			if id := msg.Metadata.Get("$traceId"); id != "" {
				assert.Equal(t, send.TraceID().String(), id)
				assert.Equal(t, send.SpanID().String(), msg.Metadata.Get("$spanId"))
			}
			received := f.subscribe(f.subscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}), "orders")
			receive(t, received).Ack()
			requireChild(t, f.span("process orders"), f.span("send orders"))
		})
	}
}

// The next span would take $traceId for its parent, and the .NET client would record spans that were not sampled.
func TestTracesThatAreNotSampledStayThatWay(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil, sdktrace.WithSampler(sdktrace.NeverSample()))
	publisher := f.publisher(eventstore.PublisherConfig{})
	require.NoError(t, publisher.Publish("orders", newMessage(f.ctx(), "{}")))
	require.NoError(t, publisher.Publish("orders", newMessage(f.ctx(), "1"), newMessage(f.ctx(), "2")))
	sampling := newTraced(t, nil, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())))
	s, err := sampling.tracing.DecorateSubscriber(f.plainSubscriber(eventstore.SubscriberConfig{ConsumerGroup: "g"}))
	require.NoError(t, err)
	defer s.Close()
	received := f.subscribe(s, "orders")
	for range 3 {
		msg := receive(t, received)
		assert.Regexp(t, "-00$", msg.Metadata.Get("traceparent"))
		assert.Empty(t, msg.Metadata.Get("$traceId"))
		sc := trace.SpanContextFromContext(msg.Context())
		assert.Contains(t, msg.Metadata.Get("traceparent"), sc.TraceID().String())
		assert.False(t, sc.IsSampled())
		msg.Ack()
	}
	assert.Empty(t, f.recorder.Ended())
	assert.Empty(t, sampling.recorder.Ended())
}

func TestAnEventOfTheClientAloneCarriesATrace(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	ctx, request := f.root()
	member, err := baggage.NewMember("customer", "17")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	ctx = baggage.ContextWithBaggage(ctx, bag)
	for n, before := range []string{"", `{"n":1,"s":"x","$traceId":"stale"}`, `{}`} {
		given := []byte(before)
		e := esclient.EventData{Type: "t", Metadata: given}
		f.tracing.InjectEvent(ctx, &e)
		assert.Equal(t, before, string(given), "the caller's bytes are as they were")
		_, err = f.client.Append(ctx, "orders", esclient.Any, e)
		require.NoError(t, err)
		written, err := f.client.ReadEvent(f.ctx(), "orders", int64(n), esclient.ReadEventOptions{})
		require.NoError(t, err)
		got := f.tracing.ExtractEvent(f.ctx(), written)
		assert.Equal(t, request.SpanContext().WithRemote(true), trace.SpanContextFromContext(got))
		assert.Equal(t, "17", baggage.FromContext(got).Member("customer").Value())
		assert.Contains(t, string(written.Metadata), request.SpanContext().TraceID().String())
		if n == 1 {
			assert.Contains(t, string(written.Metadata), `"n":1`)
			assert.NotContains(t, string(written.Metadata), "stale")
		}
	}
	for _, other := range []string{`[1]`, `null`, `text`, `{"n":`, "\xff"} {
		e := esclient.EventData{Type: "t", Metadata: []byte(other)}
		f.tracing.InjectEvent(ctx, &e)
		assert.Equal(t, other, string(e.Metadata), "metadata that is no object is left alone")
	}
	e := esclient.EventData{Type: "t"}
	f.tracing.InjectEvent(f.ctx(), &e)
	assert.Empty(t, e.Metadata, "the context is in no trace")
	request.End()
}
