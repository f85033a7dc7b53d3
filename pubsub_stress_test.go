//go:build stress

package eventstore_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

func TestPubSubStressPersistent(t *testing.T) {
	create := persistentPubSub(connectionString(t))
	tests.TestPubSubStressTest(t, persistentFeatures, func(t *testing.T) (message.Publisher, message.Subscriber) {
		return create(t, "test")
	}, create)
}

func TestPubSubStressCatchUp(t *testing.T) {
	url := connectionString(t)
	tests.TestPubSubStressTest(t, catchUpFeatures, func(t *testing.T) (message.Publisher, message.Subscriber) {
		return pubSub(t, url, eventstore.SubscriberConfig{Mode: eventstore.ModeCatchUp})
	}, nil)
}
