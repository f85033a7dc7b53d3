package esclient_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// personas are the versions of servers that differ in how they deliver events again.
var personas = []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310}

// TestAReplayedEventIsNotOneOfTheGroupsStream replays a parked event, which is numbered by the parked stream,
// while the event of that number is held.
func TestAReplayedEventIsNotOneOfTheGroupsStream(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			srv := estest.Run(t, estest.WithPersona(persona))
			c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) { cfg.HTTPEndpoint = srv.HTTPAddr() })
			ctx := testContext(t)
			stream, group := group(t, c, fromStart())
			appendNumbered(t, c, stream, 0, 2)
			p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
			var events []*esclient.Event
			for range 3 {
				e, err := p.Next(ctx)
				require.NoError(t, err)
				events = append(events, e)
			}
			m, err := esadmin.New(c)
			require.NoError(t, err)
			for range 2 { // entry 0 of the parked stream, and then entry 1
				require.NoError(t, p.Nack(esclient.NackPark, "bad", events[1]))
				eventually(t, func() bool { return len(readParked(t, c, stream, group)) == 1 })
				require.NoError(t, m.ReplayParked(ctx, stream, group, 0))
				events[1], err = p.Next(ctx)
				require.NoError(t, err)
				assert.Equal(t, "1", string(events[1].Data))
				assert.NotNil(t, events[1].Link)
			}
			require.NoError(t, p.Ack(events...))
			nothingMore(t, p.Next)
			eventually(t, func() bool { return srv.Stats().InFlight == 0 })
		})
	}
}

// TestAStuckEventMakesNoneComeAgain acks many events behind one that keeps the checkpoint back, and restarts the
// server.
func TestAStuckEventMakesNoneComeAgain(t *testing.T) {
	srv, c := embeddedAsAdmin(t)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	const last = 9_999
	for from := 0; from < last; from += 1000 {
		appendNumbered(t, c, stream, from, from+999)
	}
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 200, RememberAcked: 200})
	stuck, err := p.Next(ctx)
	require.NoError(t, err)
	assert.Equal(t, words(1, last), consume(t, p, last))
	time.Sleep(20 * time.Millisecond)
	require.NoError(t, srv.Restart())
	nothingMore(t, p.Next)
	require.NoError(t, p.Ack(stuck))
	appendNumbered(t, c, stream, last+1, last+1)
	assert.Equal(t, words(last+1, last+1), consume(t, p, 1))
}
