package esotel

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

// subscriber makes spans of the messages that another Subscriber hands out.
type subscriber struct {
	message.Subscriber
	t      *Tracing
	closed chan struct{} // when the other Subscriber is closed
	close  func()
	wg     sync.WaitGroup // subscriptions
}

// initializing is a subscriber whose Subscriber implements message.SubscribeInitializer.
type initializing struct {
	*subscriber
	message.SubscribeInitializer
}

// DecorateSubscriber is a message.SubscriberDecorator: it returns a Subscriber that makes spans. Decorate a Subscriber
// once, either here or by [Tracing.AddTo]. The context of a message has its span, so that what a handler publishes with
// it is in the same trace.
//
// A process span begins when its message is handed out, or waits for a consumer that is slower than its subscription,
// and ends with the answer, or with the subscription if there is none. The channel of Subscribe is closed after the end
// of all spans.
func (t *Tracing) DecorateSubscriber(s message.Subscriber) (message.Subscriber, error) {
	closed := make(chan struct{})
	d := &subscriber{Subscriber: s, t: t, closed: closed, close: sync.OnceFunc(func() { close(closed) })}
	if i, ok := s.(message.SubscribeInitializer); ok {
		return initializing{d, i}, nil
	}
	return d, nil
}

// Subscribe hands out the messages of a topic with spans in their contexts.
func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	in, err := s.Subscriber.Subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	s.wg.Go(func() { s.forward(topic, in, out) })
	return out, nil
}

// Close closes the other Subscriber and waits for the end of all subscriptions.
func (s *subscriber) Close() error {
	err := s.Subscriber.Close()
	s.close()
	s.wg.Wait()
	return err
}

// forward hands out messages until the other Subscriber's channel is closed.
func (s *subscriber) forward(topic string, in <-chan *message.Message, out chan<- *message.Message) {
	ended := make(chan struct{})
	var spans sync.WaitGroup
	defer close(out) // after the end of all spans
	defer spans.Wait()
	defer close(ended)
	for msg := range in {
		untraced := msg.Context()
		p := s.t.startProcess(msg, topic)
		if p != nil && p.span.IsRecording() {
			spans.Go(func() { p.awaitAnswer(untraced, msg, ended) })
		}
		s.handOut(untraced, msg, out)
		if p != nil && p.received != nil {
			p.received.End()
		}
	}
}

// handOut waits until the consumer takes a message, or gives it back.
func (s *subscriber) handOut(untraced context.Context, msg *message.Message, out chan<- *message.Message) {
	select {
	case out <- msg:
		return
	default:
	}
	select {
	case out <- msg:
	case <-untraced.Done(): // first: so a nack does not count, and the message is given back
		msg.Nack()
	case <-s.closed:
		msg.Nack()
	}
}

// process is the part of a span in the context of its message.
type process struct {
	span     trace.Span
	ctx      context.Context
	created  trace.SpanContext // of the span that created the message; not valid if that is not known
	received trace.Span        // nil without Config.ReceiveSpans
	failed   atomic.Bool       // the handler has returned an error
}

type processKey struct{}

func processOf(ctx context.Context) *process {
	p, _ := ctx.Value(processKey{}).(*process)
	return p
}

func withProcess(ctx context.Context, p *process) context.Context {
	return context.WithValue(ctx, processKey{}, p)
}

// startProcess begins the process span of a message, after its receive span if there is one, and sets the context of
// the message. It returns nil if there is neither a span nor a trace to go on with.
func (t *Tracing) startProcess(msg *message.Message, topic string) *process {
	group, _ := eventstore.ConsumerGroupFromCtx(msg.Context())
	ambient := trace.SpanContextFromContext(msg.Context())
	ctx, created := t.extractMessage(msg)
	root := t.cfg.LinkConsumers || !created.IsValid()
	start := func(operation string, kind trace.SpanKind) (span trace.Span) {
		of := t.spans.of(spanKind{operation: operation, kind: kind, topic: topic, group: group})
		options := of.options
		if created.IsValid() || ambient.IsValid() {
			options = append(options[:len(options):len(options)], linksTo(created, ambient))
			if root {
				options = append(options, trace.WithNewRoot())
			}
		}
		ctx, span = t.tracer.Start(ctx, of.name, options...)
		if span.IsRecording() {
			span.SetAttributes(idsOf(msg)...)
			span.SetAttributes(deliveryOf(ctx)...)
		}
		return span
	}
	var received trace.Span
	if t.cfg.ReceiveSpans {
		received, root = start("receive", trace.SpanKindClient), false
	}
	span := start("process", trace.SpanKindConsumer)
	if !created.IsValid() && !span.SpanContext().IsValid() {
		return nil
	}
	p := &process{span: span, ctx: ctx, created: created, received: received}
	msg.SetContext(withProcess(ctx, p))
	return p
}

func linksTo(contexts ...trace.SpanContext) trace.SpanStartOption {
	links := make([]trace.Link, 0, len(contexts))
	for _, sc := range contexts {
		if sc.IsValid() {
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	return trace.WithLinks(links...)
}

// deliveryOf returns the attributes of a message from EventStore.
func deliveryOf(ctx context.Context) []attribute.KeyValue {
	e, ok := eventstore.EventFromCtx(ctx)
	if !ok {
		return nil
	}
	attributes := []attribute.KeyValue{
		attribute.String("db.eventstoredb.stream", e.Stream),
		attribute.String("db.eventstoredb.event.id", e.ID.String()),
		attribute.String("db.eventstoredb.event.type", e.Type),
	}
	if retries, _ := eventstore.RetryCountFromCtx(ctx); retries > 0 {
		attributes = append(attributes, attribute.Int("messaging.eventstoredb.message.retry_count", retries))
	}
	return attributes
}

// awaitAnswer ends a process span with the answer to its message. The context of a message of this project ends before
// the time for answers does, so the end of the subscription counts. Other Subscribers may keep a subscription for ever
// whose message has no answer, so the end of its context counts.
func (p *process) awaitAnswer(ctx context.Context, msg *message.Message, ended <-chan struct{}) {
	var abandoned <-chan struct{}
	if _, ours := eventstore.EventFromCtx(ctx); !ours {
		abandoned = ctx.Done()
	}
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
	case <-ended:
	case <-abandoned:
	}
	// All may have happened at once.
	select {
	case <-msg.Acked():
		p.end("ack", "")
	default:
		select {
		case <-msg.Nacked():
			p.end("nack", "nacked")
		default:
			p.end("none", "unanswered")
		}
	}
}

// end ends the span. failure is its error, unless the handler has returned one.
func (p *process) end(answer, failure string) {
	p.span.SetAttributes(attribute.String("messaging.eventstoredb.answer", answer))
	if failure != "" && !p.failed.Load() {
		p.span.SetAttributes(semconv.ErrorTypeKey.String(failure))
		p.span.SetStatus(codes.Error, "the message is "+failure)
	}
	p.span.End()
}
