package essql_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// TestALogThatWasReplacedIsRefused has a server in memory that is restarted, and then gets more events than the read
// model has, while the read model does not run.
func TestALogThatWasReplacedIsRefused(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		for _, stream := range []string{topic, esclient.AllStream} {
			for _, byHandler := range []bool{false, true} {
				old, fresh := estest.Run(t), estest.Run(t)
				publish(t, old, 5)
				publish(t, fresh, 50)
				p := restarted{d: d, name: fmt.Sprint(stream, byHandler), stream: stream, byHandler: byHandler}
				require.NoError(t, p.run(t, old, 4))
				for range 2 {
					require.ErrorIs(t, p.run(t, fresh, 1), esclient.ErrLogWentBack, p.name)
				}
				require.NoError(t, p.run(t, old, 1))

				// A row of a version without known events.
				db := d.open(t)
				_, err := db.ExecContext(t.Context(), "UPDATE "+d.Table+" SET source = NULL")
				require.NoError(t, err)
				publish(t, old, 1)
				require.NoError(t, p.run(t, old, 1))
				require.ErrorIs(t, p.run(t, fresh, 1), esclient.ErrLogWentBack, p.name)
			}
		}
	})
}

// TestStartingOverForgetsTheOldLog has the checkpoint come back to the number that it had in the old log, which is no
// step forward.
func TestStartingOverForgetsTheOldLog(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		old, fresh := estest.Run(t), estest.Run(t)
		publish(t, old, 5)
		publish(t, fresh, 9)
		p := restarted{d: d, name: projector, stream: topic}
		require.NoError(t, p.run(t, old, 5))
		p.startOver = true
		require.NoError(t, p.run(t, fresh, 5))
		p.startOver = false
		require.NoError(t, p.run(t, fresh, 4))
	})
}

// restarted is a read model whose program is started again and again.
type restarted struct {
	d            database
	name, stream string
	byHandler    bool // the handler saves; the Subscriber never gets its last ack, and has nothing to save
	startOver    bool
}

// run starts the program, and ends it after n messages of the topic. It returns the error of Subscribe.
func (p *restarted) run(t *testing.T, srv *estest.Server, n int) error {
	t.Helper()
	store := p.d.store(t)
	config := subscriberConfig(srv.ConnectionString(), store)
	config.SubscriberName, config.CheckpointAfter, config.AckGrace = p.name, time.Hour, -1
	config.StartOver = p.startOver
	config.StreamName = func(string) (string, error) { return p.stream, nil }
	subscriber, err := eventstore.NewSubscriber(config, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, subscriber.Close()) }()
	messages, err := subscriber.Subscribe(t.Context(), topic)
	if err != nil {
		return err
	}
	for n > 0 {
		msg := <-messages
		if stream, _ := eventstore.StreamFromCtx(msg.Context()); stream == topic {
			n--
		}
		if p.byHandler {
			require.NoError(t, store.Apply(t.Context(), msg, func(*sql.Tx) error { return nil }))
		}
		if n > 0 || !p.byHandler {
			msg.Ack()
		}
	}
	return nil
}
