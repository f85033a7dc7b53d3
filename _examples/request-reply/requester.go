package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/components/requestreply"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// repliesMaxAge is how long the server keeps replies. A reply matters only until its caller has it.
const repliesMaxAge = 10 * time.Minute

// ErrNoReply means that no reply came in time. The command may have been handled, or be handled later.
var ErrNoReply = errors.New("no reply in time")

// Requester sends commands and waits for their replies, which come in one stream for each instance. Its methods are
// safe for concurrent use.
type Requester struct {
	bus        *cqrs.CommandBus
	backend    *requestreply.PubSubBackend[Price]
	publisher  *eventstore.Publisher
	subscriber *eventstore.Subscriber
}

// NewRequester returns a Requester that uses client, which stays the caller's. The stream replies is for this instance
// only. A request without a deadline of its own ends after timeout.
func NewRequester(
	ctx context.Context, client *esclient.Client, commands, replies string, timeout time.Duration,
	logger watermill.LoggerAdapter,
) (*Requester, error) {
	if _, err := client.SetStreamMetadata(ctx, replies, esclient.Any,
		esclient.StreamMetadata{MaxAge: repliesMaxAge}); err != nil {
		return nil, err
	}
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{
		Client: client, UseMessageUUIDAsEventID: true, RepublishUnknown: true,
	}, logger)
	if err != nil {
		return nil, err
	}
	// Without a ConsumerGroup a subscription is fan-out: each request sees all replies from its begin on, and takes its
	// own. All requests share this Subscriber, because Watermill's backend does not close it after a request.
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{Client: client}, logger)
	if err != nil {
		return nil, errors.Join(err, publisher.Close())
	}
	r := &Requester{publisher: publisher, subscriber: subscriber}
	if r.backend, err = requestreply.NewPubSubBackend(requestreply.PubSubBackendConfig{
		Publisher: publisher,
		SubscriberConstructor: func(requestreply.PubSubBackendSubscribeParams) (message.Subscriber, error) {
			return subscriber, nil
		},
		GenerateSubscribeTopic: func(requestreply.PubSubBackendSubscribeParams) (string, error) { return replies, nil },
		GeneratePublishTopic:   func(requestreply.PubSubBackendPublishParams) (string, error) { return replies, nil },
		ListenForReplyTimeout:  &timeout,
		Logger:                 logger,
	}, requestreply.BackendPubsubJSONMarshaler[Price]{}); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if r.bus, err = cqrs.NewCommandBusWithConfig(publisher, cqrs.CommandBusConfig{
		Marshaler: marshaler, Logger: logger,
		GeneratePublishTopic: func(cqrs.CommandBusGeneratePublishTopicParams) (string, error) { return commands, nil },
		OnSend: func(p cqrs.CommandBusOnSendParams) error {
			p.Message.Metadata.Set(replyToKey, replies)
			return nil
		},
	}); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Price asks for a price. The error is ErrNoReply if the deadline of ctx or the timeout passes first, that of ctx if it
// is canceled, and otherwise that of the handler, or of the way to it.
func (r *Requester) Price(ctx context.Context, article string, count int) (Price, error) {
	reply, err := requestreply.SendWithReply(ctx, r.bus, r.backend, &GetPrice{Article: article, Count: count})
	var late requestreply.ReplyTimeoutError
	switch {
	case err == nil && reply.Error == nil:
		return reply.HandlerResult, nil
	case errors.Is(ctx.Err(), context.Canceled):
		return Price{}, fmt.Errorf("price of %s: %w", article, context.Cause(ctx))
	case ctx.Err() != nil || errors.As(reply.Error, &late):
		return Price{}, fmt.Errorf("price of %s: %w", article, ErrNoReply)
	default:
		return Price{}, fmt.Errorf("price of %s: %w", article, errors.Join(err, reply.Error))
	}
}

// Close ends all requests. The connection stays open: it is the caller's.
func (r *Requester) Close() error {
	return errors.Join(r.subscriber.Close(), r.publisher.Close())
}
