package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/google/uuid"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// replayedForKey is the metadata of a replayed message with the handler that it is for.
const replayedForKey = "replayed_for"

// poisonTopic is the poison queue of one handler. Two handlers may poison one message: each gets it in its own queue.
func (s *shop) poisonTopic(handler string) string { return "poison-" + s.topic + "-" + handler }

// runWithPoisonQueues runs both handlers. What billing cannot handle, because it does not know the currency, goes to
// its poison queue. Other errors pass, so the message is redelivered.
func (s *shop) runWithPoisonQueues(
	ctx context.Context, bill message.NoPublishHandlerFunc,
) (stop func() error, err error) {
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	publisher, err := newIdempotentPublisher(s.client)
	if err != nil {
		return nil, err
	}
	for name, handle := range map[string]message.NoPublishHandlerFunc{billing: bill, shipping: s.ship} {
		subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
			Client: s.client, ConsumerGroup: name,
		}, nil)
		if err != nil {
			return nil, errors.Join(err, publisher.Close())
		}
		poison, err := middleware.PoisonQueueWithFilter(publisher, s.poisonTopic(name),
			func(err error) bool { return errors.Is(err, ErrCurrency) })
		if err != nil {
			return nil, errors.Join(err, publisher.Close())
		}
		router.AddConsumerHandler(name, s.topic, subscriber, handle).AddMiddleware(poison, skipReplaysForOthers(name))
	}
	stopRouter, err := start(ctx, router)
	if err != nil {
		return nil, errors.Join(err, publisher.Close())
	}
	return func() error { return errors.Join(stopRouter(), publisher.Close()) }, nil
}

// newIdempotentPublisher returns a publisher that writes a message once into a stream, also if it is published again
// because a process has died in between. EventStore knows the ids of the latest events of a stream; it may forget them
// when it is restarted.
func newIdempotentPublisher(client *esclient.Client) (*eventstore.Publisher, error) {
	return eventstore.NewPublisher(eventstore.PublisherConfig{
		Client: client, UseMessageUUIDAsEventID: true, RepublishUnknown: true,
	}, nil)
}

// skipReplaysForOthers acks messages that were replayed for another handler. This one has handled them long ago.
func skipReplaysForOthers(handler string) message.HandlerMiddleware {
	return func(handle message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			if only := msg.Metadata.Get(replayedForKey); only != "" && only != handler {
				return nil, nil
			}
			return handle(msg)
		}
	}
}

// replay publishes the messages of a poison queue to their topic again, and returns how many there were. The next call
// goes on behind them: the checkpoint is a stream of its own.
func replay(ctx context.Context, client *esclient.Client, poison string) (replayed int, err error) {
	publisher, err := newIdempotentPublisher(client)
	if err != nil {
		return 0, err
	}
	defer publisher.Close()
	checkpoints, err := eventstore.NewStreamCheckpoints(client, "")
	if err != nil {
		return 0, err
	}
	reading, end := context.WithCancel(ctx)
	defer end()
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: client, Mode: eventstore.ModeCatchUp, SubscriberName: "replay", Checkpoints: checkpoints,
		OnCaughtUp: func(string) { end() },
	}, nil)
	if err != nil {
		return 0, err
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(reading, poison)
	if err != nil {
		return 0, err
	}
	for msg := range messages {
		again, topic, err := unpoison(msg)
		if err == nil {
			err = publisher.Publish(topic, again)
		}
		if err != nil {
			msg.Nack() // the next call begins with it
			return replayed, err
		}
		msg.Ack()
		replayed++
	}
	return replayed, ctx.Err()
}

// unpoison returns the message as it was before it was poisoned, and its topic.
func unpoison(msg *message.Message) (again *message.Message, topic string, err error) {
	topic, handler := msg.Metadata.Get(middleware.PoisonedTopicKey), msg.Metadata.Get(middleware.PoisonedHandlerKey)
	if topic == "" || handler == "" {
		return nil, "", fmt.Errorf("message %s does not tell where it was poisoned", msg.UUID)
	}
	poisoned, err := uuid.Parse(msg.UUID)
	if err != nil {
		return nil, "", fmt.Errorf("message %q: %w", msg.UUID, err)
	}
	again = msg.Copy()
	again.SetContext(msg.Context())
	// The topic has an event with the old id already, and EventStore would take the new one for the same. If this one
	// message is replayed twice, the ids are the same again.
	again.UUID = uuid.NewSHA1(poisoned, []byte(replayedForKey)).String()
	for _, key := range []string{
		middleware.ReasonForPoisonedKey, middleware.PoisonedTopicKey,
		middleware.PoisonedHandlerKey, middleware.PoisonedSubscriberKey,
	} {
		delete(again.Metadata, key)
	}
	again.Metadata.Set(replayedForKey, handler)
	return again, topic, nil
}
