package esclient_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// fillsTheWindow reports whether the server soon has n events in flight.
func fillsTheWindow(srv *estest.Server, n int) bool {
	for range 50 {
		if srv.Stats().InFlight == n {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// quickSettings are those of a group whose events do not time out.
func quickSettings() esclient.PersistentSettings {
	s := fromStart()
	s.MessageTimeout, s.MaxRetryCount = esclient.MaxMessageTimeout, esclient.UnlimitedRetries
	return s
}

// TestTheWindowGrowsWhileTheConsumerIsQuick also loses the connection, after which the window begins small again.
func TestTheWindowGrowsWhileTheConsumerIsQuick(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			srv, c := embeddedAsAdmin(t, estest.WithPersona(persona))
			ctx := testContext(t)
			stream, group := group(t, c, quickSettings())
			const n = 10_000
			appendNumbered(t, c, stream, 0, n-1)
			p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 40, InFlightAtFirst: 5})
			eventually(t, func() bool { return srv.Stats().InFlight == 5 })
			next := 0
			take := func() *esclient.Event {
				e, err := p.Next(ctx)
				require.NoError(t, err)
				require.EqualValues(t, next, e.Number, "the events are in order, each comes once")
				next++
				return e
			}
			grows := func() {
				for e := take(); !fillsTheWindow(srv, 40); e = take() {
					for range 50 {
						require.NoError(t, p.Ack(e))
						e = take()
					}
					require.NoError(t, p.Ack(e))
					require.Less(t, next, n-100, "the window did not grow")
				}
			}
			grows()
			srv.DropConnections()
			eventually(t, func() bool { return srv.Stats().InFlight == 5 })
		})
	}
}

func TestLargeEventsMakeTheWindowSmall(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			srv, c := embeddedAsAdmin(t, estest.WithPersona(persona))
			ctx := testContext(t)
			const n, size, held = 60, 10_000, 8
			stream, group := group(t, c, quickSettings())
			for i := range n {
				_, err := c.Append(ctx, stream, esclient.Any, esclient.EventData{
					Type: "t", Data: fmt.Appendf(nil, "%*d", size, i),
				})
				require.NoError(t, err)
			}
			p := subscribe(t, c, stream, group, esclient.PersistentOptions{
				InFlight: 50, InFlightBytes: held * size, RememberAcked: 100,
			})
			eventually(t, func() bool { return between(srv.Stats().InFlight, 1, held) })
			for i := range n {
				e, err := p.Next(ctx)
				require.NoError(t, err)
				require.EqualValues(t, i, e.Number)
				require.NoError(t, p.Ack(e))
			}
			eventually(t, func() bool { return srv.Stats().InFlight == 0 })
			assert.Zero(t, srv.Stats().Parked)
			nothingMore(t, p.Next)
		})
	}
}

func between(n, least, most int) bool { return least <= n && n <= most }

// TestAnEventAboveTheLimitIsDelivered has events that are each larger than InFlightBytes.
func TestAnEventAboveTheLimitIsDelivered(t *testing.T) {
	srv, c := embeddedAsAdmin(t)
	ctx := testContext(t)
	stream, group := group(t, c, quickSettings())
	appendNumbered(t, c, stream, 0, 9)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 10, InFlightBytes: 1})
	for i := range 10 {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		require.EqualValues(t, i, e.Number)
		eventually(t, func() bool { return srv.Stats().InFlight == 1 })
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		_, err = p.Next(short)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded, "it is the only one in flight")
		require.NoError(t, p.Ack(e))
	}
}
