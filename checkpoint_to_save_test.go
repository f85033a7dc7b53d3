package eventstore_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

func TestHandlersSaveTheCheckpointOfTheirMessage(t *testing.T) {
	t.Parallel()
	c := openClient(t, connectionString(t))
	topic := name("topic")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 1, 2)
	subscribed := func(change func(*eventstore.SubscriberConfig)) <-chan *message.Message {
		config := eventstore.SubscriberConfig{Client: c, Mode: eventstore.ModeCatchUp}
		change(&config)
		return subscribe(t, newSubscriber(t, config), topic)
	}
	withCheckpoints := func(config *eventstore.SubscriberConfig) {
		config.Checkpoints, config.SubscriberName = &memoryCheckpoints{}, "model"
	}

	messages := subscribed(withCheckpoints)
	for n := range int64(2) {
		msg := receive(t, messages)
		saveAs, checkpoint, err := eventstore.CheckpointToSave(msg)
		require.NoError(t, err)
		assert.Equal(t, "model/"+topic, saveAs)
		assert.Equal(t, esclient.CheckpointAtNumber(n), checkpoint)
		msg.Ack()
	}

	refused := map[string]*message.Message{
		"is nil": nil,
		"does not have the context that it came with": message.NewMessage("", nil),
		"not of a Subscriber with Checkpoints":        receive(t, subscribed(func(*eventstore.SubscriberConfig) {})),
		"Concurrency 2": receive(t, subscribed(func(config *eventstore.SubscriberConfig) {
			withCheckpoints(config)
			config.Concurrency = 2
		})),
		"StartOver": receive(t, subscribed(func(config *eventstore.SubscriberConfig) {
			withCheckpoints(config)
			config.StartOver = true
		})),
	}
	for reason, msg := range refused {
		_, _, err := eventstore.CheckpointToSave(msg)
		require.ErrorIs(t, err, esclient.ErrInvalidArgument, reason)
		assert.ErrorContains(t, err, reason)
	}
}
