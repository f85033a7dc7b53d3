package eventstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// eachOutsideStore runs a test with each kind of store, on another server than that of the messages.
func eachOutsideStore(t *testing.T, test func(t *testing.T, store eventstore.Checkpoints)) {
	t.Helper()
	eachStore(t, openClient(t, embedded(t).ConnectionString()), test)
	t.Run("of the user", func(t *testing.T) { test(t, &memoryCheckpoints{}) })
}

// filled appends n numbered events to a stream of a server, from a number on.
func filled(t *testing.T, srv *estest.Server, stream string, from, n int) *estest.Server {
	t.Helper()
	for i := range n {
		_, err := srv.Append(stream, estest.Event{Type: "t", Data: fmt.Append(nil, from+i)})
		require.NoError(t, err)
	}
	return srv
}

// at returns a configuration for another server.
func at(cfg eventstore.SubscriberConfig, srv *estest.Server) eventstore.SubscriberConfig {
	cfg.ConnectionString = srv.ConnectionString()
	return cfg
}

// refusesLog checks that a Subscriber does not go on in a log that was replaced.
func refusesLog(t *testing.T, cfg eventstore.SubscriberConfig, topic string) {
	t.Helper()
	_, err := newSubscriber(t, cfg).Subscribe(context.Background(), topic)
	require.ErrorIs(t, err, esclient.ErrLogWentBack)
	var refused *eventstore.CheckpointError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "use", refused.Op)
	assert.Contains(t, refused.Advice, "remove the changes and the checkpoint")
}

// consumeUntil consumes the messages of a stream until the one with the last payload, and ends the subscription.
func consumeUntil(t *testing.T, cfg eventstore.SubscriberConfig, topic, stream, last string) (got []string) {
	t.Helper()
	sub := newSubscriber(t, cfg)
	messages := subscribe(t, sub, topic)
	for len(got) == 0 || got[len(got)-1] != last {
		msg := receive(t, messages)
		if s, _ := eventstore.StreamFromCtx(msg.Context()); s == stream {
			got = append(got, string(msg.Payload))
		}
		msg.Ack()
	}
	require.NoError(t, sub.Close())
	return got
}

// TestALogThatWasReplacedAndHasGrownIsRecognised has a server in memory that is restarted, or a backup that is
// restored, and then more events than before, while the read model does not run.
func TestALogThatWasReplacedAndHasGrownIsRecognised(t *testing.T) {
	for _, kept := range []int{0, 3} {
		for _, topic := range []string{"order-1", "$ce-order", esclient.AllStream} {
			t.Run(fmt.Sprint(topic, " of which stay ", kept), func(t *testing.T) {
				eachOutsideStore(t, func(t *testing.T, store eventstore.Checkpoints) {
					old := filled(t, embedded(t, estest.WithProjections()), "order-1", 0, kept)
					require.NoError(t, old.WaitForProjections(timeout(t)))
					fresh := embedded(t, estest.WithProjections(), estest.WithSnapshot(old.Snapshot()))
					if kept == 0 {
						fresh = embedded(t, estest.WithProjections())
					}
					filled(t, old, "order-1", kept, 6-kept)
					filled(t, fresh, "order-1", 100, 20)
					require.NoError(t, fresh.WaitForProjections(timeout(t)))

					cfg := readModel(store)
					cfg.ResolveLinks = topic == "$ce-order"
					assert.Equal(t, numbers(0, 5), consumeUntil(t, at(cfg, old), topic, "order-1", "5"))
					filled(t, old, "order-1", 6, 1)
					assert.Equal(t, numbers(6, 6), consumeUntil(t, at(cfg, old), topic, "order-1", "6"))
					refusesLog(t, at(cfg, fresh), topic)
					refusesLog(t, at(cfg, fresh), topic) // nothing was changed
					filled(t, old, "order-1", 7, 1)
					assert.Equal(t, numbers(7, 7), consumeUntil(t, at(cfg, old), topic, "order-1", "7"))

					cfg.StartOver = true
					want := append(numbers(0, kept-1), numbers(100, 119)...)
					assert.Equal(t, want, consumeUntil(t, at(cfg, fresh), topic, "order-1", "119"))
					cfg.StartOver = false
					filled(t, fresh, "order-1", 120, 1)
					assert.Equal(t, numbers(120, 120), consumeUntil(t, at(cfg, fresh), topic, "order-1", "120"))
				})
			})
		}
	}
}

// TestStartingOverForgetsTheOldLogAtTheSameNumber has the checkpoint come back to the number that it had in the old
// log.
func TestStartingOverForgetsTheOldLogAtTheSameNumber(t *testing.T) {
	eachOutsideStore(t, func(t *testing.T, store eventstore.Checkpoints) {
		cfg := readModel(store)
		cfg.CheckpointAfter, cfg.CheckpointMaxCount = time.Hour, 1000
		old, fresh := filled(t, embedded(t), "topic", 0, 5), filled(t, embedded(t), "topic", 100, 9)
		assert.Equal(t, numbers(0, 4), consumeAndClose(t, at(cfg, old), "topic", 5))
		cfg.StartOver = true
		assert.Equal(t, numbers(100, 104), consumeAndClose(t, at(cfg, fresh), "topic", 5))
		cfg.StartOver = false
		assert.Equal(t, numbers(105, 108), consumeAndClose(t, at(cfg, fresh), "topic", 4))
	})
}

// TestALogThatIsReplacedWhileASubscriptionLastsIsKnown has the checkpoint of a subscription that goes on in the new
// log, with the events that were created since.
func TestALogThatIsReplacedWhileASubscriptionLastsIsKnown(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock, later := estest.NewClock(began), estest.NewClock(began)
	old, fresh := embedded(t, estest.WithClock(clock)), embedded(t, estest.WithClock(later))
	c, move := movable(t, old)
	filled(t, old, "topic", 0, 3)
	store := &memoryCheckpoints{}
	cfg := readModel(store)
	cfg.Client, cfg.Start, cfg.StartOver = c, esclient.FromEnd(), true
	sub := newSubscriber(t, cfg)
	messages := subscribe(t, sub, "topic")
	clock.Advance(time.Minute)
	filled(t, old, "topic", 3, 3)
	assert.Equal(t, numbers(3, 5), consume(t, messages, 3))
	eventuallyAt(t, store, "readmodel/topic", esclient.CheckpointAtNumber(5))

	filled(t, fresh, "topic", 100, 20)
	later.Advance(time.Hour)
	filled(t, fresh, "topic", 120, 1)
	move(fresh)
	inHand := receive(t, messages)
	assert.Equal(t, "120", string(inHand.Payload))
	require.NoError(t, sub.Close())
	closes(t, messages)

	cfg.StartOver = false
	assert.Equal(t, numbers(120, 120), consumeAndClose(t, cfg, "topic", 1))
	filled(t, fresh, "topic", 121, 1)
	assert.Equal(t, numbers(121, 121), consumeAndClose(t, cfg, "topic", 1))
	refusesLog(t, at(withoutClient(cfg), filled(t, embedded(t), "topic", 0, 50)), "topic")
}

func withoutClient(cfg eventstore.SubscriberConfig) eventstore.SubscriberConfig {
	cfg.Client = nil
	return cfg
}

// TestAFilterThatPassesOnKeepsTheKnownEvent has a checkpoint far behind the last message that the filter has picked.
func TestAFilterThatPassesOnKeepsTheKnownEvent(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		old, fresh := embedded(t, estest.WithPersona(persona)), embedded(t, estest.WithPersona(persona))
		store := &memoryCheckpoints{}
		cfg := readModel(store)
		cfg.Filter = &esclient.Filter{StreamPrefixes: []string{"wanted"}, CheckpointInterval: 10}
		sub := newSubscriber(t, at(cfg, old))
		messages := subscribe(t, sub, esclient.AllStream)
		filled(t, old, "wanted", 0, 1)
		wanted := receive(t, messages)
		picked, _ := eventstore.CheckpointFromCtx(wanted.Context())
		wanted.Ack()
		filled(t, old, "unwanted", 0, 100)
		require.Eventually(t, func() bool { return after(t, store.at("readmodel/$all"), picked) },
			patience, time.Millisecond)
		require.NoError(t, sub.Close())
		filled(t, old, "wanted", 1, 1)
		assert.Equal(t, numbers(1, 1), consumeAndClose(t, at(cfg, old), esclient.AllStream, 1))
		filled(t, fresh, "wanted", 0, 300)
		assert.Empty(t, consumeAndClose(t, at(cfg, old), esclient.AllStream, 0), "a run without a message")
		refusesLog(t, at(cfg, fresh), esclient.AllStream)
	}
}

// TestAStartAtTheEndKnowsTheLog has a subscription that has begun at the end and got no message.
func TestAStartAtTheEndKnowsTheLog(t *testing.T) {
	for _, topic := range []string{"topic", esclient.AllStream} {
		store := &memoryCheckpoints{}
		cfg := readModel(store)
		cfg.Start = esclient.FromEnd()
		old, fresh := filled(t, embedded(t), "topic", 0, 5), filled(t, embedded(t), "topic", 0, 50)
		assert.Empty(t, consumeAndClose(t, at(cfg, old), topic, 0))
		refusesLog(t, at(cfg, fresh), topic)
		assert.Empty(t, consumeAndClose(t, at(cfg, old), topic, 0))
		filled(t, old, "topic", 5, 1)
		assert.Equal(t, numbers(5, 5), consumeUntil(t, at(cfg, old), topic, "topic", "5"))
	}
	// An empty stream knows nothing of its log.
	cfg := readModel(&memoryCheckpoints{})
	cfg.Start = esclient.FromEnd()
	assert.Empty(t, consumeAndClose(t, at(cfg, embedded(t)), "topic", 0))
	assert.Equal(t, numbers(0, 2), consumeAndClose(t, at(cfg, filled(t, embedded(t), "topic", 0, 3)), "topic", 3))
}

// TestACheckpointWithoutAKnownEventIsUsed has the checkpoint of a version that knew no events.
func TestACheckpointWithoutAKnownEventIsUsed(t *testing.T) {
	store := keptAt("readmodel/topic", esclient.CheckpointAtNumber(4))
	store.sources = map[string]string{"readmodel/topic": `{"stream":"topic"}`}
	cfg := at(readModel(store), filled(t, embedded(t), "topic", 0, 9))
	assert.Equal(t, numbers(5, 8), consumeAndClose(t, cfg, "topic", 4))
	refusesLog(t, at(cfg, filled(t, embedded(t), "topic", 0, 50)), "topic")

	store.sources["readmodel/topic"] = `{"stream":"topic","event":{"at":"8"}}`
	_, err := newSubscriber(t, cfg).Subscribe(context.Background(), "topic")
	assert.ErrorIs(t, err, esclient.ErrInvalidArgument)

	store.sources["readmodel/topic"] = `{"stream":"topic","event":"?"}`
	_, err = newSubscriber(t, cfg).Subscribe(context.Background(), "topic")
	assert.ErrorIs(t, err, eventstore.ErrCheckpointCorrupt)
}

// TestACheckpointStreamGoesWithItsLog has the checkpoints in the log that is replaced: the read model begins anew.
func TestACheckpointStreamGoesWithItsLog(t *testing.T) {
	old := filled(t, embedded(t), "topic", 0, 5)
	c, move := movable(t, old)
	store := streamCheckpoints(t, c)
	cfg := readModel(store)
	cfg.Client = c
	assert.Equal(t, numbers(0, 4), consumeAndClose(t, cfg, "topic", 5))
	move(filled(t, embedded(t), "topic", 100, 9))
	log := watermill.NewCaptureLogger()
	sub, err := eventstore.NewSubscriber(cfg, log)
	require.NoError(t, err)
	assert.Equal(t, numbers(100, 108), consume(t, subscribe(t, sub, "topic"), 9))
	require.NoError(t, sub.Close())
}
