package essql_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// TestAnotherFilterOrStreamIsRefused has a checkpoint that has passed events which the new subscription wants. The one
// that is refused must not take the name over.
func TestAnotherFilterOrStreamIsRefused(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		store := d.store(t)
		srv := estest.Run(t)
		publish(t, srv, 2)
		config := subscriberConfig(srv.ConnectionString(), store)
		config.StreamName = func(string) (string, error) { return esclient.AllStream, nil }
		config.Filter = &esclient.Filter{StreamPrefixes: []string{"order", "größe \\ ' \" 😀"}}
		subscriber, err := eventstore.NewSubscriber(config, nil)
		require.NoError(t, err)
		messages, err := subscriber.Subscribe(t.Context(), topic)
		require.NoError(t, err)
		(<-messages).Ack()

		refuses := func(change func(*eventstore.SubscriberConfig)) {
			other := config
			other.Checkpoints = d.store(t)
			change(&other)
			sub, err := eventstore.NewSubscriber(other, nil)
			require.NoError(t, err)
			_, err = sub.Subscribe(context.Background(), topic)
			require.ErrorIs(t, err, eventstore.ErrCheckpointSource)
			require.NoError(t, sub.Close())
		}
		stream := func(c *eventstore.SubscriberConfig) { c.StreamName, c.Filter = nil, nil }
		more := func(c *eventstore.SubscriberConfig) { c.Filter = &esclient.Filter{StreamPrefixes: []string{"o"}} }
		second := <-messages
		require.NoError(t, store.Apply(t.Context(), second, func(*sql.Tx) error { return nil }))
		refuses(stream)
		refuses(more)
		second.Ack()
		require.NoError(t, subscriber.Close())
		want, ok := eventstore.CheckpointFromCtx(second.Context())
		require.True(t, ok)
		refuses(more)
		saved, err := store.Load(t.Context(), saveName)
		require.NoError(t, err)
		order, err := saved.Compare(want)
		require.NoError(t, err)
		require.GreaterOrEqual(t, order, 0)
	})
}
