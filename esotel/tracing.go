package esotel

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// ScopeName is the name of the instrumentation scope of all spans.
const ScopeName = "github.com/watermill-eventstore/watermill-eventstore/esotel"

// Tracing makes spans of Publishers, Subscribers and clients. One may serve any number of them. All methods may be
// called by any number of goroutines at once.
type Tracing struct {
	cfg        Config
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	spans      *templates
	known      atomic.Pointer[[]string] // result of fields
}

// New makes a Tracing. It fails with ErrInvalidConfig.
func New(cfg Config) (*Tracing, error) {
	if cfg.MaxNames < 0 {
		return nil, fmt.Errorf("%w: Config.MaxNames, %d, is negative", ErrInvalidConfig, cfg.MaxNames)
	}
	if cfg.MaxNames == 0 {
		cfg.MaxNames = DefaultMaxNames
	}
	server, err := cfg.server()
	if err != nil {
		return nil, err
	}
	t := &Tracing{cfg: cfg, propagator: cfg.Propagator, spans: newTemplates(&cfg, server)}
	provider := cfg.TracerProvider
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	if t.propagator == nil {
		t.propagator = otel.GetTextMapPropagator()
	}
	t.tracer = provider.Tracer(ScopeName, trace.WithSchemaURL(semconv.SchemaURL))
	return t, nil
}

// AddTo adds the decorators of publishers and subscribers, and the middleware, to a Router. Call it before the other
// middlewares are added, so that the spans of messages have the errors that those return.
func (t *Tracing) AddTo(r *message.Router) {
	r.AddPublisherDecorators(t.DecoratePublisher)
	r.AddSubscriberDecorators(t.DecorateSubscriber)
	r.AddMiddleware(t.Middleware)
}

// fail gives a span the status and the attributes of an error.
func fail(span trace.Span, err error) {
	if !span.IsRecording() {
		return
	}
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
	if class := esclient.ErrorClass(err); class != "error" {
		span.SetAttributes(semconv.ErrorTypeKey.String(class))
	} else {
		span.SetAttributes(semconv.ErrorType(err))
	}
}

// inTrace reports whether a context belongs to a trace.
func inTrace(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsValid() }
