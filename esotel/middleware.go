package esotel

import (
	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
)

// Middleware is a message.HandlerMiddleware. It gives the process span the handler's error, and the messages that the
// handler returns the span and the baggage of the message that it got, unless they are in a trace already. It needs
// [Tracing.DecorateSubscriber].
func (t *Tracing) Middleware(h message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		p := processOf(msg.Context())
		produced, err := h(msg)
		if p == nil {
			return produced, err
		}
		if err != nil {
			p.failed.Store(true)
			fail(p.span, err)
		}
		for _, m := range produced {
			if m != nil && !inTrace(m.Context()) {
				p.passTo(m)
			}
		}
		return produced, err
	}
}

// passTo puts a message that a handler made into the trace of the message that it got.
func (p *process) passTo(m *message.Message) {
	ctx := trace.ContextWithSpan(m.Context(), p.span)
	if b := baggage.FromContext(p.ctx); b.Len() > 0 && baggage.FromContext(ctx).Len() == 0 {
		ctx = baggage.ContextWithBaggage(ctx, b)
	}
	m.SetContext(withProcess(ctx, p))
}
