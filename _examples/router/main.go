// Command router runs a Watermill Router on EventStore: commands and events by Watermill's CQRS component, each event
// handler with a consumer group of its own, and a poison queue for messages that cannot be handled.
//
//	go -C _examples/router run .                                                    on an embedded server
//	EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 go -C _examples/router run .  on a real one
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// OrderPlaced is an event.
type OrderPlaced struct {
	ID     string
	Amount int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	err := run(ctx, os.Stdout, os.Getenv("EVENTSTORE_URL"))
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "router:", err)
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
	// One connection for all publishers and subscribers, which borrow it and never close it.
	client, err := esclient.Open(url)
	if err != nil {
		return err
	}
	defer client.Close()
	suffix := watermill.NewShortUUID()
	app := application{
		client: client, orders: "orders-" + suffix, poison: "poison-" + suffix, handled: make(chan string, 16),
	}
	return app.run(ctx, out)
}

// application has the dependencies of the handlers.
type application struct {
	client         *esclient.Client
	orders, poison string // topics
	handled        chan string
}

func (a *application) run(ctx context.Context, out io.Writer) error {
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: a.client}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	router, err := a.router(publisher)
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

	if err := a.publish(ctx, publisher); err != nil {
		return errors.Join(err, router.Close())
	}
	for range 5 { // three orders shipped, two of them with an invoice
		select {
		case line := <-a.handled:
			fmt.Fprintln(out, line)
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), router.Close())
		}
	}
	if err := a.report(ctx, out); err != nil {
		return errors.Join(err, router.Close())
	}
	return errors.Join(router.Close(), <-ended)
}

var marshaler = cqrs.JSONMarshaler{GenerateName: cqrs.StructName} // the name becomes the event's type

func (a *application) router(publisher message.Publisher) (*message.Router, error) {
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	poison, err := middleware.PoisonQueue(publisher, a.poison)
	if err != nil {
		return nil, err
	}
	router.AddMiddleware(middleware.CorrelationID, poison)
	processor, err := cqrs.NewEventProcessorWithConfig(router, cqrs.EventProcessorConfig{
		Marshaler: marshaler,
		GenerateSubscribeTopic: func(cqrs.EventProcessorGenerateSubscribeTopicParams) (string, error) {
			return a.orders, nil
		},
		SubscriberConstructor: func(p cqrs.EventProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return eventstore.NewSubscriber(eventstore.SubscriberConfig{
				Client: a.client, ConsumerGroup: p.HandlerName,
			}, nil)
		},
	})
	if err != nil {
		return nil, err
	}
	return router, processor.AddHandlers(
		cqrs.NewEventHandler("shipping", func(_ context.Context, e *OrderPlaced) error {
			a.handled <- "shipping: order " + e.ID + " is on its way"
			return nil
		}),
		cqrs.NewEventHandler("invoices", func(_ context.Context, e *OrderPlaced) error {
			if e.Amount <= 0 {
				return fmt.Errorf("order %s has no amount", e.ID)
			}
			a.handled <- fmt.Sprintf("invoices: order %s costs %d", e.ID, e.Amount)
			return nil
		}),
	)
}

func (a *application) publish(ctx context.Context, publisher message.Publisher) error {
	bus, err := cqrs.NewEventBusWithConfig(publisher, cqrs.EventBusConfig{
		Marshaler:            marshaler,
		GeneratePublishTopic: func(cqrs.GenerateEventPublishTopicParams) (string, error) { return a.orders, nil },
	})
	if err != nil {
		return err
	}
	for _, e := range []OrderPlaced{{ID: "1", Amount: 10}, {ID: "2", Amount: 0}} {
		if err := bus.Publish(ctx, &e); err != nil {
			return err
		}
	}
	// Another program, which knows nothing of Watermill, writes to the same stream.
	event, err := esclient.JSONEvent("OrderPlaced", OrderPlaced{ID: "3", Amount: 30})
	if err != nil {
		return err
	}
	_, err = a.client.Append(ctx, a.orders, esclient.Any, event)
	return err
}

// report waits for the poisoned message and tells of it. It was acked: the group has gone on behind it.
func (a *application) report(ctx context.Context, out io.Writer) error {
	sub, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: a.client, Mode: eventstore.ModeCatchUp,
	}, nil)
	if err != nil {
		return err
	}
	defer sub.Close()
	messages, err := sub.Subscribe(ctx, a.poison)
	if err != nil {
		return err
	}
	msg, ok := <-messages
	if !ok {
		return context.Cause(ctx)
	}
	fmt.Fprintf(out, "poisoned: %s, since %s\n", msg.Payload, msg.Metadata.Get(middleware.ReasonForPoisonedKey))
	msg.Ack()
	return nil
}
