package estest_test

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// never is longer than any test.
const never = time.Hour

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, what)
}

// electsOther waits for a leader other than the given one, and returns it.
func electsOther(t testing.TB, c *estest.Cluster, old int) (leader int) {
	t.Helper()
	eventually(t, "no other leader", func() bool {
		leader = c.Leader()
		return leader >= 0 && leader != old
	})
	return leader
}

// demand is a write that only the leader may serve.
func demand(stream string, events ...*esproto.NewEvent) *esproto.WriteEvents {
	return &esproto.WriteEvents{EventStreamId: &stream, ExpectedVersion: proto.Int64(esproto.ExpectAny), Events: events,
		RequireLeader: proto.Bool(true)}
}

// askNotHandled sends a request that must be answered by NotHandled.
func (p *peer) askNotHandled(cmd esproto.Command, m proto.Message) *esproto.NotHandled {
	p.t.Helper()
	r := p.answer(p.send(cmd, admin, m))
	require.Equal(p.t, esproto.CmdNotHandled, r.cmd)
	var handled esproto.NotHandled
	r.into(p.t, &handled)
	return &handled
}

func data(page *esproto.ReadStreamEventsCompleted) (data []string) {
	for _, e := range page.GetEvents() {
		data = append(data, string(e.GetEvent().GetData()))
	}
	return data
}

func TestClusterKeepsOneLog(t *testing.T) {
	c := estest.RunCluster(t, 3)
	require.Equal(t, 0, c.Leader())
	leader, follower := connect(t, c.Node(0)), connect(t, c.Node(1))
	live := connectAs(t, c.Node(2), admin)
	live.ask(esproto.CmdSubscribeToStream, nil, &esproto.SubscribeToStream{
		EventStreamId: proto.String("s"), ResolveLinkTos: proto.Bool(false),
	}, &esproto.SubscriptionConfirmation{})

	leader.mustAppend(admin, "s", newEvent("e", "by the leader"))
	assert.Equal(t, []string{"by the leader"}, data(follower.read(admin, "s", 0, 10, false)))
	forwarded := follower.mustAppend(admin, "s", newEvent("e", "forwarded"))
	assert.EqualValues(t, 1, forwarded.GetFirstEventNumber())
	for i := range c.Size() {
		page := connect(t, c.Node(i)).read(admin, "s", 0, 10, false)
		assert.Equal(t, []string{"by the leader", "forwarded"}, data(page), "node %d", i)
	}
	for _, want := range []string{"by the leader", "forwarded"} {
		r, ok := live.next()
		require.True(t, ok)
		var appeared esproto.StreamEventAppeared
		r.into(t, &appeared)
		assert.Equal(t, want, string(appeared.GetEvent().GetEvent().GetData()), "a subscription lives on its node")
	}
}

func TestFollowersForwardRequestsThatDemandTheLeader(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		c := estest.RunCluster(t, 3, estest.WithPersona(persona))
		require.NoError(t, c.Elect(2))
		p := connectAs(t, c.Node(0), admin)
		group := proto.String("g")
		for cmd, m := range map[esproto.Command]proto.Message{
			esproto.CmdWriteEvents: demand("s", newEvent("e", "")),
			esproto.CmdDeleteStream: &esproto.DeleteStream{
				EventStreamId: proto.String("s"), RequireLeader: proto.Bool(true),
			},
			esproto.CmdReadStreamEventsForward: &esproto.ReadStreamEvents{
				EventStreamId: proto.String("s"), RequireLeader: proto.Bool(true),
			},
			esproto.CmdReadEvent: &esproto.ReadEvent{
				EventStreamId: proto.String("s"), RequireLeader: proto.Bool(true),
			},
			esproto.CmdConnectToPersistentSubscription: &esproto.ConnectToPersistentSubscription{
				SubscriptionId: group, EventStreamId: proto.String("s"),
			},
			esproto.CmdDeletePersistentSubscription: &esproto.DeletePersistentSubscription{
				SubscriptionGroupName: group, EventStreamId: proto.String("s"),
			},
		} {
			r := p.askNotHandled(cmd, m)
			assert.Equal(t, esproto.NotHandled_NotLeader, r.GetReason())
			var info esproto.NotHandled_LeaderInfo
			require.NoError(t, proto.Unmarshal(r.GetAdditionalInfo(), &info))
			_, port, _ := strings.Cut(c.Node(2).Addr(), ":")
			assert.Equal(t, "127.0.0.1", info.GetExternalTcpAddress())
			assert.Equal(t, port, strconv.Itoa(int(info.GetExternalTcpPort())), "%v", cmd)
		}
	}
}

func TestNodesShareUsersAndProjections(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithProjections())
	res := request(t, http.MethodPost, c.Node(1).HTTPURL()+"/users", admin,
		`{"loginName":"jane","password":"secret","fullName":"Jane"}`)
	require.Equal(t, http.StatusCreated, res.StatusCode)
	p := connectAs(t, c.Node(2), &esproto.Credentials{Login: "jane", Password: "secret"})
	p.mustAppend(nil, "order-1", newEvent("placed", "1"))
	require.NoError(t, c.Elect(1))
	p.mustAppend(nil, "order-2", newEvent("placed", "2"))
	assert.Equal(t, []string{"2"}, data(p.read(nil, "order-2", 0, 10, false)), "her rights are the same everywhere")
	for i := range c.Size() {
		await(t, c.Node(i))
		page := connect(t, c.Node(i)).read(admin, "$ce-order", 0, 10, true)
		assert.Equal(t, []string{"1", "2"}, data(page), "node %d: each event is linked once", i)
	}
	p.ask(esproto.CmdPing, nil, nil, &esproto.IdentifyClient{}) // no log was cut off: the connection has lasted
}

// member has the fields of a node in the gossip of all versions that the tests check.
type member struct {
	State           string
	IsAlive         bool
	ExternalTCPPort int `json:"externalTcpPort"`
	EpochNumber     int
}

func gossipOf(t testing.TB, s *estest.Server) []member {
	t.Helper()
	var g struct{ Members []member }
	getJSON(t, s.HTTPURL()+"/gossip", &g)
	return g.Members
}

func states(members []member) (s []string) {
	for _, m := range members {
		state := m.State
		if !m.IsAlive {
			state += ", dead"
		}
		s = append(s, state)
	}
	return s
}

func TestGossipTellsOfAllNodes(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithElectionDelay(never))
	for i := range c.Size() {
		assert.Equal(t, []string{"Master", "Slave", "Slave"}, states(gossipOf(t, c.Node(i))))
	}
	require.NoError(t, c.Elect(1))
	members := gossipOf(t, c.Node(2))
	assert.Equal(t, []string{"Slave", "Master", "Slave"}, states(members))
	assert.Equal(t, 1, members[1].EpochNumber, "they begin with 0")
	require.NoError(t, c.Kill(1))
	assert.Equal(t, []string{"Unknown", "Master, dead", "Unknown"}, states(gossipOf(t, c.Node(2))))
	assert.Equal(t, -1, c.Leader())
	require.NoError(t, c.Elect(2))
	var info struct{ State string }
	getJSON(t, c.Node(2).HTTPURL()+"/info", &info)
	assert.Equal(t, "master", info.State)

	c = estest.RunCluster(t, 3, estest.WithPersona(estest.Persona2310))
	assert.Equal(t, []string{"Leader", "Follower", "Follower"}, states(gossipOf(t, c.Node(1))))
}

func TestGossipLiesAndLags(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithElectionDelay(time.Millisecond))
	old := c.Members(1)
	c.SetGossip(1, func([]estest.Member) []estest.Member { return old })
	c.SetGossip(2, func(members []estest.Member) []estest.Member { return members[2:] })
	require.NoError(t, c.Kill(0))
	electsOther(t, c, 0)
	assert.Equal(t, []string{"Master", "Slave", "Slave"}, states(gossipOf(t, c.Node(1))))
	assert.Len(t, gossipOf(t, c.Node(2)), 1)
	c.SetGossip(1, nil)
	assert.Equal(t, []string{"Master, dead", "Master", "Slave"}, states(gossipOf(t, c.Node(1))))
}

func TestAcknowledgedWritesSurviveTheLeader(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithElectionDelay(10*time.Millisecond))
	e := newEvent("e", "kept")
	connect(t, c.Node(0)).mustAppend(admin, "s", e)
	require.NoError(t, c.Kill(0))
	assert.NoError(t, c.Kill(0), "again")
	second := electsOther(t, c, 0)
	p := connect(t, c.Node(second))
	assert.Equal(t, []string{"kept"}, data(p.read(admin, "s", 0, 10, false)))
	again := p.mustAppend(admin, "s", e)
	assert.EqualValues(t, 1, again.GetFirstEventNumber(), "the new leader does not remember ids of the old one")

	require.NoError(t, c.Restart(0))
	p = connect(t, c.Node(0))
	assert.Equal(t, []string{"kept", "kept"}, data(p.read(admin, "s", 0, 10, false)), "it catches up")
	require.NoError(t, c.Kill(second))
	electsOther(t, c, second)
	require.NoError(t, c.Restart(second))
	assert.ElementsMatch(t, []string{"Master", "Slave", "Slave"}, states(gossipOf(t, c.Node(second))))
}

func TestWithoutLeaderNodesAreNotReady(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithElectionDelay(never))
	connect(t, c.Node(0)).mustAppend(admin, "s", newEvent("e", "1"))
	require.NoError(t, c.Kill(0))
	p := connectAs(t, c.Node(1), admin)
	assert.Equal(t, esproto.NotHandled_NotReady,
		p.askNotHandled(esproto.CmdWriteEvents, demand("s", newEvent("e", "2"))).GetReason())
	assert.Equal(t, esproto.NotHandled_NotReady, p.askNotHandled(esproto.CmdConnectToPersistentSubscription,
		&esproto.ConnectToPersistentSubscription{
			SubscriptionId: proto.String("g"), EventStreamId: proto.String("s"),
		}).GetReason())
	assert.Equal(t, []string{"1"}, data(p.read(nil, "s", 0, 10, false)),
		"reads that do not demand the leader are served")
	res := request(t, http.MethodGet, c.Node(1).HTTPURL()+"/subscriptions", admin, "")
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
}

func TestWritesWithoutMajorityAreLost(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithElectionDelay(10*time.Millisecond), estest.WithStepDownDelay(never))
	p := connect(t, c.Node(0))
	p.mustAppend(admin, "s", newEvent("e", "kept"))
	c.Partition(0)
	second := electsOther(t, c, 0)
	assert.Equal(t, []string{"Master", "Slave, dead", "Slave, dead"}, states(gossipOf(t, c.Node(0))),
		"it does not know")
	r := p.append(admin, "s", esproto.ExpectAny, newEvent("e", "lost"))
	assert.Equal(t, esproto.OperationResult_CommitTimeout, r.GetResult())
	assert.Equal(t, []string{"kept"}, data(p.read(admin, "s", 0, 10, false)), "readers see acknowledged events only")
	connect(t, c.Node(second)).mustAppend(admin, "s", newEvent("e", "by the majority"))

	c.Heal()
	_, ok := p.next()
	assert.False(t, ok, "the node starts anew, to cut off the end of its log")
	page := connect(t, c.Node(0)).read(admin, "s", 0, 10, false)
	assert.Equal(t, []string{"kept", "by the majority"}, data(page))
}

func TestWritesWithoutMajorityAreWrittenIfItComesBack(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithElectionDelay(never), estest.WithStepDownDelay(never))
	p := connect(t, c.Node(0))
	c.Partition(0)
	late := p.append(admin, "s", esproto.ExpectAny, newEvent("e", "late"))
	require.Equal(t, esproto.OperationResult_CommitTimeout, late.GetResult())
	id := p.send(esproto.CmdWriteEvents, admin, demand("s", newEvent("e", "in time")))
	p.ask(esproto.CmdPing, nil, nil, &esproto.IdentifyClient{}) // so that the write has arrived
	c.Heal()
	var r esproto.WriteEventsCompleted
	p.answer(id).into(t, &r)
	assert.Equal(t, esproto.OperationResult_Success, r.GetResult())
	assert.Equal(t, []string{"late", "in time"}, data(p.read(admin, "s", 0, 10, false)))
}

func TestLeaderWithoutMajorityStepsDown(t *testing.T) {
	c := estest.RunCluster(t, 5, estest.WithStepDownDelay(time.Millisecond))
	c.Partition(0, 4)
	eventually(t, "it leads", func() bool {
		return gossipOf(t, c.Node(0))[0].State == "Unknown" && gossipOf(t, c.Node(4))[4].State == "Unknown"
	})
	assert.Error(t, c.Elect(0))
	electsOther(t, c, 0)
	c.Heal()
	assert.Equal(t, "Slave", gossipOf(t, c.Node(0))[0].State)
}

func TestNodesFollowTheClock(t *testing.T) {
	clock := estest.NewClock(time.Time{})
	c := estest.RunCluster(t, 3, estest.WithClock(clock), estest.WithElectionDelay(time.Minute),
		estest.WithStepDownDelay(never))
	p := connect(t, c.Node(0))
	c.Partition(0)
	_, err := c.Node(1).Append("s", estest.Event{Type: "e"})
	assert.ErrorIs(t, err, estest.ErrNoLeader)
	id := p.send(esproto.CmdWriteEvents, admin, demand("s", newEvent("e", "")))
	p.ask(esproto.CmdPing, nil, nil, &esproto.IdentifyClient{}) // so that the write has arrived
	clock.Advance(time.Minute)
	var r esproto.WriteEventsCompleted
	p.answer(id).into(t, &r)
	assert.Equal(t, esproto.OperationResult_CommitTimeout, r.GetResult())
	assert.Equal(t, 1, c.Leader())
	_, err = c.Node(2).Append("s", estest.Event{Type: "e"})
	assert.NoError(t, err, "it is written by the leader")
}

func TestHangingLeaderIsReplaced(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithElectionDelay(10*time.Millisecond))
	p := connectAs(t, c.Node(0), admin)
	c.Node(0).Pause()
	second := electsOther(t, c, 0)
	connect(t, c.Node(second)).mustAppend(admin, "s", newEvent("e", ""))
	id := p.send(esproto.CmdWriteEvents, nil, demand("s", newEvent("e", "")))
	c.Node(0).Resume()
	assert.Equal(t, esproto.CmdNotHandled, p.answer(id).cmd)
}

func TestGroupsLiveOnTheLeader(t *testing.T) {
	c := estest.RunCluster(t, 3)
	body := `{"startFrom":0,"minCheckPointCount":1,"maxCheckPointCount":1}`
	res := request(t, http.MethodPut, c.Node(1).HTTPURL()+"/subscriptions/s/g", admin, body)
	require.Equal(t, http.StatusCreated, res.StatusCode, "a follower forwards HTTP requests")
	p := connectAs(t, c.Node(0), admin)
	p.mustAppend(nil, "s", newEvent("e", "1"), newEvent("e", "2"))
	join := &esproto.ConnectToPersistentSubscription{
		SubscriptionId: proto.String("g"), EventStreamId: proto.String("s"), AllowedInFlightMessages: proto.Int32(1),
	}
	id := p.send(esproto.CmdConnectToPersistentSubscription, nil, join)
	require.Equal(t, esproto.CmdPersistentSubscriptionConfirmation, p.answer(id).cmd)
	var first, next esproto.PersistentSubscriptionStreamEventAppeared
	p.answer(id).into(t, &first)
	p.write(frameOf(t, esproto.CmdPersistentSubscriptionAckEvents, id, nil, &esproto.PersistentSubscriptionAckEvents{
		SubscriptionId: proto.String("s::g"), ProcessedEventIds: [][]byte{first.GetEvent().GetEvent().GetEventId()},
	}))
	p.answer(id).into(t, &next)
	assert.Equal(t, "2", string(next.GetEvent().GetEvent().GetData()))

	require.NoError(t, c.Elect(1))
	var dropped esproto.SubscriptionDropped
	p.answer(id).into(t, &dropped)
	assert.Equal(t, esproto.SubscriptionDropped_Unsubscribed, dropped.GetReason())
	assert.Equal(t, esproto.NotHandled_NotLeader,
		p.askNotHandled(esproto.CmdConnectToPersistentSubscription, join).GetReason())

	p = connectAs(t, c.Node(1), admin)
	id = p.send(esproto.CmdConnectToPersistentSubscription, nil, join)
	require.Equal(t, esproto.CmdPersistentSubscriptionConfirmation, p.answer(id).cmd)
	p.answer(id).into(t, &first)
	assert.Equal(t, "2", string(first.GetEvent().GetEvent().GetData()), "it goes on behind the checkpoint")
	assert.Zero(t, first.GetRetryCount(), "the new leader knows of no delivery")
}

// A leader without a majority parks nothing, as the next one may not have it: the message waits.
func TestNothingIsParkedWithoutAMajority(t *testing.T) {
	clock := estest.NewClock(time.Time{})
	c := estest.RunCluster(t, 3, estest.WithClock(clock), estest.WithElectionDelay(never),
		estest.WithStepDownDelay(never), estest.WithPersona(estest.Persona2310))
	p := connectAs(t, c.Node(0), admin)
	p.group("s", "g", func(m *esproto.CreatePersistentSubscription) { m.MaxRetryCount = proto.Int32(0) })
	p.mustAppend(nil, "s", newEvent("e", "1"))
	sub := p.join("s", "g")
	p.delivered(sub)
	const parked = "$persistentsubscription-s::g-parked"
	c.Partition(0)
	clock.Advance(time.Minute)
	assert.Zero(t, written(t, c.Node(0), parked))
	assert.Equal(t, 1, c.Node(0).Stats().InFlight, "it waits")
	c.Node(0).DropConnections()
	assert.Zero(t, written(t, c.Node(0), parked))
	c.Heal()
	clock.Advance(2 * time.Second)
	for i := range c.Size() {
		assert.Equal(t, 1, written(t, c.Node(i), parked))
	}
}

// Node i has the port i behind that of node 0.
func TestClusterOnPortsOfItsOwn(t *testing.T) {
	for range 20 { // until two ports in a row are free
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		first := l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
		c, err := estest.StartCluster(2, estest.WithTCPAddr(fmt.Sprintf("127.0.0.1:%d", first)))
		if err != nil {
			continue
		}
		for i := range c.Size() {
			assert.Equal(t, fmt.Sprintf("127.0.0.1:%d", first+i), c.Node(i).Addr())
		}
		require.NoError(t, c.Close())
		return
	}
	t.Fatal("no two free ports follow each other")
}

func TestClusterOptions(t *testing.T) {
	_, err := estest.StartCluster(0)
	require.Error(t, err)
	for _, addr := range []string{"127.0.0.1:65534", "127.0.0.1:65536", "127.0.0.1:http", "127.0.0.1"} {
		_, err = estest.StartCluster(3, estest.WithTCPAddr(addr))
		require.ErrorContains(t, err, addr)
	}
	_, err = estest.StartCluster(3, estest.WithHTTPAddr(""))
	require.Error(t, err, "without gossip a client does not find the leader")
	_, err = estest.StartCluster(3, estest.WithElectionDelay(-1))
	require.ErrorContains(t, err, "negative")

	alone := estest.Run(t)
	connect(t, alone).mustAppend(admin, "s", newEvent("e", "from a snapshot"))
	c := estest.RunCluster(t, 2, estest.WithSnapshot(alone.Snapshot()))
	assert.Equal(t, []string{"from a snapshot"}, data(connect(t, c.Node(1)).read(admin, "s", 0, 10, false)))

	c, err = estest.StartCluster(1)
	require.NoError(t, err)
	connect(t, c.Node(0)).mustAppend(admin, "s", newEvent("e", ""))
	require.NoError(t, c.Node(0).Restart())
	assert.Eventually(t, func() bool { return c.Leader() == 0 }, patience, time.Millisecond)
	require.NoError(t, c.Close())
	assert.NoError(t, c.Close(), "again")
}
