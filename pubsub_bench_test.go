package eventstore_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

func BenchmarkSubscriber(b *testing.B) {
	for name, cfg := range map[string]eventstore.SubscriberConfig{
		"persistent": {ConsumerGroup: "bench", InFlight: 200},
		"catch-up":   {Mode: eventstore.ModeCatchUp},
		"volatile":   {},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			url := connectionString(b)
			tests.BenchSubscriber(b, func(int) (message.Publisher, message.Subscriber) { return pubSub(b, url, cfg) })
		})
	}
}
