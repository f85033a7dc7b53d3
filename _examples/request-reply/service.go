package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/components/requestreply"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// GetPrice is the command, and Price the reply to it.
type GetPrice struct {
	Article string
	Count   int
}

// Price is in cents.
type Price struct{ Cents int }

const (
	// group is the consumer group of the service: each command goes to one of its instances.
	group = "prices"
	// replyToKey is the metadata of a command with the stream that its reply goes to.
	replyToKey = "reply_to"
)

var marshaler = cqrs.JSONMarshaler{GenerateName: cqrs.StructName} // the name becomes the event's type

// Service answers commands.
type Service struct {
	Client   *esclient.Client
	Commands string // the topic
	Logger   watermill.LoggerAdapter
	// Price is the handler. Its error goes to the caller, as a text.
	Price func(ctx context.Context, cmd *GetPrice) (Price, error)
}

// Start answers commands until stop is called. It returns when the service listens.
func (s *Service) Start(ctx context.Context) (stop func() error, err error) {
	router, err := message.NewRouter(message.RouterConfig{}, s.Logger)
	if err != nil {
		return nil, err
	}
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{
		Client: s.Client, RepublishUnknown: true, // a second reply has no effect
	}, s.Logger)
	if err != nil {
		return nil, err
	}
	if err := s.addHandler(router, publisher); err != nil {
		return nil, errors.Join(err, publisher.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	stop = func() error { return errors.Join(router.Close(), <-ended, publisher.Close()) }
	select {
	case <-router.Running():
		return stop, nil
	case err := <-ended:
		return nil, errors.Join(errors.New("the service has ended before it began"), err, publisher.Close())
	}
}

func (s *Service) addHandler(router *message.Router, publisher message.Publisher) error {
	backend, err := requestreply.NewPubSubBackend(requestreply.PubSubBackendConfig{
		Publisher: publisher,
		GeneratePublishTopic: func(p requestreply.PubSubBackendPublishParams) (string, error) {
			replyTo := p.CommandMessage.Metadata.Get(replyToKey)
			if replyTo == "" {
				return "", fmt.Errorf("command %s has no %s", p.CommandMessage.UUID, replyToKey)
			}
			return replyTo, nil
		},
		// The caller gets the handler's error. The command is done: it is not handled again.
		AckCommandErrors: true,
		// The service only answers, but a backend must have these two.
		SubscriberConstructor: func(requestreply.PubSubBackendSubscribeParams) (message.Subscriber, error) {
			return nil, errAnswers
		},
		GenerateSubscribeTopic: func(requestreply.PubSubBackendSubscribeParams) (string, error) {
			return "", errAnswers
		},
		Logger: s.Logger,
	}, requestreply.BackendPubsubJSONMarshaler[Price]{})
	if err != nil {
		return err
	}
	processor, err := cqrs.NewCommandProcessorWithConfig(router, cqrs.CommandProcessorConfig{
		Marshaler: marshaler, Logger: s.Logger,
		GenerateSubscribeTopic: func(cqrs.CommandProcessorGenerateSubscribeTopicParams) (string, error) {
			return s.Commands, nil
		},
		SubscriberConstructor: func(cqrs.CommandProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return eventstore.NewSubscriber(eventstore.SubscriberConfig{
				Client: s.Client, ConsumerGroup: group,
				// Commands do not wait for each other: each has a key of its own.
				Concurrency: 50, Key: func(msg *message.Message) string { return msg.UUID },
				// A command without a stream to reply to is parked, after some attempts.
				MaxNacks: 5,
			}, s.Logger)
		},
	})
	if err != nil {
		return err
	}
	return processor.AddHandlers(requestreply.NewCommandHandlerWithResult(group, backend, s.Price))
}

var errAnswers = errors.New("the service sends no commands")
