package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/delay"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

const noDelays = "EventStore has no delayed delivery: the message is delivered at once. " +
	"Publish it to a Pub/Sub with delays, and forward it from there when it is due"

func newLoggedPublisher(t testing.TB, url string) (*eventstore.Publisher, *watermill.CaptureLoggerAdapter) {
	t.Helper()
	log := watermill.NewCaptureLogger()
	pub, err := eventstore.NewPublisher(eventstore.PublisherConfig{ConnectionString: url}, log)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, pub.Close()) })
	return pub, log
}

func TestADelayIsLoggedOnceForEachTopic(t *testing.T) {
	t.Parallel()
	url := connectionString(t)
	pub, log := newLoggedPublisher(t, url)
	delayed, err := delay.NewPublisher(pub, delay.PublisherConfig{AllowNoDelay: true})
	require.NoError(t, err)
	topic, other := name("delayed"), name("delayed")
	sub := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: url})
	messages := subscribe(t, sub, topic)

	require.NoError(t, delayed.Publish(topic, newMessage("1"), newMessage("2")))
	due := newMessage("3")
	delay.Message(due, delay.Until(time.Now().Add(-time.Second)))
	require.NoError(t, delayed.Publish(topic, due))
	require.Empty(t, logged(log, noDelays), "no message is early")

	for n := 4; n <= 6; n++ {
		msg := newMessage(fmt.Sprint(n))
		msg.SetContext(delay.WithContext(context.Background(), delay.For(time.Hour)))
		require.NoError(t, delayed.Publish(topic, msg))
	}
	msg := newMessage("other")
	delay.Message(msg, delay.For(time.Hour))
	require.NoError(t, pub.Publish(other, newMessage("first"), msg))
	lines := logged(log, noDelays)
	require.Len(t, lines, 2)
	assert.Equal(t, topic, lines[0].Fields["topic"])
	assert.Equal(t, other, lines[1].Fields["topic"])
	assert.Equal(t, msg.UUID, lines[1].Fields["message_uuid"])

	assert.Equal(t, numbers(1, 3), consume(t, messages, 3))
	got := receive(t, messages)
	assert.Equal(t, "1h0m0s", got.Metadata.Get(delay.DelayedForKey), "the consumer can see the delay")
	assert.NotEmpty(t, got.Metadata.Get(delay.DelayedUntilKey))
	got.Ack()
	assert.Equal(t, numbers(5, 6), consume(t, messages, 2))
}

// The middleware DelayOnError gives a message that failed a delay, before the PoisonQueue publishes it.
func TestADeadLetterWithADelayIsPublished(t *testing.T) {
	t.Parallel()
	url := connectionString(t)
	pub, log := newLoggedPublisher(t, url)
	topic := name("poison")
	dead := newMessage("dead")
	delay.Message(dead, delay.For(time.Hour))
	require.NoError(t, pub.Publish(topic, dead))
	require.Len(t, logged(log, noDelays), 1)
	sub := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: url, Mode: eventstore.ModeCatchUp})
	assert.Equal(t, []string{"dead"}, consume(t, subscribe(t, sub, topic), 1))
}

// refusing marshals nothing, so that nothing is sent.
type refusing struct{}

func (refusing) Marshal(string, *message.Message) (esclient.EventData, error) {
	return esclient.EventData{}, errors.New("refused")
}

// Topics can be as many as aggregates.
func TestTheLogOfDelaysIsBounded(t *testing.T) {
	t.Parallel()
	log := watermill.NewCaptureLogger()
	pub, err := eventstore.NewPublisher(eventstore.PublisherConfig{
		ConnectionString: connectionString(t),
		Marshaler:        refusing{},
	}, log)
	require.NoError(t, err)
	defer pub.Close()
	for n := range 1100 {
		msg := newMessage("x")
		delay.Message(msg, delay.For(time.Hour))
		require.Error(t, pub.Publish(fmt.Sprint(n), msg))
	}
	assert.Len(t, logged(log, noDelays), 1000)
}
