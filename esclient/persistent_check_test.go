package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// jane is a user who may read streams of users, but not the server's streams about its groups.
var jane = esclient.Credentials{Login: "jane", Password: "secret"}

func withJane() estest.Option { return estest.WithUser(jane.Login, jane.Password) }

// link is the network between a client and its servers, which can be down.
type link struct{ down atomic.Bool }

func (l *link) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if l.down.Load() {
		return nil, errors.New("unreachable")
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// member is a subscriber of a group, and an administrator beside it.
type member struct {
	t       *testing.T
	admin   *esclient.Client
	client  *esclient.Client
	link    link
	stream  string
	group   string
	sub     *esclient.PersistentSubscription
	written int

	settings esclient.PersistentSettings // of the group
}

// join makes a group with events and has a user subscribe to it. Events of the plain user's stream are there before.
func join(
	t *testing.T, url string, asAdmin bool, events int, s esclient.PersistentSettings, opts esclient.PersistentOptions,
) *member {
	t.Helper()
	return joinWith(t, url, asAdmin, events, s, opts, func(*esclient.Config) {})
}

// joinWith is join with a client whose configuration is changed.
func joinWith(
	t *testing.T, url string, asAdmin bool, events int, s esclient.PersistentSettings, opts esclient.PersistentOptions,
	change func(*esclient.Config),
) *member {
	t.Helper()
	m := &member{t: t, admin: open(t, url), settings: s}
	m.client = openWith(t, url, func(cfg *esclient.Config) {
		change(cfg)
		if cfg.Dial == nil {
			cfg.Dial = m.link.dial
		}
		if !asAdmin {
			cfg.Credentials = &jane
		}
	})
	m.stream, m.group = group(t, m.admin, s)
	m.append(events)
	m.sub = subscribe(t, m.client, m.stream, m.group, opts)
	return m
}

func (m *member) append(n int) {
	m.t.Helper()
	_, err := m.admin.Ping(testContext(m.t)) // not over a connection that is being lost
	require.NoError(m.t, err)
	appendNumbered(m.t, m.admin, m.stream, m.written, m.written+n-1)
	m.written += n
}

// consumeAll acks n events and waits until the server knows.
func (m *member) consumeAll(srv *estest.Server, n int) {
	m.t.Helper()
	consume(m.t, m.sub, n)
	eventually(m.t, func() bool { return srv.Stats().InFlight == 0 })
	m.settle()
}

// settle waits until the client has seen the group, as it does when its consumer has nothing to do.
func (m *member) settle() { nothingMore(m.t, m.sub.Next) }

// cut loses the connection, and keeps it lost while f runs.
func (m *member) cut(srv *estest.Server, f func()) {
	m.link.down.Store(true)
	srv.DropConnections()
	eventually(m.t, func() bool { return srv.Stats().Groups[0].Clients == 0 })
	f()
	m.link.down.Store(false)
}

func (m *member) reset(s esclient.PersistentSettings) {
	m.t.Helper()
	require.NoError(m.t, m.admin.DeletePersistent(testContext(m.t), m.stream, m.group))
	require.NoError(m.t, m.admin.CreatePersistent(testContext(m.t), m.stream, m.group, s))
}

func (m *member) update() {
	m.t.Helper()
	require.NoError(m.t, m.admin.UpdatePersistent(testContext(m.t), m.stream, m.group, m.settings))
}

// unjudged disturbs a server that tells nothing about the group, and waits until events have come all the same.
func (m *member) unjudged(srv *estest.Server, disturb func()) {
	m.t.Helper()
	silence := srv.Intercept(esproto.CmdReadStreamEventsForward, estest.Drop())
	disturb()
	eventually(m.t, func() bool { return silence.Hits() >= 1 && srv.Stats().InFlight > 0 })
	_, err := m.client.Ping(testContext(m.t)) // after the pushes
	require.NoError(m.t, err)
	silence.Remove()
}

// nothingAgain checks that only new events are handed out.
func (m *member) nothingAgain() {
	m.t.Helper()
	m.append(3)
	assert.Equal(m.t, words(m.written-3, m.written-1), consume(m.t, m.sub, 3))
	nothingMore(m.t, m.sub.Next)
}

// everybody runs a test for all versions of servers, as an administrator and as a plain user.
func everybody(t *testing.T, test func(t *testing.T, persona estest.Persona, asAdmin bool)) {
	for _, persona := range personas {
		for _, asAdmin := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, admin %t", persona, asAdmin), func(t *testing.T) {
				t.Parallel()
				test(t, persona, asAdmin)
			})
		}
	}
}

func TestARecreatedGroupHandsOutEverything(t *testing.T) {
	t.Parallel()
	everybody(t, func(t *testing.T, persona estest.Persona, asAdmin bool) {
		for _, connected := range []bool{true, false} {
			srv := estest.Run(t, estest.WithPersona(persona), withJane())
			m := join(t, srv.ConnectionString(), asAdmin, 20, fromStart(), esclient.PersistentOptions{})
			m.consumeAll(srv, 20)
			for range 2 { // also after the group was seen again
				if connected {
					m.reset(fromStart())
				} else {
					m.cut(srv, func() { m.reset(fromStart()) })
				}
				assert.Equal(t, words(0, 19), consume(t, m.sub, 20))
				m.settle()
			}
		}
	})
}

func TestARecreatedGroupMayBeginElsewhere(t *testing.T) {
	t.Parallel()
	later := fromStart()
	later.StartFrom = 10
	everybody(t, func(t *testing.T, persona estest.Persona, asAdmin bool) {
		srv := estest.Run(t, estest.WithPersona(persona), withJane())
		m := join(t, srv.ConnectionString(), asAdmin, 20, fromStart(), esclient.PersistentOptions{})
		m.consumeAll(srv, 20)
		var asked atomic.Int64
		srv.Intercept(esproto.CmdConnectToPersistentSubscription, estest.Choose(func(estest.Request) estest.Action {
			asked.Add(1)
			return estest.Action{}
		}))
		require.NoError(t, m.admin.DeletePersistent(testContext(t), m.stream, m.group))
		eventually(t, func() bool { return asked.Load() >= 2 }) // nothing else tells a plain user
		require.NoError(t, m.admin.CreatePersistent(testContext(t), m.stream, m.group, later))
		assert.Equal(t, words(10, 19), consume(t, m.sub, 10))
		if asAdmin {
			m.cut(srv, func() { m.reset(later) })
			assert.Equal(t, words(10, 19), consume(t, m.sub, 10))
		}
	})
}

// TestARecreatedGroupIsFoundAmongOtherChanges changes more groups meanwhile than the server keeps changes of.
func TestARecreatedGroupIsFoundAmongOtherChanges(t *testing.T) {
	for _, anew := range []bool{true, false} {
		srv := estest.Run(t)
		m := join(t, srv.ConnectionString(), true, 20, fromStart(), esclient.PersistentOptions{})
		m.consumeAll(srv, 20)
		m.cut(srv, func() {
			if anew {
				m.reset(fromStart())
			}
			for range 3 {
				group(t, m.admin, fromStart())
			}
		})
		require.NoError(t, srv.Crash()) // so the group forgets its pushes
		if anew {
			assert.Equal(t, words(0, 19), consume(t, m.sub, 20))
		} else {
			m.nothingAgain()
		}
	}
}

func TestAckedEventsDoNotComeAgain(t *testing.T) {
	t.Parallel()
	for what, disturb := range map[string]func(m *member, srv *estest.Server){
		"cut":     func(m *member, srv *estest.Server) { srv.DropConnections() },
		"crash":   func(m *member, srv *estest.Server) { assert.NoError(m.t, srv.Crash()) },
		"restart": func(m *member, srv *estest.Server) { assert.NoError(m.t, srv.Restart()) },
		"update": func(m *member, srv *estest.Server) {
			assert.NoError(m.t, m.admin.UpdatePersistent(testContext(m.t), m.stream, m.group, fromStart()))
		},
	} {
		for _, persona := range personas {
			t.Run(what+" of "+string(persona), func(t *testing.T) {
				t.Parallel()
				srv := estest.Run(t, estest.WithPersona(persona))
				m := join(t, srv.ConnectionString(), true, 30, fromStart(), esclient.PersistentOptions{})
				held, err := m.sub.Next(testContext(t)) // keeps the checkpoint back
				require.NoError(t, err)
				assert.Equal(t, words(1, 29), consume(t, m.sub, 29))
				m.settle()
				for range 3 {
					disturb(m, srv)
					m.nothingAgain()
				}
				require.NoError(t, m.sub.Ack(held), "it can still be acked")
				eventually(t, func() bool { return srv.Stats().InFlight == 0 })
			})
		}
	}
}

// TestEventsAckedByAPlainUserDoNotComeAgain is about groups that have written a checkpoint, behind which they go on.
func TestEventsAckedByAPlainUserDoNotComeAgain(t *testing.T) {
	t.Parallel()
	for what, disturb := range map[string]func(m *member, srv *estest.Server){
		"cut":     func(m *member, srv *estest.Server) { srv.DropConnections() },
		"crash":   func(m *member, srv *estest.Server) { assert.NoError(m.t, srv.Crash()) },
		"restart": func(m *member, srv *estest.Server) { assert.NoError(m.t, srv.Restart()) },
		"update":  func(m *member, srv *estest.Server) { m.update() },
		"crash while events wait": func(m *member, srv *estest.Server) {
			m.append(5)
			eventually(m.t, func() bool { return srv.Stats().InFlight == 5 })
			_, err := m.client.Ping(testContext(m.t)) // after the pushes
			require.NoError(m.t, err)
			require.NoError(m.t, srv.Crash())
			assert.Equal(m.t, words(m.written-5, m.written-1), consume(m.t, m.sub, 5))
		},
		"crash, a cut, and another one while the server pushes what it has not written down": func(
			m *member, srv *estest.Server,
		) {
			m.unjudged(srv, func() { assert.NoError(m.t, srv.Crash()) })
			cut := srv.Intercept(
				esproto.CmdPersistentSubscriptionAckEvents, estest.Unanswered(estest.Disconnect()), estest.Times(1),
			)
			srv.DropConnections()
			eventually(m.t, func() bool { return cut.Hits() == 1 })
		},
		"crash, and a cut while the server pushes what it has not written down": func(m *member, srv *estest.Server) {
			cut := srv.Intercept(
				esproto.CmdPersistentSubscriptionAckEvents, estest.Unanswered(estest.Disconnect()), estest.Times(1),
			)
			assert.NoError(m.t, srv.Crash())
			eventually(m.t, func() bool { return cut.Hits() == 1 })
		},
		"cut while events wait, and a crash after they came again": func(m *member, srv *estest.Server) {
			m.append(5)
			eventually(m.t, func() bool { return srv.Stats().InFlight == 5 })
			_, err := m.client.Ping(testContext(m.t)) // after the pushes
			require.NoError(m.t, err)
			srv.DropConnections()
			m.append(5)
			assert.Equal(m.t, words(m.written-10, m.written-1), consume(m.t, m.sub, 10))
			eventually(m.t, func() bool { return srv.Stats().InFlight == 0 })
			require.NoError(m.t, srv.Crash())
		},
		"update, and a cut before the group is judged": func(m *member, srv *estest.Server) {
			m.unjudged(srv, m.update)
			srv.DropConnections()
		},
		"crash, and cuts before the group is judged": func(m *member, srv *estest.Server) {
			m.unjudged(srv, func() { assert.NoError(m.t, srv.Crash()) })
			m.unjudged(srv, srv.DropConnections)
			srv.DropConnections()
		},
	} {
		for _, persona := range personas {
			t.Run(what+" of "+string(persona), func(t *testing.T) {
				t.Parallel()
				s := fromStart()
				s.CheckpointMinCount, s.CheckpointMaxCount = 20, 20
				srv := estest.Run(t, estest.WithPersona(persona), withJane())
				m := join(t, srv.ConnectionString(), false, 50, s, esclient.PersistentOptions{})
				m.consumeAll(srv, 50)
				require.Positive(t, srv.Stats().Groups[0].Checkpoint)
				for range 3 {
					eventually(t, func() bool { return srv.Stats().InFlight == 0 })
					disturb(m, srv)
					m.nothingAgain()
				}
			})
		}
	}
}

// TestAPlainUsersAcksCountInAYoungGroup restarts a server whose group has no checkpoint yet.
func TestAPlainUsersAcksCountInAYoungGroup(t *testing.T) {
	srv := estest.Run(t, withJane())
	m := join(t, srv.ConnectionString(), false, 20, fromStart(), esclient.PersistentOptions{})
	assert.Equal(t, words(0, 8), consume(t, m.sub, 9))
	require.NoError(t, srv.Crash())
	assert.Equal(t, words(9, 19), consume(t, m.sub, 11))
	nothingMore(t, m.sub.Next)
}

func TestAckedEventsDoNotComeAgainFromAnotherLeader(t *testing.T) {
	t.Parallel()
	for what, move := range map[string]func(c *estest.Cluster) error{
		"elected": func(c *estest.Cluster) error { return c.Elect((c.Leader() + 1) % 3) },
		"killed":  func(c *estest.Cluster) error { return c.Kill(c.Leader()) },
	} {
		for _, asAdmin := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, admin %t", what, asAdmin), func(t *testing.T) {
				t.Parallel()
				cluster := estest.RunCluster(t, 3, withJane())
				s, events := fromStart(), 9
				if !asAdmin { // without a checkpoint, nothing shows whether the group was created again
					s.CheckpointMinCount, s.CheckpointMaxCount, events = 20, 20, 50
				}
				m := join(t, cluster.ConnectionString(), asAdmin, events, s, esclient.PersistentOptions{})
				leader := cluster.Node(cluster.Leader())
				m.consumeAll(leader, events)
				require.Equal(t, !asAdmin, leader.Stats().Groups[0].Checkpoint > 0)
				require.NoError(t, move(cluster))
				m.nothingAgain()
			})
		}
	}
}

// TestTheLookAtAGroupOutlivesItsConnection loses the connection again before the server tells about the group.
func TestTheLookAtAGroupOutlivesItsConnection(t *testing.T) {
	srv := estest.Run(t)
	m := join(t, srv.ConnectionString(), true, 20, fromStart(), esclient.PersistentOptions{})
	m.consumeAll(srv, 20)
	silence := srv.Intercept(esproto.CmdReadStreamEventsBackward, estest.Drop())
	for n := 1; n <= 3; n++ {
		require.NoError(t, srv.Crash())
		eventually(t, func() bool { return silence.Hits() >= n })
	}
	m.cut(srv, func() { m.reset(fromStart()) })
	eventually(t, func() bool { return silence.Hits() >= 4 })
	silence.Remove()
	srv.DropConnections()
	assert.Equal(t, words(0, 19), consume(t, m.sub, 20))
}

// TestASilentServerDelaysItsGroupForAShortTimeOnly has the server answer nothing that is asked about the group.
func TestASilentServerDelaysItsGroupForAShortTimeOnly(t *testing.T) {
	t.Parallel()
	srv := estest.Run(t)
	settings := fromStart()
	settings.CheckpointMinCount = settings.CheckpointMaxCount // the restarted server begins with event 0
	opts := esclient.PersistentOptions{InFlight: 5}
	m := joinWith(t, srv.ConnectionString(), true, 20, settings, opts, func(cfg *esclient.Config) {
		cfg.OperationTimeout = time.Hour
	})
	m.consumeAll(srv, 20)
	for _, cmd := range []esproto.Command{
		esproto.CmdReadStreamEventsBackward, esproto.CmdReadStreamEventsForward, esproto.CmdReadEvent,
	} {
		srv.Intercept(cmd, estest.Drop())
	}
	m.append(1)
	consume(t, m.sub, 1)
	require.NoError(t, srv.Crash())
	e, err := m.sub.Next(testContext(t))
	require.NoError(t, err)
	assert.Equal(t, "0", string(e.Data), "nothing tells that it is the same group: rather twice than never")
}

// TestALogThatGrowsMeanwhileDidNotGoBack has the server push new events while it does not tell how long the stream is.
func TestALogThatGrowsMeanwhileDidNotGoBack(t *testing.T) {
	srv := estest.Run(t)
	m := join(t, srv.ConnectionString(), true, 20, fromStart(), esclient.PersistentOptions{InFlight: 50})
	m.consumeAll(srv, 20)
	silence := srv.Intercept(esproto.CmdReadStreamEventsForward, estest.Drop())
	require.NoError(t, srv.Crash())
	eventually(t, func() bool { return silence.Hits() == 1 })
	m.append(5)
	assert.Equal(t, words(20, 24), consume(t, m.sub, 5))
	eventually(t, func() bool { return srv.Stats().InFlight == 0 })
	nothingMore(t, m.sub.Next)
}

// TestTheFirstAckIsRemembered crashes a server right after a subscriber's first acks, also where it is slow to tell
// what it has written about the group.
func TestTheFirstAckIsRemembered(t *testing.T) {
	t.Parallel()
	for what, action := range map[string]estest.Action{
		"at once": {}, "late": estest.Delay(200 * time.Millisecond),
	} {
		for _, persona := range personas {
			t.Run(fmt.Sprintf("%s, told %s", persona, what), func(t *testing.T) {
				t.Parallel()
				srv := estest.Run(t, estest.WithPersona(persona))
				choose := estest.Choose(func(estest.Request) estest.Action { return action })
				srv.Intercept(esproto.CmdReadEvent, choose, estest.Times(1))
				m := join(t, srv.ConnectionString(), true, 20, fromStart(), esclient.PersistentOptions{})
				assert.Equal(t, words(0, 8), consume(t, m.sub, 9))
				m.append(1)
				require.NoError(t, srv.Crash())
				assert.Equal(t, words(9, 20), consume(t, m.sub, 12))
				m.nothingAgain()
			})
		}
	}
}
