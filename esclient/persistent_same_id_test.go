package esclient_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// TestAServerTakesEventsOfOneIDForOne has a message twice in a stream, since the server has forgotten its id. The
// server waits for one of them only, so the other does not come again when it is lost with the connection.
func TestAServerTakesEventsOfOneIDForOne(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			srv := estest.Run(t, estest.WithPersona(persona))
			c, ctx := open(t, srv.ConnectionString()), testContext(t)
			stream, group := group(t, c, fromStart())
			message := esclient.EventData{ID: uuid.New(), Type: "t", Data: []byte("once")}
			for range 2 {
				_, err := c.Ping(ctx) // not over a connection that is being lost
				require.NoError(t, err)
				_, err = c.Append(ctx, stream, esclient.Any, message)
				require.NoError(t, err)
				require.NoError(t, srv.Crash())
			}
			_, err := c.Ping(ctx)
			require.NoError(t, err)
			srv.CutAfterSent(10) // both are pushed, and lost on their way
			p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
			assert.Equal(t, []string{"once"}, consume(t, p, 1))
			nothingMore(t, p.Next)
			eventually(t, func() bool { return srv.Stats().InFlight == 0 })
			left := srv.Stats().Groups[0]
			assert.Zero(t, left.Waiting+left.Retrying)
		})
	}
}
