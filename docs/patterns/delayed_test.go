package patterns

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// after publishes a message that is due after wait.
func after(wait time.Duration, publisher message.Publisher, topic string, msg *message.Message) error {
	msg.Metadata.Set("due", time.Now().Add(wait).UTC().Format(time.RFC3339Nano))
	msg.Metadata.Set("topic", topic)
	return publisher.Publish("delayed-"+wait.String(), msg)
}

// whenDue is the handler of these streams. The Publisher has UseMessageUUIDAsEventID.
func whenDue(publisher message.Publisher) message.NoPublishHandlerFunc {
	return func(msg *message.Message) error {
		due, err := time.Parse(time.RFC3339Nano, msg.Metadata.Get("due"))
		if err != nil {
			eventstore.NackWith(msg, eventstore.ActionPark, err.Error())
			return err
		}
		select {
		case <-time.After(time.Until(due)):
		case <-msg.Context().Done(): // the message goes back, and its time stays
			return msg.Context().Err()
		}
		return publisher.Publish(msg.Metadata.Get("topic"), msg.Copy())
	}
}

// A restart of the waiting process changes neither the due time nor the number of messages.
func TestADelayStreamKeepsTheDueTimeOverARestart(t *testing.T) {
	server := estest.Run(t)
	client := open(t, server)
	publisher := newPublisher(t, eventstore.PublisherConfig{Client: client, UseMessageUUIDAsEventID: true})
	waiting := make(chan struct{}, 10)
	start := func() (stop func()) {
		subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
			Client: client, ConsumerGroup: "delays",
		}, logger)
		require.NoError(t, err)
		router := newRouter(t)
		own := newPublisher(t, eventstore.PublisherConfig{Client: client, UseMessageUUIDAsEventID: true})
		handler := whenDue(own)
		router.AddConsumerHandler("delayed", "delayed-300ms", subscriber, func(msg *message.Message) error {
			waiting <- struct{}{}
			return handler(msg)
		})
		return run(t, router)
	}
	const delay = 300 * time.Millisecond
	require.NoError(t, publisher.Publish("delayed-300ms", newMessage("without a time")))
	begun := time.Now()
	first, second := newMessage("first"), newMessage("second")
	require.NoError(t, after(delay, publisher, "due", first))
	require.NoError(t, after(delay, publisher, "due", second))
	stop := start()
	<-waiting // with the one that has no time
	<-waiting // with the first
	stop()
	defer start()()

	require.Eventually(t, func() bool {
		events, _ := server.Read("due", 0, 0)
		return len(events) == 2
	}, 10*time.Second, time.Millisecond)
	assert.GreaterOrEqual(t, time.Since(begun), delay)
	events, err := server.Read("due", 0, 0)
	require.NoError(t, err)
	assert.Equal(t, []string{first.UUID, second.UUID}, []string{events[0].ID.String(), events[1].ID.String()})
	assert.Eventually(t, func() bool { return server.Stats().Parked == 1 }, 10*time.Second, time.Millisecond)
}
