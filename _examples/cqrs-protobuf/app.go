package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/_examples/cqrs-protobuf/shop"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Groups of event handlers.
const (
	fulfilment = "fulfilment" // each event goes to one instance of the program
	report     = "report"     // each instance gets all events
)

// marshaler writes messages in protobuf. Their names, in the metadata "name", become the types of the events.
var marshaler = cqrs.ProtoMarshaler{GenerateName: func(v any) string {
	if m, ok := v.(proto.Message); ok {
		return string(m.ProtoReflect().Descriptor().FullName())
	}
	return cqrs.FullyQualifiedStructName(v) // Marshal refuses it
}}

// application has the buses and the handlers of a shop. One client serves all of them.
type application struct {
	client   *esclient.Client
	category string       // each order has a stream of its own: category + "-" + its id
	tell     func(string) // is called by handlers, concurrently
	commands *cqrs.CommandBus
	events   *cqrs.EventBus
}

// start runs the application until stop is called. It returns when the handlers listen.
func (a *application) start(ctx context.Context, logger watermill.LoggerAdapter) (stop func() error, err error) {
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{
		// The UUID of a message is the id of its event, so that EventStore's tools find the event that a causation id
		// names. EventStore recognises a message that is sent again by this id; see trace.
		Client: a.client, UseMessageUUIDAsEventID: true, RepublishUnknown: true,
	}, logger)
	if err != nil {
		return nil, err
	}
	router, err := message.NewRouter(message.RouterConfig{}, logger)
	if err == nil {
		err = a.addBuses(publisher, logger)
	}
	if err == nil {
		err = errors.Join(a.addCommandHandlers(router, logger), a.addEventHandlers(router, logger))
	}
	if err != nil {
		return nil, errors.Join(err, publisher.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	select {
	case <-router.Running():
		return func() error { return errors.Join(router.Close(), <-ended, publisher.Close()) }, nil
	case err := <-ended:
		return nil, errors.Join(errors.New("the router has ended before it began"), err, publisher.Close())
	}
}

func (a *application) addBuses(publisher message.Publisher, logger watermill.LoggerAdapter) (err error) {
	if a.commands, err = cqrs.NewCommandBusWithConfig(publisher, cqrs.CommandBusConfig{
		Marshaler: marshaler, Logger: logger,
		GeneratePublishTopic: func(p cqrs.CommandBusGeneratePublishTopicParams) (string, error) {
			return a.commandTopic(p.CommandName), nil
		},
		OnSend: func(p cqrs.CommandBusOnSendParams) error { return trace(p.Message, p.CommandName) },
	}); err != nil {
		return err
	}
	a.events, err = cqrs.NewEventBusWithConfig(publisher, cqrs.EventBusConfig{
		Marshaler: marshaler, Logger: logger,
		GeneratePublishTopic: func(p cqrs.GenerateEventPublishTopicParams) (string, error) {
			event, ok := p.Event.(interface{ GetOrderId() string })
			if !ok || event.GetOrderId() == "" {
				return "", fmt.Errorf("%s has no order id", p.EventName)
			}
			return a.category + "-" + event.GetOrderId(), nil
		},
		OnPublish: func(p cqrs.OnEventSendParams) error { return trace(p.Message, p.EventName) },
	})
	return err
}

// commandTopic is the topic of one kind of command, such as order_commands.PlaceOrder.
func (a *application) commandTopic(name string) string {
	return a.category + "_commands." + name[strings.LastIndexByte(name, '.')+1:]
}

// trace makes msg an effect of its cause, the message that its sender handles. Both have one correlation id, and the
// causation id of msg is the id of the cause. DefaultMarshaler stores both under the keys that EventStore knows.
//
// The id of msg is computed from the cause, the handler and the name of the command or event. So if a handler gets its
// cause again, because an ack was lost, it sends the same id again, and EventStore writes one event. A handler that
// sends several messages of one name must give each an id of its own.
func trace(msg *message.Message, name string) error {
	cause := cqrs.OriginalMessageFromCtx(msg.Context())
	if cause == nil {
		return nil // it is the first one; its sender sets the correlation id
	}
	id, err := uuid.Parse(cause.UUID)
	if err != nil {
		return fmt.Errorf("message %q: %w", cause.UUID, err)
	}
	sender := message.HandlerNameFromCtx(msg.Context())
	msg.UUID = uuid.NewSHA1(id, []byte(sender+" "+name)).String()
	msg.Metadata.Set(eventstore.CausationIDKey, cause.UUID)
	correlation := middleware.MessageCorrelationID(cause)
	if correlation == "" {
		correlation = cause.UUID // another program has sent it
	}
	middleware.SetCorrelationID(correlation, msg)
	return nil
}

func (a *application) addCommandHandlers(router *message.Router, logger watermill.LoggerAdapter) error {
	processor, err := cqrs.NewCommandProcessorWithConfig(router, cqrs.CommandProcessorConfig{
		Marshaler: marshaler, Logger: logger,
		GenerateSubscribeTopic: func(p cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) {
			return a.commandTopic(p.CommandName), nil
		},
		SubscriberConstructor: func(p cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return eventstore.NewSubscriber(eventstore.SubscriberConfig{
				Client: a.client, ConsumerGroup: p.HandlerName,
			}, logger)
		},
	})
	if err != nil {
		return err
	}
	return processor.AddHandlers(
		cqrs.NewCommandHandler("place", func(ctx context.Context, cmd *shop.PlaceOrder) error {
			a.tell(fmt.Sprintf("%s places order %s.", cmd.GetCustomer(), cmd.GetOrderId()))
			return a.events.Publish(ctx, &shop.OrderPlaced{
				OrderId: cmd.GetOrderId(), Customer: cmd.GetCustomer(), Cents: cmd.GetCents(),
			})
		}),
		cqrs.NewCommandHandler("ship", func(ctx context.Context, cmd *shop.ShipOrder) error {
			a.tell(fmt.Sprintf("Order %s is shipped.", cmd.GetOrderId()))
			return a.events.Publish(ctx, &shop.OrderShipped{OrderId: cmd.GetOrderId()})
		}),
	)
}

// addEventHandlers adds two groups of handlers, which read the streams of all orders in two ways.
func (a *application) addEventHandlers(router *message.Router, logger watermill.LoggerAdapter) error {
	processor, err := cqrs.NewEventGroupProcessorWithConfig(router, cqrs.EventGroupProcessorConfig{
		Marshaler: marshaler, Logger: logger,
		AckOnUnknownEvent: true, // of no interest to the group
		GenerateSubscribeTopic: func(p cqrs.EventGroupProcessorGenerateSubscribeTopicParams) (string, error) {
			if p.EventGroupName == report {
				return esclient.AllStream, nil
			}
			return "$ce-" + a.category, nil // the server's projection $by_category writes it
		},
		SubscriberConstructor: func(p cqrs.EventGroupProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			config := eventstore.SubscriberConfig{Client: a.client, ConsumerGroup: p.EventGroupName, ResolveLinks: true}
			if p.EventGroupName == report {
				config = eventstore.SubscriberConfig{
					Client: a.client, Mode: eventstore.ModeCatchUp, Start: esclient.FromEnd(),
					Filter: &esclient.Filter{StreamPrefixes: []string{a.category + "-"}},
				}
			}
			return eventstore.NewSubscriber(config, logger)
		},
	})
	if err != nil {
		return err
	}
	if err := processor.AddHandlersGroup(fulfilment,
		cqrs.NewGroupEventHandler(func(ctx context.Context, e *shop.OrderPlaced) error {
			return a.commands.Send(ctx, &shop.ShipOrder{OrderId: e.GetOrderId()})
		}),
	); err != nil {
		return err
	}
	return processor.AddHandlersGroup(report,
		cqrs.NewGroupEventHandler(func(_ context.Context, e *shop.OrderPlaced) error {
			a.tell(fmt.Sprintf("Report: order %s of %s, for %d cents, is open.",
				e.GetOrderId(), e.GetCustomer(), e.GetCents()))
			return nil
		}),
		cqrs.NewGroupEventHandler(func(_ context.Context, e *shop.OrderShipped) error {
			a.tell(fmt.Sprintf("Report: order %s is done.", e.GetOrderId()))
			return nil
		}),
	)
}

// placeOrder serves the shop's website. The correlation id of a request is that of all messages that follow.
func (a *application) placeOrder(ctx context.Context, request string, order *shop.PlaceOrder) error {
	return a.commands.SendWithModifiedMessage(ctx, order, func(msg *message.Message) error {
		middleware.SetCorrelationID(request, msg)
		return nil
	})
}
