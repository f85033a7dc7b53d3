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
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// noCheckpoints is a store that has none and keeps none.
type noCheckpoints struct{}

func (noCheckpoints) Load(context.Context, string) (esclient.Checkpoint, error) {
	return esclient.Checkpoint{}, nil
}
func (noCheckpoints) Save(context.Context, string, esclient.Checkpoint) error { return nil }

func TestCheckpointSettingsAreValidated(t *testing.T) {
	t.Parallel()
	valid := eventstore.SubscriberConfig{
		ConnectionString: "tcp://localhost:1113", Mode: eventstore.ModeCatchUp,
		Checkpoints: noCheckpoints{}, SubscriberName: "invoices",
	}
	require.NoError(t, valid.Validate())
	for setting, change := range map[string]func(*eventstore.SubscriberConfig){
		"SubscriberName":     func(c *eventstore.SubscriberConfig) { c.SubscriberName = "" },
		"SubscriberName ":    func(c *eventstore.SubscriberConfig) { c.SubscriberName = "a/b" },
		"SubscriberName  ":   func(c *eventstore.SubscriberConfig) { c.SubscriberName = "a\nb" },
		"SubscriberName   ":  func(c *eventstore.SubscriberConfig) { c.SubscriberName = "a\xffb" },
		"LoadStart":          func(c *eventstore.SubscriberConfig) { c.LoadStart = startAnywhere },
		"CheckpointAfter":    func(c *eventstore.SubscriberConfig) { c.CheckpointAfter = -1 },
		"CheckpointMaxCount": func(c *eventstore.SubscriberConfig) { c.CheckpointMaxCount = -1 },
		"CheckpointTimeout":  func(c *eventstore.SubscriberConfig) { c.CheckpointTimeout = -1 },
		"Checkpoints":        func(c *eventstore.SubscriberConfig) { c.Mode = eventstore.ModeVolatile },
		"Checkpoints ": func(c *eventstore.SubscriberConfig) {
			c.Mode, c.ConsumerGroup = eventstore.ModeDefault, "g"
		},
		"SubscriberName    ": func(c *eventstore.SubscriberConfig) { c.Checkpoints = nil },
		"CheckpointAfter ": func(c *eventstore.SubscriberConfig) {
			c.Checkpoints, c.SubscriberName, c.CheckpointAfter = nil, "", time.Second
		},
	} {
		cfg := valid
		change(&cfg)
		var wrong *esclient.ConfigError
		if assert.ErrorAs(t, cfg.Validate(), &wrong, setting) {
			assert.Contains(t, "SubscriberConfig."+setting, wrong.Setting)
		}
	}
}

func startAnywhere(context.Context, string) (esclient.Start, error) { return esclient.Start{}, nil }

// TestTheCheckpointOfAMessageIsThatOfItsTopic: a handler that keeps the checkpoint itself continues at the right
// message, also with links, whose targets have other numbers.
func TestTheCheckpointOfAMessageIsThatOfItsTopic(t *testing.T) {
	c, orders, links := openClient(t, connectionString(t)), name("orders"), name("links")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), orders, 0, 9)
	for n := 9; n > 0; n -= 3 {
		_, err := c.Append(timeout(t), links, esclient.Any, esclient.EventData{
			Type: "$>", Data: fmt.Appendf(nil, "%d@%s", n, orders),
		})
		require.NoError(t, err)
	}
	for _, tt := range []struct {
		topic string
		want  []string
	}{{links, []string{"9", "6", "3"}}, {orders, numbers(0, 9)}} {
		cfg := eventstore.SubscriberConfig{Client: c, Mode: eventstore.ModeCatchUp, ResolveLinks: true}
		for i, want := range tt.want {
			msg := receive(t, subscribe(t, newSubscriber(t, cfg), tt.topic))
			assert.Equal(t, want, string(msg.Payload))
			checkpoint, ok := eventstore.CheckpointFromCtx(msg.Context())
			require.True(t, ok)
			assert.Equal(t, esclient.CheckpointAtNumber(int64(i)), checkpoint)
			_, named := eventstore.CheckpointNameFromCtx(msg.Context())
			assert.False(t, named, "there is no store")
			cfg.Start = checkpoint.Start()
			msg.Ack()
		}
	}
	_, ok := eventstore.CheckpointFromCtx(context.Background())
	assert.False(t, ok)
	_, ok = eventstore.CheckpointNameFromCtx(context.Background())
	assert.False(t, ok)
}

func TestTheCheckpointInAllStreamsIsAPosition(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("all")
	end, err := c.ReadAllPage(timeout(t), esclient.ReadAllOptions{Backward: true, PageSize: 1})
	require.NoError(t, err)
	publishNumbered(t, pub, topic, 0, 2)
	start := esclient.FromPosition(end.From)
	for n := 0; n < 3; {
		cfg := eventstore.SubscriberConfig{Client: c, Mode: eventstore.ModeCatchUp, Start: start}
		msg := receive(t, subscribe(t, newSubscriber(t, cfg), esclient.AllStream))
		checkpoint, ok := eventstore.CheckpointFromCtx(msg.Context())
		require.True(t, ok)
		start = checkpoint.Start()
		if stream, _ := eventstore.StreamFromCtx(msg.Context()); stream == topic {
			assert.Equal(t, fmt.Sprint(n), string(msg.Payload))
			n++
		}
		msg.Ack()
	}
}

func TestATopicThatNamesNoCheckpointIsRefused(t *testing.T) {
	t.Parallel()
	store, err := eventstore.NewFileCheckpoints(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, store.Close()) })
	cfg := readModel(store)
	cfg.Client = openClient(t, connectionString(t))
	cfg.StreamName = func(string) (string, error) { return "s", nil }
	_, err = newSubscriber(t, cfg).Subscribe(timeout(t), "\xff")
	assert.ErrorIs(t, err, esclient.ErrInvalidArgument)
}
