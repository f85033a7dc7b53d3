package estest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// personas are the personas with different behaviour.
var personas = []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310}

// joinedGroup makes group g of stream s, which begins at its start, and joins it.
func joinedGroup(t testing.TB, s *estest.Server) (p *peer, consumer esproto.CorrelationID) {
	t.Helper()
	p = connectAs(t, s, admin)
	p.createGroup("s", "g")
	return p, p.join("s", "g")
}

func TestAServerThatStopsDropsAllSubscriptionsFirst(t *testing.T) {
	for name, stop := range map[string]func(*estest.Server) error{
		"stopped": (*estest.Server).Stop, "restarted": (*estest.Server).Restart,
	} {
		for _, version := range personas {
			s := estest.Run(t, estest.WithPersona(version))
			p, consumer := joinedGroup(t, s)
			volatile := p.subscribe("other")
			stopped := make(chan error, 1)
			go func() { stopped <- stop(s) }()
			left := map[esproto.CorrelationID]bool{consumer: true, volatile: true}
			for range 2 {
				r, ok := p.next()
				require.True(t, ok, "%s %s: the connection ended before the subscriptions", version, name)
				require.Equal(t, esproto.CmdSubscriptionDropped, r.cmd)
				var m esproto.SubscriptionDropped
				r.into(t, &m)
				assert.Equal(t, esproto.SubscriptionDropped_Unsubscribed, m.GetReason())
				delete(left, r.id)
			}
			assert.Empty(t, left)
			refused := p.askNotHandled(esproto.CmdReadStreamEventsForward,
				&esproto.ReadStreamEvents{EventStreamId: proto.String("s"), MaxCount: proto.Int32(1)})
			assert.Equal(t, esproto.NotHandled_NotReady, refused.GetReason())
			ends(t, p)
			require.NoError(t, <-stopped)
		}
	}
}

func TestACrashDropsNoSubscription(t *testing.T) {
	s := estest.Run(t)
	p, _ := joinedGroup(t, s)
	p.subscribe("other")
	require.NoError(t, s.Crash())
	_, ok := p.next()
	assert.False(t, ok, "the connection ends without a word")
	require.NoError(t, s.Close())
	assert.Error(t, s.Crash())
}

func TestAcksAfterTheDropOfAStoppingServerAreLost(t *testing.T) {
	s := estest.Run(t)
	p, consumer := joinedGroup(t, s)
	for range 2 {
		_, err := s.Append("s", estest.Event{Type: "e"})
		require.NoError(t, err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Restart() }()
	var ids [][]byte
	for range 2 {
		ids = append(ids, p.delivered(consumer).GetEvent().GetEvent().GetEventId())
	}
	require.Equal(t, esproto.CmdSubscriptionDropped, p.answer(consumer).cmd)
	p.write(frameOf(t, esproto.CmdPersistentSubscriptionAckEvents, consumer, nil,
		&esproto.PersistentSubscriptionAckEvents{SubscriptionId: proto.String("s::g"), ProcessedEventIds: ids}))
	require.NoError(t, <-stopped)
	assert.Equal(t, int64(-1), s.Stats().Groups[0].Checkpoint)
}

func TestALeaderThatStopsDropsItsSubscriptionsFirst(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithPersona(estest.Persona2310), estest.WithElectionDelay(time.Millisecond))
	p, consumer := joinedGroup(t, c.Node(0))
	require.NoError(t, c.Stop(0))
	assert.Equal(t, esproto.CmdSubscriptionDropped, p.answer(consumer).cmd)
	ends(t, p)
	electsOther(t, c, 0)
	require.NoError(t, c.Restart(0))
	pings(t, connect(t, c.Node(0)))

	leader := c.Leader()
	p = connectAs(t, c.Node(leader), admin)
	consumer = p.join("s", "g")
	volatile := p.subscribe("s")
	require.NoError(t, c.Elect((leader+1)%3))
	assert.Equal(t, esproto.CmdSubscriptionDropped, p.answer(consumer).cmd, "the leader resigned")
	_, err := c.Node(0).Append("s", estest.Event{Type: "e"})
	require.NoError(t, err)
	assert.Equal(t, esproto.CmdStreamEventAppeared, p.answer(volatile).cmd, "it lives on its node")
}

func TestAStartingServerServesNoClient(t *testing.T) {
	for _, version := range personas {
		clock := estest.NewClock(time.Time{})
		s := estest.Run(t, estest.WithPersona(version), estest.WithClock(clock),
			estest.WithStartUp(time.Second, time.Second))
		for range 2 {
			p := connect(t, s)
			pings(t, p)
			silent := p.send(esproto.CmdAuthenticate, admin, nil)
			refused := p.askNotHandled(esproto.CmdReadStreamEventsForward,
				&esproto.ReadStreamEvents{EventStreamId: proto.String("s"), MaxCount: proto.Int32(1)})
			assert.Equal(t, esproto.NotHandled_NotReady, refused.GetReason())
			res := request(t, http.MethodGet, s.HTTPURL()+"/gossip", nil, "")
			assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)

			clock.Advance(time.Second)
			res = request(t, http.MethodGet, s.HTTPURL()+"/gossip", nil, "")
			assert.Equal(t, http.StatusOK, res.StatusCode)
			res = request(t, http.MethodGet, s.HTTPURL()+"/users", admin, "")
			assert.Equal(t, http.StatusUnauthorized, res.StatusCode)
			r := p.answer(p.send(esproto.CmdAuthenticate, admin, nil))
			assert.NotEqual(t, silent, r.id)
			assert.Equal(t, esproto.CmdNotAuthenticated, r.cmd, "there are no users yet")
			assert.Equal(t, "Unauthorized", string(r.payload))

			clock.Advance(time.Second)
			r = p.answer(p.send(esproto.CmdPing, nil, nil))
			if version == estest.Persona2310 {
				assert.Equal(t, esproto.CmdNotAuthenticated, r.cmd, "the refusal holds on the connection")
			} else {
				assert.Equal(t, esproto.CmdPong, r.cmd, "the credentials are tried again")
			}
			pings(t, connectAs(t, s, admin))
			assert.Equal(t, esproto.CmdAuthenticated, p.answer(p.send(esproto.CmdAuthenticate, admin, nil)).cmd)
			pings(t, p)
			require.NoError(t, s.Restart())
		}
	}
	_, err := estest.Start(estest.WithStartUp(-1, 0))
	assert.Error(t, err)
}

// A leader that loses its majority steps down in the end: it drops the subscriptions to its groups, and the connection
// stays.
func TestALeaderThatStepsDownDropsItsGroups(t *testing.T) {
	for _, version := range personas {
		clock := estest.NewClock(time.Time{})
		c := estest.RunCluster(t, 3, estest.WithPersona(version), estest.WithClock(clock),
			estest.WithElectionDelay(time.Hour), estest.WithStepDownDelay(time.Second))
		p, consumer := joinedGroup(t, c.Node(0))
		volatile := p.subscribe("s")
		c.Partition(0)
		pings(t, p)
		clock.Advance(time.Second)
		r := p.answer(consumer)
		require.Equal(t, esproto.CmdSubscriptionDropped, r.cmd)
		var m esproto.SubscriptionDropped
		r.into(t, &m)
		assert.Equal(t, esproto.SubscriptionDropped_Unsubscribed, m.GetReason())
		c.Heal()
		require.NoError(t, c.Elect(1))
		_, err := c.Node(1).Append("s", estest.Event{Type: "e"})
		require.NoError(t, err)
		assert.Equal(t, esproto.CmdStreamEventAppeared, p.answer(volatile).cmd, "it lives on its node")
	}
}

// Gossip tells a process from the next one.
func TestEachProcessHasAnInstanceOfItsOwn(t *testing.T) {
	s := estest.Run(t)
	instance := func() string {
		var g struct{ Members []struct{ InstanceID string } }
		getJSON(t, s.HTTPURL()+"/gossip", &g)
		require.Len(t, g.Members, 1)
		return g.Members[0].InstanceID
	}
	first := instance()
	assert.Equal(t, first, instance())
	require.NoError(t, s.Restart())
	second := instance()
	assert.NotEqual(t, first, second)
	require.NoError(t, s.Crash())
	assert.NotEqual(t, second, instance())
}
