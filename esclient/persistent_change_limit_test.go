package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// A server with many groups takes its time to make another one. Of many that are made at a time none runs into the
// limit of an operation, though all together take longer than that.
func TestManyGroupsAreMadeAtATime(t *testing.T) {
	srv, _ := embedded(t)
	srv.Intercept(esproto.CmdCreatePersistentSubscription, estest.Choose(func(estest.Request) estest.Action {
		time.Sleep(20 * time.Millisecond) // the server makes the changes one after another
		return estest.Action{}
	}))
	c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) {
		cfg.OperationTimeout, cfg.MaxRetries = 1500*time.Millisecond, -1 // for all 100 it takes the server two seconds
	})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			err := c.CreatePersistent(testContext(t), fmt.Sprintf("s-%d", i), "g", esclient.DefaultPersistentSettings())
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.Len(t, srv.Stats().Groups, 100)
}

// Who waits for a turn gives up when its context ends, and when the client is closed. Nothing was sent then.
func TestWaitingForATurnEnds(t *testing.T) {
	srv, _ := embedded(t)
	rule := srv.Intercept(esproto.CmdCreatePersistentSubscription, estest.Drop())
	c := open(t, srv.ConnectionString())
	results := make(chan error, 100)
	create := func(ctx context.Context, stream string) {
		go func() { results <- c.CreatePersistent(ctx, stream, "g", esclient.DefaultPersistentSettings()) }()
	}
	for i := range 4 {
		create(testContext(t), fmt.Sprintf("s-%d", i))
	}
	eventually(t, func() bool { return rule.Hits() == 4 })
	ctx, cancel := context.WithCancelCause(testContext(t))
	create(ctx, "waits")
	why := errors.New("no more")
	cancel(why)
	err := <-results
	require.ErrorIs(t, err, why)
	assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown)
	create(testContext(t), "waits")
	require.NoError(t, c.Close())
	for range 5 {
		assert.ErrorIs(t, <-results, esclient.ErrClosed)
	}
	assert.Equal(t, 4, rule.Hits())
}
