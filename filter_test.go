package eventstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// filteringModes are those of the topic "$all".
var filteringModes = map[string]eventstore.SubscriberConfig{
	"catch-up":            {Mode: eventstore.ModeCatchUp},
	"catch-up in pages":   {Mode: eventstore.ModeCatchUp, PageSize: 2},
	"volatile":            {Mode: eventstore.ModeVolatile},
	"volatile, gaps left": {Mode: eventstore.ModeVolatile, DisableGapFilling: true},
}

// TestACategoryWithoutProjections reads the streams of a category by a filter of $all: in the order of the writes, over
// lost connections, without projections.
func TestACategoryWithoutProjections(t *testing.T) {
	for _, persona := range personas {
		for mode, cfg := range filteringModes {
			t.Run(fmt.Sprintf("%s/%s", persona, mode), func(t *testing.T) {
				srv := embedded(t, estest.WithPersona(persona))
				c := openClient(t, srv.ConnectionString())
				write := func(from, to int) {
					for n := from; n <= to; n++ {
						for _, stream := range []string{fmt.Sprintf("order-%d", n%3), "other"} {
							_, err := srv.Append(stream, estest.Event{Type: "t", Data: fmt.Append(nil, n)})
							require.NoError(t, err)
						}
					}
				}
				first := 1
				write(1, 9)
				if cfg.Mode == eventstore.ModeVolatile {
					first = 10
				}
				cfg.Client, cfg.Filter = c, &esclient.Filter{StreamPrefixes: []string{"order-"}}
				messages := subscribe(t, newSubscriber(t, cfg), "$all")
				write(10, 19)
				assert.Equal(t, numbers(first, 19), consume(t, messages, 20-first))
				if !cfg.DisableGapFilling {
					srv.DropConnections()
				}
				write(20, 29)
				assert.Equal(t, numbers(20, 29), consume(t, messages, 10))
			})
		}
	}
}

// TestEverythingButSystemEvents has an administrator's and the server's own work among the messages.
func TestEverythingButSystemEvents(t *testing.T) {
	for _, persona := range personas {
		for mode, cfg := range filteringModes {
			t.Run(fmt.Sprintf("%s/%s", persona, mode), func(t *testing.T) {
				srv := embedded(t, estest.WithPersona(persona), estest.WithProjections())
				c, ctx := openClient(t, srv.ConnectionString()), timeout(t)
				pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
				cfg.Client, cfg.Filter = c, esclient.ExcludeSystemEvents()
				messages := subscribe(t, newSubscriber(t, cfg), "$all")
				publishNumbered(t, pub, "a", 1, 2)
				require.NoError(t, c.CreatePersistent(ctx, "a", "g", eventstore.DefaultGroupSettings()))
				_, err := c.SetStreamMetadata(ctx, "a", esclient.Any, esclient.StreamMetadata{MaxCount: 1})
				require.NoError(t, err)
				_, err = c.TombstoneStream(ctx, "a", esclient.Any)
				require.NoError(t, err)
				require.NoError(t, srv.WaitForProjections(ctx))
				publishNumbered(t, pub, "b", 3, 4)
				assert.Equal(t, numbers(1, 4), consume(t, messages, 4))
			})
		}
	}
}

func TestFiltersThatAreRefused(t *testing.T) {
	good := &esclient.Filter{StreamPrefixes: []string{"order-"}}
	for what, cfg := range map[string]eventstore.SubscriberConfig{
		"a group":       {ConsumerGroup: "g", Filter: good},
		"no test":       {Mode: eventstore.ModeCatchUp, Filter: &esclient.Filter{}},
		"two tests":     {Filter: &esclient.Filter{StreamRegex: "a", TypeRegex: "a"}},
		"an empty test": {Filter: &esclient.Filter{TypePrefixes: []string{""}}},
		"a window":      {Filter: &esclient.Filter{TypeRegex: "a", SearchWindow: -1}},
		"an interval":   {Filter: &esclient.Filter{TypeRegex: "a", CheckpointInterval: -1}},
	} {
		cfg.ConnectionString = "tcp://localhost:1" // without a server: nothing may be sent
		_, err := eventstore.NewSubscriber(cfg, nil)
		assert.ErrorContains(t, err, "Filter", what)
	}
	loads := 0
	for _, cfg := range []eventstore.SubscriberConfig{
		{Mode: eventstore.ModeVolatile},
		{Mode: eventstore.ModeCatchUp, LoadStart: func(context.Context, string) (esclient.Start, error) {
			loads++
			return esclient.FromStart(), nil
		}},
	} {
		cfg.ConnectionString, cfg.Filter = "tcp://localhost:1", good
		_, err := newSubscriber(t, cfg).Subscribe(timeout(t), "order-1")
		assert.ErrorIs(t, err, esclient.ErrInvalidConfig)
		assert.ErrorContains(t, err, "Filter")
	}
	assert.Zero(t, loads)
}

// TestARegexThatOnlyServersKnow is in the dialect of .NET: a Subscriber that filters itself refuses it.
func TestARegexThatOnlyServersKnow(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011} {
		for mode, cfg := range filteringModes {
			srv := embedded(t, estest.WithPersona(persona))
			cfg.ConnectionString = srv.ConnectionString()
			cfg.Filter = &esclient.Filter{StreamRegex: "^(?!test-)"}
			_, err := newSubscriber(t, cfg).Subscribe(timeout(t), "$all")
			assert.ErrorIs(t, err, esclient.ErrNotSupported, mode)
			assert.ErrorContains(t, err, "StreamRegex", mode)
		}
	}
}

// storeOnTheServer saves checkpoints, and writes an event for each, as stores on the same server do.
type storeOnTheServer struct {
	memoryCheckpoints
	srv *estest.Server
}

func (s *storeOnTheServer) Save(ctx context.Context, name string, c esclient.Checkpoint) error {
	if _, err := s.srv.Append("$checkpoints", estest.Event{Type: "checkpoint"}); err != nil {
		return err
	}
	return s.memoryCheckpoints.Save(ctx, name, c)
}

// TestASavedCheckpointMovesOverFilteredEvents holds that a read model of a rare event does not begin far back
// after a restart, and that saving, which writes events itself, comes to rest.
func TestASavedCheckpointMovesOverFilteredEvents(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			srv := embedded(t, estest.WithPersona(persona))
			store := &storeOnTheServer{srv: srv}
			cfg := readModel(store)
			cfg.ConnectionString = srv.ConnectionString()
			cfg.Filter = &esclient.Filter{StreamPrefixes: []string{"order-"}, CheckpointInterval: 50}
			write(t, srv, "other", 1, 200)
			write(t, srv, "order-1", 1, 1)
			messages := subscribe(t, newSubscriber(t, cfg), "$all")
			consume(t, messages, 1)
			saved := func() bool { return !store.at("readmodel/$all").IsZero() }
			require.Eventually(t, saved, patience, time.Millisecond)
			before := store.at("readmodel/$all")
			write(t, srv, "other", 201, 300)
			moved := func() bool { return after(t, store.at("readmodel/$all"), before) }
			require.Eventually(t, moved, patience, time.Millisecond)

			for saves := -1; saves != len(store.saved()); time.Sleep(50 * time.Millisecond) {
				saves = len(store.saved())
				require.Less(t, saves, 100, "each save leads to the next")
			}
		})
	}
}
