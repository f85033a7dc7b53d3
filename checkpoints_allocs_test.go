package eventstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

// TestCheckpointsAllocateNothingForAMessage: keeping the mark allocates nothing, and a message allocates as much as
// without checkpoints.
func TestCheckpointsAllocateNothingForAMessage(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	const batch, runs = 500, 3
	for range batch * (runs + 2) {
		assert.NoError(t, pub.Publish(topic, newMessage("x")))
	}
	perMessage := func(cfg eventstore.SubscriberConfig) float64 {
		cfg.Client, cfg.Mode = c, eventstore.ModeCatchUp
		messages := subscribe(t, newSubscriber(t, cfg), topic)
		take := func() {
			for range batch {
				msg := <-messages
				msg.Ack()
			}
		}
		take()
		return testing.AllocsPerRun(runs, take) / batch
	}
	for _, concurrency := range []int{1, 4} {
		without := perMessage(eventstore.SubscriberConfig{Concurrency: concurrency})
		cfg := readModel(&memoryCheckpoints{})
		cfg.Concurrency, cfg.CheckpointAfter, cfg.CheckpointMaxCount = concurrency, time.Hour, 1<<30
		with := perMessage(cfg)
		assert.InDelta(t, without, with, 0.2, "Concurrency %d", concurrency)
		t.Logf("Concurrency %d: %.2f allocations without checkpoints, %.2f with", concurrency, without, with)
	}
}
