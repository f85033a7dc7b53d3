package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// eventuallyAt waits until a store has a checkpoint.
func eventuallyAt(t testing.TB, store *memoryCheckpoints, name string, c esclient.Checkpoint) {
	t.Helper()
	require.Eventually(t, func() bool { return store.at(name) == c }, patience, time.Millisecond,
		"%v is not saved", c)
}

func keptAt(name string, c esclient.Checkpoint) *memoryCheckpoints {
	return &memoryCheckpoints{kept: map[string]esclient.Checkpoint{name: c}}
}

func TestACheckpointPassesOnlySettledEvents(t *testing.T) {
	for _, concurrency := range []int{1, 4} {
		c, topic := openClient(t, connectionString(t)), name("topic")
		publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, 9)
		store, key := &memoryCheckpoints{}, "readmodel/"+topic
		cfg := readModel(store)
		cfg.Client, cfg.Concurrency, cfg.UnmarshalAction = c, concurrency, eventstore.ActionSkip
		cfg.Unmarshaler = unmarshalerFunc(func(e *esclient.Event) error {
			if string(e.Data) == "2" {
				return errors.New("2 is no message")
			}
			return nil
		})
		messages := subscribe(t, newSubscriber(t, cfg), topic)
		assert.Equal(t, numbers(0, 1), consume(t, messages, 2))
		skipped := receive(t, messages)
		require.Equal(t, "3", string(skipped.Payload))
		assert.True(t, eventstore.NackWith(skipped, eventstore.ActionSkip, "not needed"))
		eventuallyAt(t, store, key, esclient.CheckpointAtNumber(3))
		for range 5 {
			nacked := receive(t, messages)
			require.Equal(t, "4", string(nacked.Payload))
			nacked.Nack()
		}
		stopped := receive(t, messages)
		assert.True(t, eventstore.NackWith(stopped, eventstore.ActionStop, "out of order"))
		closes(t, messages)
		assert.Equal(t, esclient.CheckpointAtNumber(3), store.at(key), "4 is not settled")
		assert.Equal(t, "4", string(receive(t, subscribe(t, newSubscriber(t, cfg), topic)).Payload))
	}
}

// unmarshalerFunc is a DefaultMarshaler that asks a function first.
type unmarshalerFunc func(e *esclient.Event) error

func (f unmarshalerFunc) Unmarshal(topic string, e *esclient.Event) (*message.Message, error) {
	if err := f(e); err != nil {
		return nil, err
	}
	return eventstore.DefaultMarshaler{}.Unmarshal(topic, e)
}

// TestAStuckMessageHoldsTheCheckpoint has one key stuck while others go on.
func TestAStuckMessageHoldsTheCheckpoint(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	const total = 500
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, total)
	store, key := &memoryCheckpoints{}, "readmodel/"+topic
	cfg := readModel(store)
	cfg.Client, cfg.Concurrency = c, 4
	cfg.Key = func(msg *message.Message) string { return string(msg.Payload) }
	messages := subscribe(t, newSubscriber(t, cfg), topic)
	var stuck *message.Message
	for range total {
		msg := receive(t, messages)
		if string(msg.Payload) == "7" {
			stuck = msg
			continue
		}
		msg.Ack()
	}
	eventuallyAt(t, store, key, esclient.CheckpointAtNumber(6))
	for _, c := range store.saved() {
		assert.False(t, after(t, c, esclient.CheckpointAtNumber(6)), "%v was saved", c)
	}
	stuck.Ack()
	receive(t, messages).Ack()
	eventuallyAt(t, store, key, esclient.CheckpointAtNumber(total))
}

func TestStartIsWhereANameWithoutACheckpointBegins(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	publishNumbered(t, pub, topic, 0, 4)
	store, key := &memoryCheckpoints{}, "readmodel/"+topic
	cfg := readModel(store)
	cfg.Client, cfg.Start = c, esclient.FromEnd()
	sub := newSubscriber(t, cfg)
	messages := subscribe(t, sub, topic)
	eventuallyAt(t, store, key, esclient.CheckpointAtNumber(4))
	require.NoError(t, sub.Close())
	closes(t, messages)
	publishNumbered(t, pub, topic, 5, 6)
	assert.Equal(t, numbers(5, 6), consume(t, subscribe(t, newSubscriber(t, cfg), topic), 2),
		"a name that began at the end loses nothing from then on")

	cfg.SubscriberName, cfg.Start = "another", esclient.FromNumber(3)
	messages = subscribe(t, newSubscriber(t, cfg), topic)
	assert.Equal(t, numbers(3, 6), consume(t, messages, 4))
}

func TestATopicHasOneSubscriptionWithACheckpoint(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, 4)
	cfg := readModel(&memoryCheckpoints{})
	cfg.Client, cfg.AckGrace = c, time.Minute
	sub := newSubscriber(t, cfg)
	messages, end := subscribeUntil(t, sub, topic)
	_, err := sub.Subscribe(context.Background(), topic)
	assert.ErrorIs(t, err, eventstore.ErrCheckpointTaken)
	other := subscribe(t, sub, name("other"))

	inHand := receive(t, messages)
	end()
	again := make(chan string, 1)
	go func() {
		defer close(again)
		if messages, err := sub.Subscribe(context.Background(), topic); assert.NoError(t, err) {
			msg := <-messages
			again <- string(msg.Payload)
			msg.Ack()
		}
	}()
	<-inHand.Context().Done()
	inHand.Ack()
	assert.Equal(t, "1", <-again, "it waits for the one that is ending")
	require.NoError(t, sub.Close())
	closes(t, other)
}

// TestACheckpointOfAnotherLogIsNotUsed has a server that comes back with an older log, or with an empty one.
func TestACheckpointOfAnotherLogIsNotUsed(t *testing.T) {
	for _, persona := range personas {
		for _, topic := range []string{"topic", esclient.AllStream} {
			srv := embedded(t, estest.WithPersona(persona))
			c := openClient(t, srv.ConnectionString())
			publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), "topic", 0, 2)
			lost := esclient.CheckpointAtNumber(3)
			if topic == esclient.AllStream {
				lost = esclient.CheckpointAtPosition(esclient.Position{Commit: 1 << 40, Prepare: 1 << 40})
			}
			store := keptAt("readmodel/"+topic, lost)
			cfg := readModel(store)
			cfg.Client = c
			_, err := newSubscriber(t, cfg).Subscribe(context.Background(), topic)
			var refused *eventstore.CheckpointError
			require.ErrorAs(t, err, &refused)
			assert.ErrorIs(t, err, esclient.ErrLogWentBack)
			assert.ErrorContains(t, err, "StartOver")
			end := "the stream ends at event 2"
			if topic == esclient.AllStream {
				end = "the log ends at "
			}
			assert.ErrorContains(t, err, end)
			assert.Equal(t, lost, store.at("readmodel/"+topic), "nothing is changed")

			cfg.StartOver = true
			log := watermill.NewCaptureLogger()
			sub, err := eventstore.NewSubscriber(cfg, log)
			require.NoError(t, err)
			messages := subscribe(t, sub, topic)
			for last := ""; last != "2"; {
				msg := receive(t, messages)
				last = string(msg.Payload)
				msg.Ack()
			}
			assert.Len(t, lines(log, watermill.ErrorLogLevel,
				"EventStore has another log than before: the subscription starts over"), 1)
			require.Eventually(t, func() bool { return len(store.saved()) > 0 }, patience, time.Millisecond)
			saved := store.saved()
			assert.True(t, saved[0].IsZero(), "the first save forgets the old log: %v", saved)
			require.NoError(t, sub.Close())
		}
	}
}

// TestALogThatGoesBackTakesTheCheckpointBack has that happen while the subscription lasts.
func TestALogThatGoesBackTakesTheCheckpointBack(t *testing.T) {
	for _, startOver := range []bool{true, false} {
		srv := embedded(t)
		c, move := movable(t, srv)
		write := func(srv *estest.Server, from, to int) {
			for n := from; n <= to; n++ {
				_, err := srv.Append("topic", estest.Event{Type: "t", Data: fmt.Append(nil, n)})
				require.NoError(t, err)
			}
		}
		store := &memoryCheckpoints{}
		cfg := readModel(store)
		cfg.Client, cfg.StartOver = c, startOver
		write(srv, 0, 9)
		messages := subscribe(t, newSubscriber(t, cfg), "topic")
		consume(t, messages, 10)
		eventuallyAt(t, store, "readmodel/topic", esclient.CheckpointAtNumber(9))
		fresh := embedded(t)
		write(fresh, 20, 22)
		move(fresh)
		if !startOver {
			closes(t, messages)
			assert.Equal(t, esclient.CheckpointAtNumber(9), store.at("readmodel/topic"))
			_, err := newSubscriber(t, cfg).Subscribe(context.Background(), "topic")
			assert.ErrorIs(t, err, esclient.ErrLogWentBack)
			continue
		}
		assert.Equal(t, numbers(20, 21), consume(t, messages, 2))
		eventuallyAt(t, store, "readmodel/topic", esclient.CheckpointAtNumber(1))
		saved := store.saved()
		assert.Contains(t, saved, esclient.Checkpoint{}, "going back begins with nothing: %v", saved)
	}
}

// TestACheckpointSurvivesChangesOfItsStream has a stream deleted, recreated, truncated and deleted for good.
func TestACheckpointSurvivesChangesOfItsStream(t *testing.T) {
	overPersonas(t, func(t *testing.T, srv *estest.Server, _ *estest.Clock) {
		c := openClient(t, srv.ConnectionString())
		pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
		store := &memoryCheckpoints{}
		cfg := readModel(store)
		cfg.Client = c
		goOn := func(from, to int) {
			t.Helper()
			sub := newSubscriber(t, cfg)
			messages := subscribe(t, sub, "topic")
			assert.Equal(t, numbers(from, to), consume(t, messages, to-from+1))
			require.NoError(t, sub.Close())
			closes(t, messages)
			assert.Equal(t, esclient.CheckpointAtNumber(int64(to)), store.at("readmodel/topic"))
		}
		publishNumbered(t, pub, "topic", 0, 3)
		goOn(0, 3)
		_, err := c.DeleteStream(timeout(t), "topic", esclient.Any)
		require.NoError(t, err)
		sub := newSubscriber(t, cfg)
		messages := subscribe(t, sub, "topic")
		publishNumbered(t, pub, "topic", 4, 5)
		assert.Equal(t, numbers(4, 5), consume(t, messages, 2))
		require.NoError(t, sub.Close())
		closes(t, messages)

		publishNumbered(t, pub, "topic", 6, 19)
		_, err = c.SetStreamMetadata(timeout(t), "topic", esclient.Any, esclient.StreamMetadata{MaxCount: 4})
		require.NoError(t, err)
		goOn(16, 19)
		_, err = c.SetStreamMetadata(timeout(t), "topic", esclient.Any, esclient.StreamMetadata{TruncateBefore: 100})
		require.NoError(t, err)
		sub = newSubscriber(t, cfg)
		messages = subscribe(t, sub, "topic")
		eventuallyAt(t, store, "readmodel/topic", esclient.CheckpointAtNumber(99))
		require.NoError(t, sub.Close())
		closes(t, messages)
		sub = newSubscriber(t, cfg)
		messages = subscribe(t, sub, "topic") // the truncated part is beyond the end
		_, err = c.TombstoneStream(timeout(t), "topic", esclient.Any)
		require.NoError(t, err)
		closes(t, messages)
		assert.Equal(t, esclient.CheckpointAtNumber(99), store.at("readmodel/topic"))
		_, err = sub.Subscribe(context.Background(), "topic")
		assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
	})
}

func TestACheckpointOfAnotherKindIsNotUsed(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	c := openClient(t, connectionString(t))
	for topic, kept := range map[string]esclient.Checkpoint{
		name("topic"):      esclient.CheckpointAtPosition(esclient.StartPosition),
		esclient.AllStream: esclient.CheckpointAtNumber(5),
	} {
		cfg := readModel(keptAt("readmodel/"+topic, kept))
		cfg.Client = c
		_, err := newSubscriber(t, cfg).Subscribe(context.Background(), topic)
		var refused *eventstore.CheckpointError
		require.ErrorAs(t, err, &refused)
		assert.ErrorContains(t, err, "another SubscriberName")
	}
}

// TestTheCheckpointMovesWithTheFilter has a filter that passes no message for long.
func TestTheCheckpointMovesWithTheFilter(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		srv := embedded(t, estest.WithPersona(persona))
		c := openClient(t, srv.ConnectionString())
		pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
		store := &memoryCheckpoints{}
		cfg := readModel(store)
		cfg.Client = c
		cfg.Filter = &esclient.Filter{StreamPrefixes: []string{"wanted"}, CheckpointInterval: 10}
		sub := newSubscriber(t, cfg)
		messages := subscribe(t, sub, esclient.AllStream)
		publishNumbered(t, pub, "wanted", 0, 0)
		wanted := receive(t, messages)
		at, _ := eventstore.CheckpointFromCtx(wanted.Context())
		publishNumbered(t, pub, "unwanted", 0, 99)
		silence(t, messages)
		saved := store.at("readmodel/$all")
		assert.True(t, after(t, at, saved), "the handler has not answered")
		wanted.Ack()
		publishNumbered(t, pub, "unwanted", 0, 99)
		require.Eventually(t, func() bool { return after(t, store.at("readmodel/$all"), at) },
			patience, time.Millisecond, "the checkpoint stays at the last message")
		require.NoError(t, sub.Close())
		closes(t, messages)
		publishNumbered(t, pub, "wanted", 1, 1)
		assert.Equal(t, numbers(1, 1), consume(t, subscribe(t, newSubscriber(t, cfg), esclient.AllStream), 1))
	}
}

// TestACheckpointOfADeletedStreamIsNoFalseAlarm has a stream that goes on behind its last number when it comes back.
func TestACheckpointOfADeletedStreamIsNoFalseAlarm(t *testing.T) {
	t.Parallel()
	c, topic := openClient(t, connectionString(t)), name("topic")
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	publishNumbered(t, pub, topic, 0, 3)
	_, err := c.DeleteStream(timeout(t), topic, esclient.Any)
	require.NoError(t, err)
	log := watermill.NewCaptureLogger()
	cfg := readModel(keptAt("readmodel/"+topic, esclient.CheckpointAtNumber(3)))
	cfg.Client, cfg.AckGrace = c, time.Millisecond
	sub, err := eventstore.NewSubscriber(cfg, log)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, sub.Close()) })
	messages := subscribe(t, sub, topic)
	publishNumbered(t, pub, topic, 4, 5)
	assert.Equal(t, numbers(4, 5), consume(t, messages, 2))
	assert.Empty(t, log.Captured()[watermill.ErrorLogLevel])
}
