package eventstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// saverDir is the environment variable that makes the test program a process that saves checkpoints to a directory.
const saverDir = "WATERMILL_TEST_SAVER_DIR"

// saveUntilKilled saves checkpoints, and prints each that is saved.
func saveUntilKilled(dir string) error {
	store, err := eventstore.NewFileCheckpoints(dir)
	if err != nil {
		return err
	}
	c, err := store.Load(context.Background(), "name")
	if err != nil {
		return err
	}
	for n, _ := c.Number(); ; n++ {
		if err := store.Save(context.Background(), "name", esclient.CheckpointAtNumber(n)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func TestAKilledProcessLosesNoCheckpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), saverDir+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		var confirmed int64
		for range 1 + rand.IntN(40) {
			_, err := fmt.Fscanln(out, &confirmed)
			require.NoError(t, err)
		}
		next, err := eventstore.NewFileCheckpoints(dir)
		require.NoError(t, err)
		_, err = next.Load(t.Context(), "name")
		require.ErrorIs(t, err, eventstore.ErrCheckpointTaken, "it lives")
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		c, err := next.Load(t.Context(), "name")
		require.NoError(t, err)
		n, ok := c.Number()
		require.True(t, ok)
		assert.GreaterOrEqual(t, n, confirmed)
		require.NoError(t, next.Close())
	}
}

// TestTheEarlierOfTwoReadModelsKeepsItsFile has two processes with one name, whose names are locked by their files.
func TestTheEarlierOfTwoReadModelsKeepsItsFile(t *testing.T) {
	c, topic, dir := openClient(t, connectionString(t)), name("topic"), t.TempDir()
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, 5)
	start := func() (*eventstore.Subscriber, func() []string, error) {
		store, err := eventstore.NewFileCheckpoints(dir)
		require.NoError(t, err)
		cfg := readModel(store)
		cfg.Client, cfg.CheckpointTimeout = c, patience
		sub := newSubscriber(t, cfg)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		t.Cleanup(cancel)
		messages, err := sub.Subscribe(ctx, topic)
		return sub, func() []string { return consume(t, messages, 2) }, err
	}
	earlier, consumeTwo, err := start()
	require.NoError(t, err)
	assert.Equal(t, numbers(0, 1), consumeTwo())
	store, err := eventstore.NewFileCheckpoints(dir)
	require.NoError(t, err)
	_, err = store.Load(t.Context(), "readmodel/"+topic)
	assert.ErrorIs(t, err, eventstore.ErrCheckpointTaken)

	// A process that is started before the other one has ended waits for that.
	second := make(chan []string, 1)
	go func() {
		defer close(second)
		_, consumeTwo, err := start()
		if assert.NoError(t, err) {
			second <- consumeTwo()
		}
	}()
	require.NoError(t, earlier.Close())
	assert.Equal(t, numbers(2, 3), <-second)
}
