package eventstore_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// laggingFollower returns a client of a follower that has only the events from before until heal is called. The
// function before gets a client of the leader.
func laggingFollower(t *testing.T, before func(all *esclient.Client)) (behind *esclient.Client, heal func()) {
	t.Helper()
	embeddedOnly(t)
	cluster := estest.RunCluster(t, 3)
	leader := cluster.Leader()
	follower := (leader + 1) % cluster.Size()
	all := openClient(t, cluster.Node(leader).ConnectionString())
	cfg, err := esclient.ParseConnectionString(cluster.Node(follower).ConnectionString())
	require.NoError(t, err)
	cfg.AllowFollower = true
	behind, err = esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, behind.Close()) })
	before(all)
	cluster.Partition(follower)
	return behind, cluster.Heal
}

// TestACheckpointThatAFollowerDoesNotHaveYetIsUsed has a node that is behind the checkpoint.
func TestACheckpointThatAFollowerDoesNotHaveYetIsUsed(t *testing.T) {
	t.Parallel()
	var pub *eventstore.Publisher
	behind, heal := laggingFollower(t, func(all *esclient.Client) {
		pub = newPublisher(t, eventstore.PublisherConfig{Client: all})
		publishNumbered(t, pub, "topic", 0, 2)
	})
	publishNumbered(t, pub, "topic", 3, 5)
	log := watermill.NewCaptureLogger()
	cfg := readModel(keptAt("readmodel/topic", esclient.CheckpointAtNumber(4)))
	cfg.Client, cfg.AckGrace = behind, time.Millisecond
	sub, err := eventstore.NewSubscriber(cfg, log)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, sub.Close()) })
	messages := subscribe(t, sub, "topic") // the server has lost nothing
	heal()
	assert.Equal(t, numbers(5, 5), consume(t, messages, 1))
	assert.Empty(t, lines(log, watermill.ErrorLogLevel, "No message comes until the stream gets there"))
}

// TestStreamCheckpointsOfAFollowerAreThoseOfTheLeader has a node that is behind the stream of the checkpoints.
func TestStreamCheckpointsOfAFollowerAreThoseOfTheLeader(t *testing.T) {
	t.Parallel()
	var first *eventstore.StreamCheckpoints
	behind, heal := laggingFollower(t, func(all *esclient.Client) {
		first = streamCheckpoints(t, all)
		loaded(t, first, "name")
		saves(t, first, "name", esclient.CheckpointAtNumber(1))
	})
	saves(t, first, "name", esclient.CheckpointAtNumber(2))
	second := streamCheckpoints(t, behind)
	got := make(chan esclient.Checkpoint, 1)
	go func() {
		c, err := second.Load(timeout(t), "name")
		assert.NoError(t, err)
		got <- c
	}()
	select { // the follower cannot reach the leader: it answers with nothing that is old
	case c := <-got:
		assert.Equal(t, esclient.CheckpointAtNumber(2), c)
		heal()
	case <-time.After(100 * time.Millisecond):
		heal()
		assert.Equal(t, esclient.CheckpointAtNumber(2), <-got)
	}
	assert.ErrorIs(t, first.Save(timeout(t), "name", esclient.CheckpointAtNumber(3)), eventstore.ErrCheckpointTaken)
	saves(t, second, "name", esclient.CheckpointAtNumber(4))
	assert.Equal(t, esclient.CheckpointAtNumber(4), loaded(t, streamCheckpoints(t, behind), "name"))
}
