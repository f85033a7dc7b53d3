package essql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/essql"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

const (
	topic     = "orders"
	projector = "projector"
	saveName  = projector + "/" + topic
)

// publish writes n messages to a server.
func publish(t *testing.T, srv *estest.Server, n int) {
	t.Helper()
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{ConnectionString: srv.ConnectionString()}, nil)
	require.NoError(t, err)
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage(watermill.NewUUID(), []byte(fmt.Sprint(i)))
	}
	require.NoError(t, publisher.Publish(topic, messages...))
	require.NoError(t, publisher.Close())
}

func subscriberConfig(connectionString string, store eventstore.Checkpoints) eventstore.SubscriberConfig {
	return eventstore.SubscriberConfig{
		ConnectionString: connectionString, Mode: eventstore.ModeCatchUp, Checkpoints: store, SubscriberName: projector,
	}
}

// receive returns n messages as a Subscriber hands them out. They are acked, and the subscription lasts.
func receive(t *testing.T, n int, config eventstore.SubscriberConfig) []*message.Message {
	t.Helper()
	if config.ConnectionString == "" {
		srv := estest.Run(t)
		publish(t, srv, n)
		config.ConnectionString = srv.ConnectionString()
	}
	subscriber, err := eventstore.NewSubscriber(config, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, subscriber.Close()) })
	channel, err := subscriber.Subscribe(t.Context(), topic)
	require.NoError(t, err)
	messages := make([]*message.Message, 0, n)
	for len(messages) < n {
		msg := <-channel
		require.NotNil(t, msg)
		msg.Ack()
		messages = append(messages, msg)
	}
	return messages
}

// unseen is a store of checkpoints that saves nothing, so that only SaveTx can have saved a checkpoint.
type unseen struct{ *essql.Store }

func (unseen) Save(context.Context, string, esclient.Checkpoint) error { return nil }

// received returns n messages of a Subscriber with a Store, in which nothing is saved yet.
func received(t *testing.T, d database, n int) (*sql.DB, *essql.Store, []*message.Message) {
	t.Helper()
	db := d.open(t)
	store := d.storeIn(t, db)
	messages := receive(t, n, subscriberConfig("", unseen{store}))
	_, err := store.Load(t.Context(), saveName)
	require.NoError(t, err)
	return db, store, messages
}

func TestACheckpointIsSavedWithTheTransaction(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		db, store, messages := received(t, d, 3)
		save := func(i int) func(tx *sql.Tx) error {
			return func(tx *sql.Tx) error { return store.SaveTx(t.Context(), tx, messages[i]) }
		}
		saved := func() esclient.Checkpoint {
			c, err := store.Load(t.Context(), saveName)
			require.NoError(t, err)
			return c
		}
		failed := errors.New("the handler failed")
		require.ErrorIs(t, inTx(t, db, func(tx *sql.Tx) error { return errors.Join(save(0)(tx), failed) }), failed)
		require.True(t, saved().IsZero(), "it was rolled back")

		require.NoError(t, inTx(t, db, save(0)))
		require.Equal(t, number(0), saved())
		require.ErrorIs(t, inTx(t, db, save(0)), essql.ErrAlreadySaved)
		require.NoError(t, inTx(t, db, save(1)))
		require.ErrorIs(t, inTx(t, db, save(1)), essql.ErrAlreadySaved)
		require.ErrorIs(t, inTx(t, db, save(0)), essql.ErrAlreadySaved)
		require.Equal(t, number(1), saved())

		// The Subscriber saves acked messages later than the handler, and in larger steps.
		require.NoError(t, store.Save(t.Context(), saveName, number(0)))
		require.NoError(t, store.Save(t.Context(), saveName, number(1)))
		require.Equal(t, number(1), saved())
		require.NoError(t, inTx(t, db, save(2)), "a Save is no takeover")
		require.NoError(t, store.Save(t.Context(), saveName, number(9)), "skipped messages are dealt with")
		require.ErrorIs(t, inTx(t, db, save(2)), essql.ErrAlreadySaved)
	})
}

func TestSaveTxFailsWhenTheNameIsTaken(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		db, store, messages := received(t, d, 2)
		require.NoError(t, inTx(t, db, func(tx *sql.Tx) error { return store.SaveTx(t.Context(), tx, messages[0]) }))
		requireSaved(t, d, saveName, number(0))
		for _, msg := range messages {
			err := inTx(t, db, func(tx *sql.Tx) error { return store.SaveTx(t.Context(), tx, msg) })
			require.ErrorIs(t, err, eventstore.ErrCheckpointTaken)
			require.NotErrorIs(t, err, essql.ErrAlreadySaved)
		}
		require.ErrorIs(t, store.Apply(t.Context(), messages[1], func(*sql.Tx) error {
			t.Error("the read model was changed")
			return nil
		}), eventstore.ErrCheckpointTaken)
	})
}

// Two handlers have the same message: one commits it or rolls it back while the other one is in SaveTx.
func TestOneOfTwoTransactionsAppliesAMessage(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		db, store, messages := received(t, d, 2)
		race := func(msg *message.Message, end func(*sql.Tx) error) error {
			first, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, store.SaveTx(t.Context(), first, msg))
			second := make(chan error)
			go func() {
				tx, err := db.BeginTx(t.Context(), nil)
				if err == nil {
					err = errors.Join(store.SaveTx(t.Context(), tx, msg), tx.Commit())
				}
				second <- err
			}()
			require.NoError(t, end(first))
			return <-second
		}
		require.NoError(t, race(messages[0], (*sql.Tx).Rollback))
		require.ErrorIs(t, race(messages[1], (*sql.Tx).Commit), essql.ErrAlreadySaved)
		requireSaved(t, d, saveName, number(1))
	})
}

// A transaction that began earlier must not take an old snapshot for the present.
func TestAnOldSnapshotDoesNotApplyAMessageAgain(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		if d.Dialect == essql.SQLite {
			d.DSN = d.DSN[:len(d.DSN)-len("&_txlock=immediate")]
		}
		db, store, messages := received(t, d, 3)
		levels := []sql.IsolationLevel{sql.LevelDefault}
		if d.Dialect != essql.SQLite {
			levels = append(levels, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable)
		}
		for _, level := range levels {
			if d.Dialect == essql.MySQL && level == sql.LevelSerializable {
				continue // its reads lock the row, so that the other transaction waits for this one
			}
			t.Run(level.String(), func(t *testing.T) {
				require.NoError(t, store.Save(t.Context(), saveName, esclient.Checkpoint{}))
				old, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: level})
				require.NoError(t, err)
				defer func() { require.NoError(t, old.Rollback()) }()
				var rows int
				require.NoError(t, old.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+d.Table).Scan(&rows))

				save := func(tx *sql.Tx) error { return store.SaveTx(t.Context(), tx, messages[1]) }
				require.NoError(t, inTx(t, db, save))
				err = save(old)
				require.Error(t, err)
				if level == sql.LevelReadCommitted || d.Dialect == essql.MySQL {
					require.ErrorIs(t, err, essql.ErrAlreadySaved)
				}
			})
		}
	})
}

func TestApplyHasBothOrNeither(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		db, store, messages := received(t, d, 2)
		model := newModel(t, d, db)
		failed := errors.New("the handler failed")
		add := func(tx *sql.Tx) error { return model.add(t.Context(), tx, messages[0]) }
		require.ErrorIs(t, store.Apply(t.Context(), messages[0], func(tx *sql.Tx) error {
			return errors.Join(add(tx), failed)
		}), failed)
		assert.Empty(t, model.applied(t))
		assert.Panics(t, func() {
			_ = store.Apply(t.Context(), messages[0], func(tx *sql.Tx) error {
				_ = add(tx)
				panic("the handler panicked")
			})
		})
		assert.Empty(t, model.applied(t))
		for range 3 {
			require.NoError(t, store.Apply(t.Context(), messages[0], add))
		}
		assert.Equal(t, []int{0}, model.applied(t))

		ctx, cancel := context.WithCancel(t.Context())
		require.ErrorIs(t, store.Apply(ctx, messages[1], func(tx *sql.Tx) error {
			cancel()
			return model.add(ctx, tx, messages[1])
		}), context.Canceled)
		assert.Equal(t, []int{0}, model.applied(t))
		requireSaved(t, d, saveName, number(0))
	})
}

func TestSaveTxRefusesOtherMessages(t *testing.T) {
	t.Parallel()
	d := sqlite(t)
	db, store, messages := received(t, d, 1)
	srv := estest.Run(t)
	publish(t, srv, 1)
	concurrent := subscriberConfig(srv.ConnectionString(), unseen{store})
	concurrent.Concurrency = 2

	startOver := subscriberConfig(srv.ConnectionString(), unseen{store})
	startOver.StartOver = true
	plain := eventstore.SubscriberConfig{ConnectionString: srv.ConnectionString(), Mode: eventstore.ModeCatchUp}

	for name, msg := range map[string]*message.Message{
		"no message":          nil,
		"not of a Subscriber": message.NewMessage("1", nil),
		"another context":     messages[0].Copy(),
		"without Checkpoints": receive(t, 1, plain)[0],
		"Concurrency 2":       receive(t, 1, concurrent)[0],
		"StartOver":           receive(t, 1, startOver)[0],
	} {
		for range 2 {
			err := inTx(t, db, func(tx *sql.Tx) error { return store.SaveTx(t.Context(), tx, msg) })
			require.ErrorIs(t, err, esclient.ErrInvalidArgument, name)
			if name == "Concurrency 2" || name == "StartOver" {
				require.ErrorContains(t, err, "a Subscriber with "+name)
			}
		}
	}
	require.ErrorIs(t, store.SaveTx(t.Context(), nil, messages[0]), esclient.ErrInvalidArgument)
	require.ErrorIs(t, store.ResetTx(t.Context(), nil, saveName), esclient.ErrInvalidArgument)

	another := d.store(t)
	require.ErrorIs(t, inTx(t, db, func(tx *sql.Tx) error { return another.SaveTx(t.Context(), tx, messages[0]) }),
		essql.ErrNotLoaded)
	require.NoError(t, inTx(t, db, func(tx *sql.Tx) error { return store.SaveTx(t.Context(), tx, messages[0]) }))
}

// A read model on $all has positions.
func TestACheckpointOfAllIsAPosition(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		srv := estest.Run(t)
		publish(t, srv, 2)
		db := d.open(t)
		store := d.storeIn(t, db)
		config := subscriberConfig(srv.ConnectionString(), unseen{store})
		config.StreamName = func(string) (string, error) { return esclient.AllStream, nil }
		messages := receive(t, 2, config)
		_, err := store.Load(t.Context(), saveName)
		require.NoError(t, err)
		for _, msg := range messages {
			save := func(tx *sql.Tx) error { return store.SaveTx(t.Context(), tx, msg) }
			require.NoError(t, inTx(t, db, save))
			require.ErrorIs(t, inTx(t, db, save), essql.ErrAlreadySaved)
		}
		want, ok := eventstore.CheckpointFromCtx(messages[1].Context())
		require.True(t, ok)
		_, ok = want.Position()
		require.True(t, ok)
		requireSaved(t, d, saveName, want)
	})
}
