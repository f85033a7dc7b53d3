package esotel

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Keys by which EventStore's .NET client for gRPC keeps the span of an append in the metadata of an event, in
// hexadecimal digits.
const (
	traceIDKey = "$traceId"
	spanIDKey  = "$spanId"
)

// fields returns the keys of metadata that tell of a trace. Their order is that of the propagator, then $traceId and
// $spanId.
func (t *Tracing) fields() []string {
	if known := t.known.Load(); known != nil {
		return *known
	}
	of := t.propagator.Fields()
	fields := append(slices.Clone(of), traceIDKey, spanIDKey)
	if len(of) > 0 { // the global propagator has none until it is set
		t.known.Store(&fields)
	}
	return fields
}

// extract returns a context with the span context and the baggage of a carrier. created is that span context. It is not
// valid if the carrier has none.
func (t *Tracing) extract(ctx context.Context, c map[string]string) (_ context.Context, created trace.SpanContext) {
	if len(c) == 0 {
		return ctx, trace.SpanContext{}
	}
	ambient := trace.SpanContextFromContext(ctx)
	ctx = t.propagator.Extract(ctx, propagation.MapCarrier(c))
	if created = trace.SpanContextFromContext(ctx); created.IsValid() && !created.Equal(ambient) {
		return ctx, created
	}
	if created = fromTraceIDs(c); created.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, created)
	}
	return ctx, created
}

// fromTraceIDs returns the span context of $traceId and $spanId. As for the .NET client, which writes them for recorded
// spans, it is sampled.
func fromTraceIDs(c map[string]string) trace.SpanContext {
	traceID, err := trace.TraceIDFromHex(c[traceIDKey])
	if err != nil {
		return trace.SpanContext{}
	}
	spanID, err := trace.SpanIDFromHex(c[spanIDKey])
	if err != nil {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.FlagsSampled, Remote: true,
	})
}

// inject writes the span and the baggage of a context to a carrier, in place of those that are there.
func (t *Tracing) inject(ctx context.Context, c map[string]string) {
	for _, field := range t.fields() {
		delete(c, field)
	}
	t.propagator.Inject(ctx, propagation.MapCarrier(c))
	if sc := trace.SpanContextFromContext(ctx); sc.IsSampled() && sc.IsValid() && !t.cfg.DisableTraceIDs {
		c[traceIDKey] = sc.TraceID().String()
		c[spanIDKey] = sc.SpanID().String()
	}
}

// extractMessage is extract for a received message. If an Unmarshaler has left out the metadata, that of the event
// counts.
func (t *Tracing) extractMessage(msg *message.Message) (context.Context, trace.SpanContext) {
	ctx, created := t.extract(msg.Context(), msg.Metadata)
	if created.IsValid() {
		return ctx, created
	}
	e, ok := eventstore.EventFromCtx(ctx)
	if !ok || msg.Metadata[eventstore.RawMetadataKey] != "" {
		return ctx, created
	}
	return t.extract(ctx, t.fieldsOf(e.Metadata))
}

// fieldsOf returns the strings in the metadata of an event, if one of them may tell of a trace.
func (t *Tracing) fieldsOf(metadata []byte) map[string]string {
	found := false
	for _, field := range t.fields() {
		found = found || bytes.Contains(metadata, []byte(field))
	}
	var members map[string]json.RawMessage
	if !found || json.Unmarshal(metadata, &members) != nil {
		return nil
	}
	fields := make(map[string]string, len(members))
	for key, raw := range members {
		var text string
		if json.Unmarshal(raw, &text) == nil {
			fields[key] = text
		}
	}
	return fields
}

// InjectEvent writes the span and the baggage of a context to the metadata of an event that a client appends without a
// Publisher. Metadata must be empty or a JSON object. Otherwise, and if the context is in no trace, it stays as it is.
// InjectEvent does not change the bytes of Metadata but replaces them.
func (t *Tracing) InjectEvent(ctx context.Context, e *esclient.EventData) {
	if !inTrace(ctx) {
		return
	}
	members := make(map[string]json.RawMessage)
	if len(e.Metadata) > 0 && (json.Unmarshal(e.Metadata, &members) != nil || members == nil) {
		return
	}
	fields := make(map[string]string)
	t.inject(ctx, fields)
	for _, stale := range t.fields() {
		delete(members, stale)
	}
	for key, value := range fields {
		if utf8.ValidString(value) {
			members[key], _ = json.Marshal(value) // a string that is UTF-8 can be marshaled
		}
	}
	if metadata, err := json.Marshal(members); err == nil {
		e.Metadata = metadata
	}
}

// ExtractEvent returns a context with the span, as a remote one, and the baggage that were written to the metadata of
// an event. It is ctx if there are none.
func (t *Tracing) ExtractEvent(ctx context.Context, e *esclient.Event) context.Context {
	ctx, _ = t.extract(ctx, t.fieldsOf(e.Metadata))
	return ctx
}
