package eventstore_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// eachStore runs a test with each kind of store that this package has.
func eachStore(t *testing.T, c *esclient.Client, test func(t *testing.T, store eventstore.Checkpoints)) {
	t.Run("stream", func(t *testing.T) {
		store, err := eventstore.NewStreamCheckpoints(c, name("checkpoint"))
		require.NoError(t, err)
		test(t, store)
	})
	t.Run("file", func(t *testing.T) {
		store, err := eventstore.NewFileCheckpoints(t.TempDir())
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, store.Close()) })
		test(t, store)
	})
}

// consumeAndClose consumes n messages of a topic, and ends the subscription, which saves its checkpoint.
func consumeAndClose(t *testing.T, cfg eventstore.SubscriberConfig, topic string, n int) []string {
	t.Helper()
	sub := newSubscriber(t, cfg)
	got := consume(t, subscribe(t, sub, topic), n)
	require.NoError(t, sub.Close())
	return got
}

// refusesSource checks that a Subscriber does not go on at a checkpoint of another stream or filter.
func refusesSource(t *testing.T, cfg eventstore.SubscriberConfig, topic string) {
	t.Helper()
	_, err := newSubscriber(t, cfg).Subscribe(context.Background(), topic)
	require.ErrorIs(t, err, eventstore.ErrCheckpointSource)
	var refused *eventstore.CheckpointError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "use", refused.Op)
	assert.Contains(t, refused.Advice, "another SubscriberName")
}

// TestAFilterThatPicksMoreIsRefused has a checkpoint that has passed events which only the new filter picks.
func TestAFilterThatPicksMoreIsRefused(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	c := openClient(t, connectionString(t))
	eachStore(t, c, func(t *testing.T, store eventstore.Checkpoints) {
		wanted, other := name("wanted-ä"), name("other")
		pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
		publishNumbered(t, pub, wanted, 0, 1)
		publishNumbered(t, pub, other, 0, 1)
		cfg := readModel(store)
		cfg.Client = c
		with := func(f *esclient.Filter) eventstore.SubscriberConfig {
			cfg.Filter = f
			return cfg
		}
		few := &esclient.Filter{StreamPrefixes: []string{wanted}}
		assert.Equal(t, numbers(0, 1), consumeAndClose(t, with(few), esclient.AllStream, 2))
		for _, f := range []*esclient.Filter{
			nil, {StreamPrefixes: []string{wanted, other}}, {StreamPrefixes: []string{wanted[:5]}},
			{StreamRegex: "^" + wanted}, {TypePrefixes: []string{"order"}}, esclient.ExcludeSystemEvents(),
		} {
			refusesSource(t, with(f), esclient.AllStream)
		}
		publishNumbered(t, pub, wanted, 2, 3)
		assert.Equal(t, numbers(2, 2), consumeAndClose(t, with(few), esclient.AllStream, 1))
		fewer := &esclient.Filter{StreamPrefixes: []string{wanted, wanted + "-1"}}
		assert.Equal(t, numbers(3, 3), consumeAndClose(t, with(fewer), esclient.AllStream, 1))
	})
}

// TestAFilterAfterNoFilterIsUsed has a checkpoint that has passed nothing over, and then one that has.
func TestAFilterAfterNoFilterIsUsed(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	c := openClient(t, connectionString(t))
	eachStore(t, c, func(t *testing.T, store eventstore.Checkpoints) {
		topic := name("topic")
		pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
		cfg := readModel(store)
		cfg.Client, cfg.Start = c, esclient.FromEnd()
		sub := newSubscriber(t, cfg)
		subscribe(t, sub, esclient.AllStream)
		require.NoError(t, sub.Close())
		publishNumbered(t, pub, topic, 0, 0)
		cfg.Filter = &esclient.Filter{StreamPrefixes: []string{topic}}
		assert.Equal(t, numbers(0, 0), consumeAndClose(t, cfg, esclient.AllStream, 1))
		cfg.Filter = nil
		refusesSource(t, cfg, esclient.AllStream)
	})
}

// TestAnotherStreamOfATopicIsRefused has a checkpoint that would skip the first events of the other stream.
func TestAnotherStreamOfATopicIsRefused(t *testing.T) {
	c := openClient(t, connectionString(t))
	eachStore(t, c, func(t *testing.T, store eventstore.Checkpoints) {
		first, second := name("first"), name("second")
		pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
		publishNumbered(t, pub, first, 0, 2)
		publishNumbered(t, pub, second, 0, 5)
		cfg := readModel(store)
		cfg.Client = c
		of := func(stream string) eventstore.SubscriberConfig {
			cfg.StreamName = func(string) (string, error) { return stream, nil }
			return cfg
		}
		assert.Equal(t, numbers(0, 1), consumeAndClose(t, of(first), "topic", 2))
		refusesSource(t, of(second), "topic")
		assert.Equal(t, numbers(2, 2), consumeAndClose(t, of(first), "topic", 1))
	})
}

// TestACheckpointWithoutASourceIsUsed has the checkpoint of a program that saves it by itself.
func TestACheckpointWithoutASourceIsUsed(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, 2)
	store, key := streamCheckpoints(t, c), "readmodel/"+topic
	loaded(t, store, key)
	saves(t, store, key, esclient.CheckpointAtNumber(1))
	cfg := readModel(store)
	cfg.Client = c
	assert.Equal(t, numbers(2, 2), consumeAndClose(t, cfg, topic, 1))
}
