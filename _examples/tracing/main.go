// Command tracing publishes an order and prints its trace: through a handler that makes a parcel of the order and fails
// once, to a second handler that mails about the parcel.
//
//	go -C _examples/tracing run .                                                    on an embedded server
//	EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 go -C _examples/tracing run .  on a real one
//
// If OTEL_EXPORTER_OTLP_ENDPOINT is set, such as to http://localhost:4318, the trace also goes to that collector, or to
// Jaeger or Tempo. The other variables OTEL_EXPORTER_OTLP_… and OTEL_SERVICE_NAME count too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esotel"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	err := run(ctx, os.Stdout, os.Getenv("EVENTSTORE_URL"))
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracing:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, url string) error {
	if url == "" {
		server, err := estest.Start()
		if err != nil {
			return err
		}
		defer server.Close()
		url = server.ConnectionString()
	}
	spans := tracetest.NewInMemoryExporter() // for the printed spans
	shutdown, err := setUpOpenTelemetry(ctx, spans)
	if err != nil {
		return err
	}
	err = trade(ctx, url)
	recorded := spans.GetSpans() // Shutdown makes the exporter forget them
	err = errors.Join(err, shutdown(context.WithoutCancel(ctx)))
	if err != nil {
		return err
	}
	return printTraces(out, recorded)
}

// setUpOpenTelemetry is the same in every program with traces. It returns a function that sends the remaining spans.
func setUpOpenTelemetry(ctx context.Context, spans sdktrace.SpanExporter) (func(context.Context) error, error) {
	options := []sdktrace.TracerProviderOption{sdktrace.WithSyncer(spans)}
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		collector, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, err
		}
		options = append(options, sdktrace.WithBatcher(collector))
	}
	provider := sdktrace.NewTracerProvider(options...)
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(
		propagation.TraceContext{}, propagation.Baggage{}))
	return provider.Shutdown, nil
}

// trade publishes an order and returns when it was handled.
func trade(ctx context.Context, url string) error {
	config, err := esclient.ParseConnectionString(url)
	if err != nil {
		return err
	}
	tracing, err := esotel.New(esotel.Config{
		Server: config.Address,
		// The topics of this program have another ending in each run, and names of spans must be few.
		Template: func(topic string) string {
			name, _, _ := strings.Cut(topic, "-")
			return name
		},
		OperationsNeedParent: true,
	})
	if err != nil {
		return err
	}
	config.Hooks = append(config.Hooks, tracing.Hook())
	client, err := esclient.New(config)
	if err != nil {
		return err
	}
	defer client.Close()
	mailed := make(chan struct{})
	s := shop{
		client: client, tracing: tracing, suffix: watermill.NewShortUUID(),
		mailed: mailed, done: sync.OnceFunc(func() { close(mailed) }),
	}
	return s.open(ctx)
}

// shop has the dependencies of the handlers.
type shop struct {
	client  *esclient.Client
	tracing *esotel.Tracing
	suffix  string // of topics
	failed  bool
	mailed  <-chan struct{} // closed by done
	done    func()
}

func (s *shop) open(ctx context.Context) error {
	router, err := s.router()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	select {
	case <-router.Running():
	case err := <-ended:
		return err
	}
	if err := s.order(ctx); err != nil {
		return errors.Join(err, router.Close(), <-ended)
	}
	select {
	case <-s.mailed:
	case <-ctx.Done():
	}
	return errors.Join(context.Cause(ctx), router.Close(), <-ended)
}

func (s *shop) router() (*message.Router, error) {
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	s.tracing.AddTo(router) // traces of all handlers that follow
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: s.client}, nil)
	if err != nil {
		return nil, err
	}
	shipping, err := s.group("shipping")
	if err != nil {
		return nil, err
	}
	mailing, err := s.group("mailing")
	if err != nil {
		return nil, err
	}
	router.AddHandler("shipping", "orders-"+s.suffix, shipping, "parcels-"+s.suffix, publisher, s.ship)
	router.AddConsumerHandler("mailing", "parcels-"+s.suffix, mailing, s.mail)
	return router, nil
}

func (s *shop) group(name string) (*eventstore.Subscriber, error) {
	return eventstore.NewSubscriber(eventstore.SubscriberConfig{Client: s.client, ConsumerGroup: name}, nil)
}

// order publishes an order as a request handler does.
func (s *shop) order(ctx context.Context) error {
	plain, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: s.client}, nil)
	if err != nil {
		return err
	}
	publisher, err := s.tracing.DecoratePublisher(plain)
	if err != nil {
		return err
	}
	defer publisher.Close()
	ctx, span := otel.Tracer("shop").Start(ctx, "POST /orders")
	defer span.End()
	order := message.NewMessage(watermill.NewUUID(), []byte(`{"item":"tea"}`))
	order.SetContext(ctx) // the trace that the message belongs to
	return publisher.Publish("orders-"+s.suffix, order)
}

// ship makes a parcel of an order, in its second attempt.
func (s *shop) ship(order *message.Message) ([]*message.Message, error) {
	if !s.failed {
		s.failed = true
		return nil, errors.New("no parcel service answers")
	}
	return message.Messages{message.NewMessage(watermill.NewUUID(), []byte(`{"parcel":1}`))}, nil
}

func (s *shop) mail(*message.Message) error {
	s.done() // also if the message comes again
	return nil
}
