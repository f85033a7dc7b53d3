package esclient_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esclient/esadmin"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// checkpointed has a group with a checkpoint, behind which one event is held, so that those after it come again when
// the server is restarted.
func checkpointed(
	t *testing.T, persona estest.Persona, asAdmin bool,
) (srv *estest.Server, m *member, held *esclient.Event) {
	t.Helper()
	return checkpointedWith(t, persona, asAdmin, func(*esclient.Config) {})
}

// checkpointedWith is checkpointed with a client whose configuration is changed.
func checkpointedWith(
	t *testing.T, persona estest.Persona, asAdmin bool, change func(*esclient.Config),
) (srv *estest.Server, m *member, held *esclient.Event) {
	t.Helper()
	s := fromStart()
	s.CheckpointMinCount, s.CheckpointMaxCount = 2, 2
	srv = estest.Run(t, estest.WithPersona(persona), withJane())
	m = joinWith(t, srv.ConnectionString(), asAdmin, 10, s, esclient.PersistentOptions{}, change)
	m.consumeAll(srv, 10)
	require.Positive(t, srv.Stats().Groups[0].Checkpoint)
	m.append(1)
	return srv, m, m.next()
}

func (m *member) next() *esclient.Event {
	m.t.Helper()
	e, err := m.sub.Next(testContext(m.t))
	require.NoError(m.t, err)
	return e
}

func (m *member) park(e *esclient.Event) {
	m.t.Helper()
	require.NoError(m.t, m.sub.Nack(esclient.NackPark, "no good", e))
}

// parkedEvents waits until so many events are parked.
func parkedEvents(t *testing.T, srv *estest.Server, n int) {
	t.Helper()
	eventually(t, func() bool { return srv.Stats().Groups[0].Parked == n })
}

func TestAParkedEventIsNotParkedTwice(t *testing.T) {
	t.Parallel()
	everybody(t, func(t *testing.T, persona estest.Persona, asAdmin bool) {
		for _, restart := range []func(*estest.Server) error{(*estest.Server).Crash, (*estest.Server).Restart} {
			srv, m, held := checkpointed(t, persona, asAdmin)
			m.append(1)
			m.park(m.next())
			parkedEvents(t, srv, 1)
			for range 2 {
				m.settle()
				require.NoError(t, restart(srv))
				m.nothingAgain()
			}
			require.NoError(t, m.sub.Ack(held))
			eventually(t, func() bool { return srv.Stats().InFlight == 0 })
			assert.Equal(t, 1, srv.Stats().Groups[0].Parked)
		}
	})
}

func TestAParkedEventThatWasReplayedIsNotParkedAgain(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			srv, m, held := checkpointed(t, persona, true)
			m.append(1)
			m.park(m.next())
			parkedEvents(t, srv, 1)
			manage, err := esadmin.New(openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) {
				cfg.HTTPEndpoint = srv.HTTPAddr()
			}))
			require.NoError(t, err)
			require.NoError(t, manage.ReplayParked(testContext(t), m.stream, m.group, 0))
			require.NoError(t, m.sub.Ack(m.next()))
			m.settle()
			require.NoError(t, srv.Crash())
			m.nothingAgain()
			require.NoError(t, m.sub.Ack(held))
			eventually(t, func() bool { return srv.Stats().InFlight == 0 })
			assert.Zero(t, srv.Stats().Groups[0].Parked)
		})
	}
}

// TestAParkThatWasLostIsRepeated parks an event when the server reads nothing any more, or when there is no
// connection.
func TestAParkThatWasLostIsRepeated(t *testing.T) {
	t.Parallel()
	everybody(t, func(t *testing.T, persona estest.Persona, asAdmin bool) {
		for what, lose := range map[string]func(m *member, srv *estest.Server, park func()){
			"unread, cut": func(_ *member, srv *estest.Server, park func()) {
				srv.Pause()
				park()
				srv.DropConnections()
				srv.Resume()
			},
			"unread, crash": func(m *member, srv *estest.Server, park func()) {
				srv.Pause()
				park()
				srv.DropConnections() // a crash would wait for the paused requests
				srv.Resume()
				assert.NoError(m.t, srv.Crash())
			},
			"offline": func(m *member, srv *estest.Server, park func()) { m.cut(srv, park) },
		} {
			srv, m, held := checkpointed(t, persona, asAdmin)
			m.append(1)
			e := m.next()
			lose(m, srv, func() { m.park(e) })
			parkedEvents(t, srv, 1)
			m.nothingAgain()
			assert.Equal(t, 1, srv.Stats().Groups[0].Parked, what)
			require.NoError(t, m.sub.Ack(held))
			eventually(t, func() bool { return srv.Stats().InFlight == 0 })
		}
	})
}

// TestAParkThatAFormerLeaderReadsIsRepeated parks an event while the leader hangs. The leader reads the park, and the
// ping after it, when the others have elected another leader and it has dropped its subscriptions. An idle subscription
// may leave the session, to have more events pushed at a time. Then the drop looks like the answer to that.
func TestAParkThatAFormerLeaderReadsIsRepeated(t *testing.T) {
	t.Parallel()
	for _, asAdmin := range []bool{true, false} {
		for _, idle := range []bool{true, false} {
			t.Run(fmt.Sprintf("admin %t, idle %t", asAdmin, idle), func(t *testing.T) {
				t.Parallel()
				const events = 50
				s := fromStart()
				s.CheckpointMinCount, s.CheckpointMaxCount = 2, 2
				cluster := estest.RunCluster(t, 3, withJane(), estest.WithElectionDelay(20*time.Millisecond))
				m := join(t, cluster.ConnectionString(), asAdmin, events, s, esclient.PersistentOptions{
					InFlight: 100, InFlightAtFirst: 4,
				})
				consume(t, m.sub, 10)
				former := cluster.Node(cluster.Leader())
				eventually(t, func() bool { return former.Stats().Groups[0].Checkpoint > 0 })
				e := m.next()
				consume(t, m.sub, events-11-1)
				last := m.next()
				if idle {
					require.NoError(t, m.sub.Ack(last))
				}
				former.Pause()
				next := make(chan *esclient.Event)
				go func() {
					e, err := m.sub.Next(testContext(t))
					assert.NoError(t, err)
					next <- e
				}()
				m.park(e)
				eventually(t, func() bool { return cluster.Leader() >= 0 })
				leader := cluster.Node(cluster.Leader())
				former.Resume()
				m.append(1)
				require.NoError(t, m.sub.Ack(last, <-next)) // the leader has delivered the parked event before
				eventually(t, func() bool { return leader.Stats().InFlight == 0 })
				assert.Equal(t, 1, leader.Stats().Groups[0].Parked)
			})
		}
	}
}

// TestAParkWithoutProofIsFoundInTheParkedStream has the server park an event without telling that it has read
// so.
func TestAParkWithoutProofIsFoundInTheParkedStream(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			srv, m, _ := checkpointed(t, persona, true)
			m.append(2)
			srv.Intercept(esproto.CmdPing, estest.Drop(), estest.Times(1))
			first, second := m.next(), m.next()
			m.park(first)
			parkedEvents(t, srv, 1)
			require.NoError(t, srv.Crash())
			m.settle()
			require.NoError(t, m.sub.Ack(second))
			m.nothingAgain()
			assert.Equal(t, 1, srv.Stats().Groups[0].Parked)
		})
	}
}

// TestAParkIsRepeatedIfItsArrivalIsUnknown is the same for a user who may not read the parked stream: rather twice than
// never.
func TestAParkIsRepeatedIfItsArrivalIsUnknown(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			srv, m, _ := checkpointed(t, persona, false)
			m.append(1)
			srv.Intercept(esproto.CmdPing, estest.Drop(), estest.Times(1))
			m.park(m.next())
			parkedEvents(t, srv, 1)
			require.NoError(t, srv.Crash())
			parkedEvents(t, srv, 2)
			m.nothingAgain()
		})
	}
}

// TestTheServerIsAskedAgainWhetherAParkHasArrived has the first question unanswered, on a connection that lives.
func TestTheServerIsAskedAgainWhetherAParkHasArrived(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			srv, m, _ := checkpointedWith(t, persona, false, func(cfg *esclient.Config) {
				cfg.OperationTimeout = 300 * time.Millisecond
			})
			m.append(1)
			e := m.next()
			srv.Intercept(esproto.CmdPing, estest.Drop(), estest.Times(1))
			served := srv.Intercept(esproto.CmdPing, estest.Unanswered(estest.ReplyBytes(esproto.CmdPong, nil)))
			m.park(e)
			parkedEvents(t, srv, 1)
			eventually(t, func() bool { return served.Hits() > 0 })
			_, err := m.client.Ping(testContext(t)) // whose answer comes behind
			require.NoError(t, err)
			m.settle()
			require.NoError(t, srv.Crash())
			m.nothingAgain()
			assert.Equal(t, 1, srv.Stats().Groups[0].Parked)
		})
	}
}
