package eventstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func streamCheckpoints(t testing.TB, c *esclient.Client) *eventstore.StreamCheckpoints {
	t.Helper()
	store, err := eventstore.NewStreamCheckpoints(c, "")
	require.NoError(t, err)
	return store
}

func loaded(t testing.TB, store eventstore.Checkpoints, name string) esclient.Checkpoint {
	t.Helper()
	c, err := store.Load(timeout(t), name)
	require.NoError(t, err)
	return c
}

func saves(t testing.TB, store eventstore.Checkpoints, name string, c esclient.Checkpoint) {
	t.Helper()
	require.NoError(t, store.Save(timeout(t), name, c))
}

var somePosition = esclient.CheckpointAtPosition(esclient.Position{Commit: 1024, Prepare: 1000})

func TestStreamCheckpointsKeepSavedCheckpoints(t *testing.T) {
	c, key := openClient(t, connectionString(t)), name("invoices")+"/orders/ä"
	first := streamCheckpoints(t, c)
	assert.ErrorContains(t, first.Save(timeout(t), key, somePosition), "call Load first")
	assert.True(t, loaded(t, first, key).IsZero())
	for n := range int64(20) {
		saves(t, first, key, esclient.CheckpointAtNumber(n))
	}
	assert.Equal(t, esclient.CheckpointAtNumber(19), loaded(t, streamCheckpoints(t, c), key))
	second := streamCheckpoints(t, c)
	loaded(t, second, key)
	saves(t, second, key, somePosition)
	assert.Equal(t, somePosition, loaded(t, streamCheckpoints(t, c), key))
	third := streamCheckpoints(t, c)
	loaded(t, third, key)
	saves(t, third, key, esclient.Checkpoint{})
	assert.True(t, loaded(t, streamCheckpoints(t, c), key).IsZero())

	m, _, err := c.StreamMetadata(timeout(t), eventstore.DefaultCheckpointPrefix+key)
	require.NoError(t, err)
	assert.Equal(t, int64(10), m.MaxCount)
	assert.ErrorIs(t, third.Save(timeout(t), key, esclient.CheckpointAtNumber(-5)), esclient.ErrInvalidArgument)
	_, err = eventstore.NewStreamCheckpoints(nil, "")
	assert.ErrorIs(t, err, esclient.ErrInvalidArgument)
}

func TestALoadOfStreamCheckpointsTakesTheNameOver(t *testing.T) {
	c, key := openClient(t, connectionString(t)), name("name")
	first, second := streamCheckpoints(t, c), streamCheckpoints(t, c)
	loaded(t, first, key)
	saves(t, first, key, esclient.CheckpointAtNumber(7))
	assert.Equal(t, esclient.CheckpointAtNumber(7), loaded(t, second, key))
	err := first.Save(timeout(t), key, esclient.CheckpointAtNumber(8))
	assert.ErrorIs(t, err, eventstore.ErrCheckpointTaken)
	assert.ErrorContains(t, err, eventstore.DefaultCheckpointPrefix+key)
	saves(t, second, key, esclient.CheckpointAtNumber(9))
	assert.Equal(t, esclient.CheckpointAtNumber(9), loaded(t, streamCheckpoints(t, c), key))
}

// TestOneOfManyProcessesGoesOn has processes that take a name over from each other all the time.
func TestOneOfManyProcessesGoesOn(t *testing.T) {
	c, key := openClient(t, connectionString(t)), name("name")
	var mu sync.Mutex
	latest := int64(-1) // confirmed
	var processes sync.WaitGroup
	for range 8 {
		processes.Go(func() {
			for range 10 {
				store := streamCheckpoints(t, c)
				mu.Lock()
				before := latest
				mu.Unlock()
				from, err := store.Load(timeout(t), key)
				if errors.Is(err, eventstore.ErrCheckpointTaken) {
					continue // too many at once
				}
				if !assert.NoError(t, err) {
					return
				}
				at := int64(-1)
				if n, ok := from.Number(); ok {
					at = n
				}
				assert.GreaterOrEqual(t, at, before, "a confirmed save is lost")
				err = store.Save(timeout(t), key, esclient.CheckpointAtNumber(at+1))
				if err != nil {
					assert.ErrorIs(t, err, eventstore.ErrCheckpointTaken)
					continue
				}
				mu.Lock()
				latest = max(latest, at+1)
				mu.Unlock()
			}
		})
	}
	processes.Wait()
	assert.Equal(t, esclient.CheckpointAtNumber(latest), loaded(t, streamCheckpoints(t, c), key))
}

func TestStreamCheckpointsRefuseEventsOfOtherWriters(t *testing.T) {
	c := openClient(t, connectionString(t))
	for i, event := range []esclient.EventData{
		{Type: "order", Data: []byte(`{"checkpoint":"5"}`)},
		{Type: "watermill-checkpoint", Data: []byte(`{"checkpoint":"5`)},
		{Type: "watermill-checkpoint", Data: []byte(`{"checkpoint":5}`)},
		{Type: "watermill-checkpoint", Data: []byte(`{}`)},
		{Type: "watermill-checkpoint", Data: []byte(`{"checkpoint":null}`)},
		{Type: "watermill-checkpoint"},
	} {
		key := name("name")
		stream := eventstore.DefaultCheckpointPrefix + key
		_, err := c.Append(timeout(t), stream, esclient.NoStream, event)
		require.NoError(t, err)
		_, err = streamCheckpoints(t, c).Load(timeout(t), key)
		assert.ErrorIs(t, err, eventstore.ErrCheckpointCorrupt, i)
		assert.ErrorContains(t, err, stream, i)
	}
}

func TestStreamCheckpointsOutliveTheirStream(t *testing.T) {
	overPersonas(t, func(t *testing.T, srv *estest.Server, _ *estest.Clock) {
		c := openClient(t, srv.ConnectionString())
		store := streamCheckpoints(t, c)
		stream := eventstore.DefaultCheckpointPrefix + "name"
		loaded(t, store, "name")
		saves(t, store, "name", esclient.CheckpointAtNumber(5))
		_, err := c.DeleteStream(timeout(t), stream, esclient.Any)
		require.NoError(t, err)
		saves(t, store, "name", esclient.CheckpointAtNumber(6))
		assert.Equal(t, esclient.CheckpointAtNumber(6), loaded(t, streamCheckpoints(t, c), "name"))

		_, err = c.DeleteStream(timeout(t), stream, esclient.Any)
		require.NoError(t, err)
		fresh := streamCheckpoints(t, c)
		assert.True(t, loaded(t, fresh, "name").IsZero(), "removing the stream removes the checkpoint")
		saves(t, fresh, "name", esclient.CheckpointAtNumber(1))
		assert.Equal(t, esclient.CheckpointAtNumber(1), loaded(t, streamCheckpoints(t, c), "name"))

		_, err = c.TombstoneStream(timeout(t), stream, esclient.Any)
		require.NoError(t, err)
		_, err = streamCheckpoints(t, c).Load(timeout(t), "name")
		assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
	})
}

// TestStreamCheckpointsNeedFewRights has a user who may read and write the stream, and nothing else.
func TestStreamCheckpointsNeedFewRights(t *testing.T) {
	for _, persona := range personas {
		srv := embedded(t, estest.WithPersona(persona), estest.WithUser("plain", "pw"))
		admin, stream := openClient(t, srv.ConnectionString()), eventstore.DefaultCheckpointPrefix+"name"
		_, err := admin.SetStreamMetadata(timeout(t), stream, esclient.NoStream, esclient.StreamMetadata{
			ACL: esclient.StreamACL{
				Read: []string{"plain"}, Write: []string{"plain"}, Delete: []string{}, MetaRead: []string{},
				MetaWrite: []string{},
			},
		})
		require.NoError(t, err)
		ctx := esclient.WithCredentials(timeout(t), esclient.Credentials{Login: "plain", Password: "pw"})
		store := streamCheckpoints(t, admin)
		_, err = store.Load(ctx, "name")
		require.NoError(t, err)
		require.NoError(t, store.Save(ctx, "name", somePosition))
		got, err := streamCheckpoints(t, admin).Load(ctx, "name")
		require.NoError(t, err)
		assert.Equal(t, somePosition, got)
	}
}

// TestASaveWithALostReplyIsNoTakeover has saves that are given up, and which the server does nevertheless.
func TestASaveWithALostReplyIsNoTakeover(t *testing.T) {
	overPersonas(t, func(t *testing.T, srv *estest.Server, _ *estest.Clock) {
		c := openTough(t, srv.ConnectionString())
		store := streamCheckpoints(t, c)
		loaded(t, store, "name")
		for n := range int64(3) {
			srv.Pause()
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			assert.Error(t, store.Save(ctx, "name", esclient.CheckpointAtNumber(2*n)))
			cancel()
			srv.Resume()
			saves(t, store, "name", esclient.CheckpointAtNumber(2*n+1))
		}
		for n := range int64(5) {
			var saved sync.WaitGroup
			saved.Go(func() { saves(t, store, "name", esclient.CheckpointAtNumber(10+n)) })
			srv.DropConnections()
			saved.Wait()
		}
		assert.Equal(t, esclient.CheckpointAtNumber(14), loaded(t, streamCheckpoints(t, c), "name"))
	})
}

// movable returns a client and a function that has it connect to another server from then on.
func movable(t testing.TB, srv *estest.Server) (c *esclient.Client, move func(to *estest.Server)) {
	t.Helper()
	var addr atomic.Value
	addr.Store(srv.Addr())
	c, err := esclient.New(esclient.Config{
		Address:     srv.Addr(),
		Credentials: &esclient.Credentials{Login: "admin", Password: "changeit"},
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, addr.Load().(string))
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c, func(to *estest.Server) {
		addr.Store(to.Addr())
		srv.Close()
		srv = to
	}
}

func TestStreamCheckpointsGoOnAfterALogThatWentBack(t *testing.T) {
	srv := embedded(t)
	c, move := movable(t, srv)
	store := streamCheckpoints(t, c)
	loaded(t, store, "name")
	older := embedded(t, estest.WithSnapshot(srv.Snapshot()))
	for n := range int64(5) {
		saves(t, store, "name", esclient.CheckpointAtNumber(n))
	}
	move(older)
	saves(t, store, "name", esclient.CheckpointAtNumber(1))
	move(embedded(t))
	saves(t, store, "name", esclient.CheckpointAtNumber(2))
	assert.Equal(t, esclient.CheckpointAtNumber(2), loaded(t, streamCheckpoints(t, c), "name"))
}

// TestTheLaterOfTwoReadModelsGoesOn has two processes with one name.
func TestTheLaterOfTwoReadModelsGoesOn(t *testing.T) {
	overPersonas(t, func(t *testing.T, srv *estest.Server, _ *estest.Clock) {
		c := openClient(t, srv.ConnectionString())
		publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), "topic", 0, 5)
		cfg := readModel(streamCheckpoints(t, c))
		cfg.Client = c
		log := watermill.NewCaptureLogger()
		earlier, err := eventstore.NewSubscriber(cfg, log)
		require.NoError(t, err)
		defer func() { assert.NoError(t, earlier.Close()) }()
		messages := subscribe(t, earlier, "topic")
		assert.Equal(t, numbers(0, 1), consume(t, messages, 2))
		savedAt(t, c, esclient.CheckpointAtNumber(1))

		// Another process, and another Subscriber of this process with the same store.
		for i, store := range []eventstore.Checkpoints{streamCheckpoints(t, c), cfg.Checkpoints} {
			cfg.Checkpoints = store
			later := subscribe(t, newSubscriber(t, cfg), "topic")
			assert.Equal(t, []string{fmt.Sprint(2 + i)}, consume(t, later, 1))
			savedAt(t, c, esclient.CheckpointAtNumber(int64(2+i)))
			if i == 0 {
				receive(t, messages).Ack()
				closes(t, messages)
				ended := lines(log, watermill.ErrorLogLevel, "Subscription ended")
				require.Len(t, ended, 1)
				assert.ErrorIs(t, ended[0].Err, eventstore.ErrCheckpointTaken)
			}
		}
	})
}

// savedAt waits until the checkpoint of the topic is c.
func savedAt(t testing.TB, client *esclient.Client, c esclient.Checkpoint) {
	t.Helper()
	stream := eventstore.DefaultCheckpointPrefix + "readmodel/topic"
	require.Eventually(t, func() bool {
		e, err := client.ReadEvent(timeout(t), stream, esclient.LastEvent, esclient.ReadEventOptions{})
		if err != nil {
			return false
		}
		var stored struct{ Checkpoint esclient.Checkpoint }
		return json.Unmarshal(e.Data, &stored) == nil && stored.Checkpoint == c
	}, patience, time.Millisecond)
}

// TestSavingCausesNoMoreSaving has a read model of $all whose checkpoints are events of $all, which projections link
// to.
func TestSavingCausesNoMoreSaving(t *testing.T) {
	for _, persona := range personas {
		srv := embedded(t, estest.WithPersona(persona), estest.WithProjections())
		c := openClient(t, srv.ConnectionString())
		cfg := readModel(streamCheckpoints(t, c))
		cfg.Client, cfg.CheckpointMaxCount = c, 1
		messages := subscribe(t, newSubscriber(t, cfg), esclient.AllStream)
		go func() {
			for msg := range messages {
				msg.Ack()
			}
		}()
		publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), "orders", 0, 9)
		stream := eventstore.DefaultCheckpointPrefix + "readmodel/$all"
		last := func() int64 {
			e, err := c.ReadEvent(timeout(t), stream, esclient.LastEvent, esclient.ReadEventOptions{})
			require.NoError(t, err)
			return e.Number
		}
		require.Eventually(t, func() bool {
			before := last()
			time.Sleep(50 * time.Millisecond) // a moment, in which nothing happens
			return last() == before
		}, patience, time.Millisecond, "saving goes on without end")
	}
}
