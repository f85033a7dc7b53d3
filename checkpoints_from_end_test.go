package eventstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Environment variables that make the test program a process that subscribes from the end.
const (
	readerURL   = "WATERMILL_TEST_READER_URL"
	readerTopic = "WATERMILL_TEST_READER_TOPIC"
	readerDir   = "WATERMILL_TEST_READER_DIR"
)

// fromEnd is a read model that begins at the end, and saves late.
func fromEnd(store eventstore.Checkpoints) eventstore.SubscriberConfig {
	cfg := readModel(store)
	cfg.Start, cfg.CheckpointAfter = esclient.FromEnd(), time.Hour
	return cfg
}

// readUntilKilled subscribes to a topic, says so, and takes no message.
func readUntilKilled(url, topic, dir string) error {
	store, err := eventstore.NewFileCheckpoints(dir)
	if err != nil {
		return err
	}
	cfg := fromEnd(store)
	cfg.ConnectionString = url
	sub, err := eventstore.NewSubscriber(cfg, nil)
	if err != nil {
		return err
	}
	messages, err := sub.Subscribe(context.Background(), topic)
	if err != nil {
		return err
	}
	fmt.Println("subscribed")
	for msg := range messages {
		<-msg.Context().Done()
	}
	return errors.New("the subscription has ended")
}

// TestAReadModelKilledAtTheEndMissesNothing kills a process that began at the end before it has settled a message.
func TestAReadModelKilledAtTheEndMissesNothing(t *testing.T) {
	t.Parallel()
	url := connectionString(t)
	for what, existing := range map[string]int{"of an empty stream": 0, "of a stream": 3} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c, topic, dir := openClient(t, url), name("topic"), t.TempDir()
			pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
			publishNumbered(t, pub, topic, 0, existing-1)

			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), readerURL+"="+url, readerTopic+"="+topic, readerDir+"="+dir)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			assert.NoError(t, err)
			assert.Equal(t, "subscribed\n", line)
			require.NoError(t, cmd.Process.Kill())
			_ = cmd.Wait() // it was killed

			publishNumbered(t, pub, topic, existing, existing+2)
			store, err := eventstore.NewFileCheckpoints(dir)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, store.Close()) })
			cfg := fromEnd(store)
			cfg.Client = c
			messages := subscribe(t, newSubscriber(t, cfg), topic)
			assert.Equal(t, numbers(existing, existing+2), consume(t, messages, 3))
		})
	}
}

// TestSubscribeAtTheEndSavesTheStart looks into the store when Subscribe returns.
func TestSubscribeAtTheEndSavesTheStart(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	publishNumbered(t, pub, topic, 0, 4)
	store := &memoryCheckpoints{}
	cfg := fromEnd(store)
	cfg.Client = c
	begin := func(topic string) {
		t.Helper()
		sub := newSubscriber(t, cfg)
		subscribe(t, sub, topic)
		t.Cleanup(func() { assert.NoError(t, sub.Close()) })
	}
	empty := name("topic")
	begin(topic)
	begin(empty)
	assert.Equal(t, esclient.CheckpointAtNumber(4), store.at("readmodel/"+topic))
	assert.Equal(t, esclient.CheckpointAtNumber(-1), store.at("readmodel/"+empty))

	cfg.SubscriberName, cfg.Start = "from the start", esclient.FromStart()
	begin(empty)
	assert.Equal(t, esclient.Checkpoint{}, store.at("from the start/"+empty))
}

// TestSubscribeAtTheEndOfAllSavesTheStart has a read model of $all whose messages come after the saved start.
func TestSubscribeAtTheEndOfAllSavesTheStart(t *testing.T) {
	t.Parallel()
	srv := embedded(t)
	c := openClient(t, srv.ConnectionString())
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	publishNumbered(t, pub, "topic", 0, 4)
	store := &memoryCheckpoints{}
	cfg := fromEnd(store)
	cfg.Client, cfg.Filter = c, esclient.ExcludeSystemEvents()
	dead := newSubscriber(t, cfg)
	subscribe(t, dead, esclient.AllStream) // it takes no message
	began := store.at("readmodel/" + esclient.AllStream)
	_, ok := began.Position()
	require.True(t, ok)
	publishNumbered(t, pub, "topic", 5, 6)

	cfg.Checkpoints = keptAt("readmodel/"+esclient.AllStream, began)
	messages := subscribe(t, newSubscriber(t, cfg), esclient.AllStream)
	assert.Equal(t, numbers(5, 6), consume(t, messages, 2))
}

// TestSubscribeAtTheEndFailsWithoutASave has a store that cannot save. Nothing is handed out, and a later Subscribe can
// use the name.
func TestSubscribeAtTheEndFailsWithoutASave(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	publishNumbered(t, pub, topic, 0, 4)
	store := &unsavable{memoryCheckpoints: &memoryCheckpoints{}, err: errors.New("the disk is full")}
	cfg := fromEnd(store)
	cfg.Client, cfg.CheckpointTimeout = c, 50*time.Millisecond
	sub := newSubscriber(t, cfg)
	_, err := sub.Subscribe(context.Background(), topic)
	var failed *eventstore.CheckpointError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, "save", failed.Op)
	assert.ErrorIs(t, err, store.err)

	store.err = nil
	messages := subscribe(t, sub, topic)
	publishNumbered(t, pub, topic, 5, 5)
	assert.Equal(t, numbers(5, 5), consume(t, messages, 1))
}

// unsavable is a store whose Save fails.
type unsavable struct {
	*memoryCheckpoints
	err error
}

func (u *unsavable) Save(ctx context.Context, name string, c esclient.Checkpoint) error {
	if u.err != nil {
		return u.err
	}
	return u.memoryCheckpoints.Save(ctx, name, c)
}
