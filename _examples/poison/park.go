package main

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
)

// runWithParking runs both handlers. What billing cannot handle is parked by the server, for billing only. To replay it
// needs no program: the server delivers parked messages to the group again.
func (s *shop) runWithParking(ctx context.Context, bill message.NoPublishHandlerFunc) (stop func() error, err error) {
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	router.AddMiddleware(park)
	for name, handle := range map[string]message.NoPublishHandlerFunc{billing: bill, shipping: s.ship} {
		subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
			Client: s.client, ConsumerGroup: name,
		}, nil)
		if err != nil {
			return nil, err
		}
		router.AddConsumerHandler(name, s.topic, subscriber, handle)
	}
	return start(ctx, router)
}

// park has the server park messages of an unknown currency. After other errors the message is redelivered.
func park(handle message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		produced, err := handle(msg)
		if errors.Is(err, ErrCurrency) {
			eventstore.NackWith(msg, eventstore.ActionPark, err.Error())
		}
		return produced, err // the router's own Nack has no effect after NackWith
	}
}

// replayParked has the server deliver all parked messages of billing again.
func (s *shop) replayParked(ctx context.Context) error {
	admin, err := esadmin.New(s.client)
	if err != nil {
		return err
	}
	return admin.ReplayParked(ctx, s.topic, billing, 0)
}
