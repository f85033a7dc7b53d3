package esclient_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// TestARecreatedGroupAfterASilentSession has a plain user join a group that was created again, over a connection that
// loses all frames of the server. The server does not hear of the end of that connection. So on the next one the events
// come as retries, and new ones behind them.
func TestARecreatedGroupAfterASilentSession(t *testing.T) {
	t.Parallel()
	pushes := esproto.CmdPersistentSubscriptionStreamEventAppeared
	for what, withheld := range map[string][]esproto.Command{
		"joined": {pushes}, "unconfirmed": {pushes, esproto.CmdPersistentSubscriptionConfirmation},
		"unjudged": {pushes, esproto.CmdReadStreamEventsForwardCompleted},
	} {
		for _, then := range []string{"judged before a new event", "judged after it", "lost unjudged"} {
			for _, persona := range personas {
				t.Run(what+", then "+then+", at "+string(persona), func(t *testing.T) {
					t.Parallel()
					srv := estest.Run(t, estest.WithPersona(persona), withJane(),
						estest.WithHeartbeat(time.Hour, time.Hour))
					link, dial := newDeafLink(t)
					m := joinWith(t, srv.ConnectionString(), false, 5, fromStart(), esclient.PersistentOptions{},
						func(cfg *esclient.Config) { cfg.Dial = dial })
					m.consumeAll(srv, 5)
					var joins atomic.Int64
					srv.Intercept(esproto.CmdConnectToPersistentSubscription, estest.Choose(
						func(estest.Request) estest.Action {
							joins.Add(1)
							return estest.Action{}
						}))
					link.lose(func() { m.reset(fromStart()) }, withheld...)
					eventually(t, func() bool { return srv.Stats().InFlight == 5 })
					nothingMore(t, m.sub.Next) // the group is judged meanwhile

					var looks *estest.Rule
					if then != "judged before a new event" {
						looks = srv.Intercept(esproto.CmdReadStreamEventsForward, estest.Delay(300*time.Millisecond))
					}
					before := joins.Load()
					link.lose(func() {})
					eventually(t, func() bool { return joins.Load() > before })
					if looks != nil {
						eventually(t, func() bool { return srv.Stats().InFlight == 5 && looks.Hits() > 0 })
					}
					m.append(1)
					if then == "lost unjudged" {
						eventually(t, func() bool { return srv.Stats().InFlight == 6 })
						_, err := m.client.Ping(testContext(t)) // after the pushes
						require.NoError(t, err)
						looks.Remove()
						link.lose(func() {})
					}
					var got []string
					for range 6 {
						e, err := m.sub.Next(testContext(t))
						require.NoError(t, err, "after %v", got)
						got = append(got, string(e.Data))
						require.NoError(t, m.sub.Ack(e))
					}
					slices.Sort(got)
					assert.Equal(t, words(0, 5), got)
					nothingMore(t, m.sub.Next)
				})
			}
		}
	}
}

// TestARecreatedGroupAfterAnElection has another leader create the group again, before the subscriber has got there.
func TestARecreatedGroupAfterAnElection(t *testing.T) {
	t.Parallel()
	for _, asAdmin := range []bool{true, false} {
		cluster := estest.RunCluster(t, 3, withJane())
		m := join(t, cluster.ConnectionString(), asAdmin, 9, fromStart(), esclient.PersistentOptions{})
		consume(t, m.sub, 9)
		m.settle()
		old := cluster.Leader()
		m.link.down.Store(true)
		require.NoError(t, cluster.Elect((old+1)%3))
		eventually(t, func() bool { return cluster.Leader() == (old+1)%3 })
		m.reset(fromStart())
		m.link.down.Store(false)
		assert.Equal(t, words(0, 8), consume(t, m.sub, 9), "admin %t", asAdmin)
	}
}
