package eventstore_test

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

var persistentFeatures = tests.Features{
	ConsumerGroups:                      true,
	GuaranteedOrder:                     true,
	GuaranteedOrderWithSingleSubscriber: true,
	Persistent:                          true,
}

var catchUpFeatures = tests.Features{
	GuaranteedOrder:                  true,
	Persistent:                       true,
	NewSubscriberReceivesOldMessages: true,
}

// pubSub returns a Publisher and a Subscriber for Watermill's suite, which does not close all of them.
func pubSub(t testing.TB, url string, cfg eventstore.SubscriberConfig) (message.Publisher, message.Subscriber) {
	cfg.ConnectionString = url
	return newPublisher(t, eventstore.PublisherConfig{ConnectionString: url}), newSubscriber(t, cfg)
}

func persistentPubSub(url string) tests.ConsumerGroupPubSubConstructor {
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		return pubSub(t, url, eventstore.SubscriberConfig{ConsumerGroup: group})
	}
}

func TestPubSubPersistent(t *testing.T) {
	url := connectionString(t)
	makesGroups(t, openClient(t, url))
	create := persistentPubSub(url)
	tests.TestPubSub(t, persistentFeatures, func(t *testing.T) (message.Publisher, message.Subscriber) {
		return create(t, "test")
	}, create)
}

func TestPubSubCatchUp(t *testing.T) {
	url := connectionString(t)
	tests.TestPubSub(t, catchUpFeatures, func(t *testing.T) (message.Publisher, message.Subscriber) {
		return pubSub(t, url, eventstore.SubscriberConfig{Mode: eventstore.ModeCatchUp})
	}, nil)
}

// Most tests of the suite publish before they subscribe. A volatile subscription does not get those messages.
func TestPubSubVolatileMessageCtx(t *testing.T) {
	url := connectionString(t)
	volatile := func(t *testing.T) (message.Publisher, message.Subscriber) {
		return pubSub(t, url, eventstore.SubscriberConfig{})
	}
	tests.TestMessageCtx(t, tests.TestContext{TestID: tests.NewTestID()}, volatile)
}

func TestAllVolatileSubscribersGetAllMessages(t *testing.T) {
	url, topic := connectionString(t), name("fanout")
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: url})
	publishNumbered(t, pub, topic, 1, 3)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sub := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: url})
	another := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: url})
	first, second := subscribe(t, sub, topic), subscribe(t, another, topic)
	third, err := sub.Subscribe(ctx, topic)
	require.NoError(t, err)
	publishNumbered(t, pub, topic, 4, 6)
	for _, messages := range []<-chan *message.Message{first, second, third} {
		require.Equal(t, numbers(4, 6), consume(t, messages, 3))
	}

	cancel()
	closes(t, third)
	publishNumbered(t, pub, topic, 7, 9)
	for _, messages := range []<-chan *message.Message{first, second} {
		require.Equal(t, numbers(7, 9), consume(t, messages, 3))
		silence(t, messages)
	}
}
