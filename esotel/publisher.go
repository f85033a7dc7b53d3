package esotel

import (
	"context"
	"errors"
	"maps"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

// publisher makes spans of Publish calls.
type publisher struct {
	message.Publisher
	t *Tracing
}

// DecoratePublisher is a message.PublisherDecorator: it returns a Publisher that makes spans. Decorate a Publisher
// once, either here or by [Tracing.AddTo]. The parent of a span is that in the context of the message.
//
// Publish does not change messages: it writes the trace to copies of them. The lists of an eventstore.PublishError have
// the messages of the call.
func (t *Tracing) DecoratePublisher(p message.Publisher) (message.Publisher, error) {
	return &publisher{Publisher: p, t: t}, nil
}

// Publish publishes messages, and makes the spans of the call.
func (p *publisher) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		if m == nil {
			return p.Publisher.Publish(topic, messages...) // which refuses it
		}
	}
	switch len(messages) {
	case 0:
		return p.Publisher.Publish(topic)
	case 1:
		return p.publishOne(topic, messages)
	}
	return p.publishBatch(topic, messages)
}

func (p *publisher) publishOne(topic string, messages []*message.Message) error {
	m := messages[0]
	own := p.t.ownContext(m)
	kind := trace.SpanKindProducer
	var link []trace.SpanContext
	if own.IsValid() {
		kind, link = trace.SpanKindClient, []trace.SpanContext{own}
	}
	of := p.t.spans.of(spanKind{operation: "send", kind: kind, topic: topic})
	ctx, span := p.t.start(m.Context(), of, link)
	if !span.SpanContext().IsValid() {
		return p.Publisher.Publish(topic, messages...)
	}
	if span.IsRecording() {
		span.SetAttributes(idsOf(m)...)
	}
	traced := copyOf(m)
	traced.SetContext(ctx)
	if !own.IsValid() {
		p.t.inject(ctx, traced.Metadata)
	}
	return p.perform(topic, span, messages, []*message.Message{traced})
}

func (p *publisher) publishBatch(topic string, messages []*message.Message) error {
	creation := make([]trace.SpanContext, len(messages))
	carriers := make([]context.Context, len(messages)) // with the span to inject; nil if there is none
	for i, m := range messages {
		creation[i], carriers[i] = p.t.create(topic, m)
		if carriers[i] != nil && !creation[i].IsValid() {
			return p.Publisher.Publish(topic, messages...) // there is no tracer
		}
	}
	kind := trace.SpanKindClient
	if p.t.cfg.DisableCreateSpans {
		kind = trace.SpanKindProducer
	}
	of := p.t.spans.of(spanKind{operation: "send", kind: kind, topic: topic})
	first := messages[0].Context()
	sendCtx, span := p.t.start(first, of, creation)
	if !span.SpanContext().IsValid() {
		return p.Publisher.Publish(topic, messages...)
	}
	if span.IsRecording() {
		span.SetAttributes(semconv.MessagingBatchMessageCount(len(messages)))
	}
	traced := make([]*message.Message, len(messages))
	last, lastTraced := first, sendCtx
	for i, m := range messages {
		traced[i] = copyOf(m)
		// Messages that share a context still do: a Publisher waits for the end of each that is different.
		if ctx := m.Context(); ctx != last {
			last, lastTraced = ctx, trace.ContextWithSpan(ctx, span)
		}
		traced[i].SetContext(lastTraced)
		switch {
		case carriers[i] != nil:
			p.t.inject(carriers[i], traced[i].Metadata)
		case !creation[i].IsValid():
			p.t.inject(lastTraced, traced[i].Metadata)
		}
	}
	return p.perform(topic, span, messages, traced)
}

// create makes the create span of a message of several. It returns the context that created the message, if that is
// known before the send span, and a context to write to the message, if it has none of its own.
func (t *Tracing) create(topic string, m *message.Message) (trace.SpanContext, context.Context) {
	if own := t.ownContext(m); own.IsValid() {
		return own, nil
	}
	if t.cfg.DisableCreateSpans {
		return trace.SpanContext{}, nil
	}
	of := t.spans.of(spanKind{operation: "create", kind: trace.SpanKindProducer, topic: topic})
	ctx, span := t.start(m.Context(), of, nil)
	if span.IsRecording() {
		span.SetAttributes(idsOf(m)...)
	}
	span.End()
	return span.SpanContext(), ctx
}

// perform publishes the copies of messages and ends the send span.
func (p *publisher) perform(topic string, span trace.Span, messages, traced []*message.Message) error {
	defer span.End() // also if Publish panics
	err := p.Publisher.Publish(topic, traced...)
	if err == nil {
		return nil
	}
	var failed *eventstore.PublishError
	if errors.As(err, &failed) {
		originals := make(map[*message.Message]*message.Message, len(messages))
		for i, m := range traced {
			originals[m] = messages[i]
		}
		for _, list := range [][]*message.Message{failed.Written, failed.Unknown, failed.NotWritten} {
			for i, m := range list {
				if original := originals[m]; original != nil {
					list[i] = original
				}
			}
		}
		span.SetAttributes(
			attribute.Int("messaging.eventstoredb.messages.written", len(failed.Written)),
			attribute.Int("messaging.eventstoredb.messages.unknown", len(failed.Unknown)),
			attribute.Int("messaging.eventstoredb.messages.not_written", len(failed.NotWritten)),
		)
	}
	fail(span, err)
	return err
}

// start begins a span with links to the span contexts that are valid.
func (t *Tracing) start(
	ctx context.Context, of *template, to []trace.SpanContext,
) (context.Context, trace.Span) {
	options := of.options
	if len(to) > 0 {
		options = append(options[:len(options):len(options)], linksTo(to...))
	}
	return t.tracer.Start(ctx, of.name, options...)
}

// ownContext returns the span context that a message to publish has in its metadata, unless it was received with it.
func (t *Tracing) ownContext(m *message.Message) trace.SpanContext {
	_, own := t.extract(context.Background(), m.Metadata)
	if p := processOf(m.Context()); p != nil && own.Equal(p.created) {
		return trace.SpanContext{}
	}
	return own
}

// idsOf returns the attributes of a single message.
func idsOf(m *message.Message) []attribute.KeyValue {
	ids := make([]attribute.KeyValue, 0, 2)
	if m.UUID != "" {
		ids = append(ids, semconv.MessagingMessageID(m.UUID))
	}
	if conversation := m.Metadata[eventstore.CorrelationIDKey]; conversation != "" {
		ids = append(ids, semconv.MessagingMessageConversationID(conversation))
	}
	return ids
}

// copyOf returns a message with metadata of its own.
func copyOf(m *message.Message) *message.Message {
	c := message.NewMessage(m.UUID, m.Payload)
	maps.Copy(c.Metadata, m.Metadata)
	return c
}
