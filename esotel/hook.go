package esotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Hook makes spans of the operations of esclient.Clients. It is an esclient.Hook, for esclient.Config.
type Hook struct{ t *Tracing }

// Hook returns a Hook. One may serve any number of clients.
func (t *Tracing) Hook() *Hook { return &Hook{t} }

// operation is the key of the span of an operation: a later hook may have put another span into the context.
type operation struct{}

func operationOf(ctx context.Context) trace.Span {
	span, _ := ctx.Value(operation{}).(trace.Span)
	return span
}

// OnOperationStarted begins a span.
func (h *Hook) OnOperationStarted(ctx context.Context, i esclient.OperationInfo) context.Context {
	if h.t.cfg.OperationsNeedParent && !inTrace(ctx) {
		return ctx
	}
	traced, span := h.t.start(ctx, h.t.spans.ofOperation(i.Command, i.Stream), nil)
	if !span.IsRecording() {
		return ctx
	}
	if i.Stream != "" {
		span.SetAttributes(semconv.DBCollectionName(i.Stream))
	}
	if i.Group != "" {
		span.SetAttributes(semconv.MessagingConsumerGroupName(i.Group))
	}
	return context.WithValue(traced, operation{}, span)
}

// OnRetry adds an event to the span.
func (h *Hook) OnRetry(ctx context.Context, i esclient.OperationInfo) {
	span := operationOf(ctx)
	if span == nil {
		return // the attempts to subscribe are no operation
	}
	attributes := []attribute.KeyValue{
		semconv.ErrorTypeKey.String(esclient.ErrorClass(i.Err)),
		attribute.Int("db.eventstoredb.retry", i.Retries),
		attribute.Float64("db.eventstoredb.retry_delay", i.Delay.Seconds()),
	}
	if i.Err != nil {
		attributes = append(attributes, semconv.ExceptionMessage(i.Err.Error()))
	}
	attributes = append(attributes, endpoint(i.Endpoint, semconv.NetworkPeerAddressKey, semconv.NetworkPeerPortKey)...)
	span.AddEvent("retry", trace.WithAttributes(attributes...))
}

// OnOperationEnded ends the span.
func (h *Hook) OnOperationEnded(ctx context.Context, i esclient.OperationInfo) {
	span := operationOf(ctx)
	if span == nil {
		return
	}
	if len(h.t.spans.server) == 0 {
		span.SetAttributes(endpoint(i.Endpoint, semconv.ServerAddressKey, semconv.ServerPortKey)...)
	}
	span.SetAttributes(endpoint(i.Endpoint, semconv.NetworkPeerAddressKey, semconv.NetworkPeerPortKey)...)
	span.SetAttributes(
		attribute.Int("db.eventstoredb.sent_bytes", i.Sent),
		attribute.Int("db.eventstoredb.received_bytes", i.Received),
		attribute.Int("db.eventstoredb.retries", i.Retries),
	)
	if i.Err != nil {
		fail(span, i.Err)
	}
	span.End()
}
