package estest_test

import (
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func write(stream string) *esproto.WriteEvents {
	return &esproto.WriteEvents{EventStreamId: &stream, ExpectedVersion: proto.Int64(esproto.ExpectAny),
		Events: []*esproto.NewEvent{newEvent("T", "x")}, RequireLeader: proto.Bool(false)}
}

func written(t testing.TB, s *estest.Server, stream string) int {
	t.Helper()
	events, err := s.Read(stream, 0, 0)
	if err != nil {
		require.ErrorIs(t, err, estest.ErrNoStream)
	}
	return len(events)
}

// notHandled sends a request that must be answered by a NotHandled.
func (p *peer) notHandled(cmd esproto.Command, m proto.Message) *esproto.NotHandled {
	p.t.Helper()
	r := p.answer(p.send(cmd, nil, m))
	require.Equal(p.t, esproto.CmdNotHandled, r.cmd)
	var nh esproto.NotHandled
	r.into(p.t, &nh)
	return &nh
}

func TestARuleAppliesOnceOrSomeTimesOrUntilItIsRemoved(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	once := s.Intercept(esproto.CmdWriteEvents, estest.TooBusy(), estest.Times(1))
	assert.Equal(t, esproto.NotHandled_TooBusy, p.notHandled(esproto.CmdWriteEvents, write("s")).GetReason())
	p.mustAppend(nil, "s", newEvent("T", "a"))
	assert.Equal(t, 1, once.Hits())

	twice := s.Intercept(esproto.CmdWriteEvents, estest.TooBusy(), estest.Times(2))
	always := s.Intercept(esproto.CmdWriteEvents, estest.NotReady())
	for _, reason := range []esproto.NotHandled_NotHandledReason{
		esproto.NotHandled_TooBusy, esproto.NotHandled_TooBusy, esproto.NotHandled_NotReady,
		esproto.NotHandled_NotReady,
	} {
		assert.Equal(t, reason, p.notHandled(esproto.CmdWriteEvents, write("s")).GetReason())
	}
	pings(t, p)
	require.NoError(t, s.Restart())
	p = connect(t, s)
	assert.Equal(t, esproto.NotHandled_NotReady, p.notHandled(esproto.CmdWriteEvents, write("s")).GetReason())
	always.Remove()
	always.Remove()
	p.mustAppend(nil, "s", newEvent("T", "b"))
	assert.Equal(t, 2, twice.Hits())
	assert.Equal(t, 3, always.Hits())
	assert.Equal(t, 2, written(t, s, "s"))
}

// Like a node without a leader in its cluster: it refuses everything for a while, and the client loses no subscription.
func TestANodeIsNotReadyForAWhile(t *testing.T) {
	s, clock := runByClock(t)
	p := connect(t, s)
	p.mustAppend(nil, "s", newEvent("T", "a"))
	p.createGroup("s", "g")
	sub := p.join("s", "g")
	id := p.delivered(sub).GetEvent().GetEvent().GetEventId()

	s.Intercept(estest.AnyOperation, estest.NotReady(), estest.For(2*time.Second))
	p.notHandled(esproto.CmdWriteEvents, write("s"))
	p.notHandled(esproto.CmdReadAllEventsForward, &esproto.ReadAllEvents{
		CommitPosition: proto.Int64(0), PreparePosition: proto.Int64(0), MaxCount: proto.Int32(1),
		ResolveLinkTos: proto.Bool(false), RequireLeader: proto.Bool(false),
	})
	p.ack(sub, "s", "g", id)
	pings(t, p) // the ack had no answer
	assert.Equal(t, 1, s.Stats().InFlight, "nor was it heeded")
	assert.Equal(t, esproto.CmdAuthenticated, p.answer(p.send(esproto.CmdAuthenticate, admin, nil)).cmd)
	clock.Advance(2 * time.Second)
	p.mustAppend(nil, "other", newEvent("T", "b"))
}

func TestNotLeaderTellsWhereTheLeaderIs(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		leader, follower := estest.Run(t), estest.Run(t, estest.WithPersona(persona), estest.WithAnonymousAccess())
		follower.Intercept(estest.AnyOperation, estest.NotLeader(leader.LeaderInfo()))
		nh := connect(t, follower).notHandled(esproto.CmdWriteEvents, write("s"))
		assert.Equal(t, esproto.NotHandled_NotLeader, nh.GetReason())
		var info esproto.NotHandled_LeaderInfo
		require.NoError(t, proto.Unmarshal(nh.GetAdditionalInfo(), &info))
		assert.Equal(t, leader.Addr(), joined(info.GetExternalTcpAddress(), info.GetExternalTcpPort()))
		assert.Equal(t, leader.HTTPAddr(), joined(info.GetHttpAddress(), info.GetHttpPort()))
		assert.Nil(t, info.ExternalSecureTcpPort)
	}
}

func TestAReplyOfTheTestsOwn(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	const commitTimeout = esproto.OperationResult_CommitTimeout
	timeout := &esproto.WriteEventsCompleted{Result: commitTimeout.Enum(), Message: proto.String("slow")}
	s.Intercept(esproto.CmdWriteEvents, estest.Reply(esproto.CmdWriteEventsCompleted, timeout), estest.Times(1))
	assert.Equal(t, commitTimeout, p.append(nil, "s", esproto.ExpectAny, newEvent("T", "x")).GetResult())
	assert.Zero(t, written(t, s, "s"))

	late := estest.Unanswered(estest.Reply(esproto.CmdWriteEventsCompleted, timeout))
	s.Intercept(esproto.CmdWriteEvents, late, estest.Times(1))
	assert.Equal(t, commitTimeout, p.append(nil, "s", esproto.ExpectAny, newEvent("T", "x")).GetResult())
	assert.Equal(t, 1, written(t, s, "s"), "the write was done all the same")

	garbage := estest.ReplyBytes(esproto.CmdWriteEventsCompleted, []byte("\xffgarbage"))
	s.Intercept(esproto.CmdWriteEvents, garbage, estest.Times(1))
	assert.Equal(t, "\xffgarbage", string(p.answer(p.send(esproto.CmdWriteEvents, nil, write("s"))).payload))
	s.Intercept(esproto.CmdWriteEvents, estest.BadRequest("no"), estest.Times(1))
	r := p.answer(p.send(esproto.CmdWriteEvents, nil, write("s")))
	assert.Equal(t, esproto.CmdBadRequest, r.cmd)
	assert.Equal(t, "no", string(r.payload))
	s.Intercept(esproto.CmdWriteEvents, estest.NotAuthenticated(), estest.Times(1))
	assert.Equal(t, esproto.CmdNotAuthenticated, p.answer(p.send(esproto.CmdWriteEvents, nil, write("s"))).cmd)
}

func TestAFrameAndAReplyAreLost(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	s.Intercept(esproto.CmdWriteEvents, estest.Drop(), estest.Times(1))
	s.Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Drop()), estest.Times(1))
	p.send(esproto.CmdWriteEvents, nil, write("dropped"))
	p.send(esproto.CmdWriteEvents, nil, write("done"))
	pings(t, p) // and nothing before its answer
	assert.Zero(t, written(t, s, "dropped"))
	assert.Equal(t, 1, written(t, s, "done"))

	s.Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Disconnect()), estest.Times(1))
	p.send(esproto.CmdWriteEvents, nil, write("done"))
	ends(t, p)
	assert.Equal(t, 2, written(t, s, "done"))
	s.Intercept(esproto.CmdWriteEvents, estest.Disconnect(), estest.Times(1))
	p = connect(t, s)
	p.send(esproto.CmdWriteEvents, nil, write("done"))
	ends(t, p)
	assert.Equal(t, 2, written(t, s, "done"))
}

// A reply is withheld even if the server serves the request later than its turn.
func TestALateReplyIsLost(t *testing.T) {
	t.Run("rights", func(t *testing.T) {
		s, clock := slowRights(t, estest.Persona5011)
		p := connectAs(t, s, plain)
		s.Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Drop()), estest.Times(1))
		p.send(esproto.CmdWriteEvents, nil, write("s"))
		pings(t, p)
		clock.Advance(time.Second)
		pings(t, p) // and nothing before its answer
		assert.Equal(t, 1, written(t, s, "s"))
	})
	t.Run("majority", func(t *testing.T) {
		clock := estest.NewClock(time.Time{})
		c := estest.RunCluster(t, 3, estest.WithClock(clock), estest.WithElectionDelay(never),
			estest.WithStepDownDelay(never))
		s := c.Node(0)
		p := connectAs(t, s, admin)
		s.Intercept(esproto.CmdWriteEvents, estest.Unanswered(estest.Drop()))
		c.Partition(0)
		p.send(esproto.CmdWriteEvents, nil, write("s"))
		pings(t, p)
		clock.Advance(3 * time.Second)
		p.send(esproto.CmdWriteEvents, nil, write("s"))
		pings(t, p)
		c.Heal()
		pings(t, p)
		assert.Equal(t, 2, written(t, s, "s"))
	})
}

// The client can tell replies apart by their ids only.
func TestADelayedFrameIsOvertaken(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		s, clock := runByClock(t, estest.WithPersona(persona), estest.WithAnonymousAccess())
		p := connect(t, s)
		s.Intercept(esproto.CmdWriteEvents, estest.Delay(time.Second), estest.Times(1))
		s.Intercept(esproto.CmdAuthenticate, estest.Delay(3*time.Second))
		slow := p.send(esproto.CmdWriteEvents, nil, write("s"))
		login := p.send(esproto.CmdAuthenticate, admin, nil)
		fast := p.send(esproto.CmdWriteEvents, nil, write("s"))
		p.answer(fast)
		assert.Equal(t, 1, written(t, s, "s"))
		clock.Advance(time.Second)
		assert.Equal(t, esproto.CmdWriteEventsCompleted, p.answer(slow).cmd)
		assert.Equal(t, 2, written(t, s, "s"))
		clock.Advance(2 * time.Second)
		assert.Equal(t, esproto.CmdAuthenticated, p.answer(login).cmd)

		s.Intercept(esproto.CmdWriteEvents, estest.Delay(time.Second))
		p.send(esproto.CmdWriteEvents, nil, write("s"))
		pings(t, p)
		p.nc.Close()
		require.Eventually(t, func() bool { return s.Stats().Connections == 0 }, patience, eagerness)
		clock.Advance(time.Second)
		assert.Equal(t, 2, written(t, s, "s"), "no call waits for it any more")
	}
}

func TestAccessDeniedInTheWayOfEachCommand(t *testing.T) {
	s := estest.Run(t)
	p := connectAs(t, s, admin)
	s.Intercept(estest.AnyOperation, estest.AccessDenied())
	refused := p.append(nil, "s", esproto.ExpectAny, newEvent("T", "x"))
	assert.Equal(t, esproto.OperationResult_AccessDenied, refused.GetResult())
	assert.Equal(t, esproto.ReadStreamEventsCompleted_AccessDenied, p.read(nil, "s", 0, 10, false).GetResult())
	var dropped esproto.SubscriptionDropped
	p.ask(esproto.CmdSubscribeToStream, nil,
		&esproto.SubscribeToStream{EventStreamId: proto.String("s"), ResolveLinkTos: proto.Bool(false)}, &dropped)
	assert.Equal(t, esproto.SubscriptionDropped_AccessDenied, dropped.GetReason())
	var deleted esproto.DeletePersistentSubscriptionCompleted
	p.ask(esproto.CmdDeletePersistentSubscription, nil, &esproto.DeletePersistentSubscription{
		SubscriptionGroupName: proto.String("g"), EventStreamId: proto.String("s")}, &deleted)
	assert.Equal(t, esproto.DeletePersistentSubscriptionCompleted_AccessDenied, deleted.GetResult())
}

func TestChooseLooksAtTheFrame(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	rule := s.Intercept(esproto.CmdWriteEvents, estest.Choose(func(r estest.Request) estest.Action {
		var m esproto.WriteEvents
		if proto.Unmarshal(r.Payload, &m) != nil || m.GetEventStreamId() != "b" || r.Login == "admin" {
			return estest.Action{}
		}
		return estest.TooBusy()
	}), estest.Times(1))
	p.mustAppend(nil, "a", newEvent("T", "x"))
	p.mustAppend(admin, "b", newEvent("T", "x"))
	assert.Zero(t, rule.Hits())
	p.notHandled(esproto.CmdWriteEvents, write("b"))
	p.mustAppend(nil, "b", newEvent("T", "x"))
	assert.Equal(t, 1, rule.Hits())
}

func TestAConnectionIsCutAtAByteThatIsSent(t *testing.T) {
	s := estest.Run(t)
	p, other := connect(t, s), connect(t, s)
	s.CutAfterSent(30)
	p.send(esproto.CmdPing, nil, nil) // the answer has 22 bytes
	p.send(esproto.CmdPing, nil, nil)
	require.NoError(t, p.nc.SetReadDeadline(time.Now().Add(patience)))
	b, err := io.ReadAll(p.nc)
	require.NoError(t, err)
	assert.Len(t, b, 30)
	pings(t, other) // one was cut, and that was it
	pings(t, connect(t, s))
}

func TestAConnectionIsCutAtAByteThatIsReceived(t *testing.T) {
	s := estest.Run(t)
	p, other := connect(t, s), connect(t, s)
	first := frameOf(t, esproto.CmdWriteEvents, newID(), nil, write("s"))
	second := frameOf(t, esproto.CmdWriteEvents, newID(), nil, write("s"))
	s.CutAfterReceived(int64(len(first) + len(second) - 1))
	p.write(append(first, second...))
	require.Eventually(t, func() bool { return s.Stats().Connections == 1 }, patience, eagerness)
	assert.Equal(t, 1, written(t, s, "s"), "the second frame was not whole")
	pings(t, other)

	s.CutAfterReceived(0)
	other.send(esproto.CmdPing, nil, nil)
	require.Eventually(t, func() bool { return s.Stats().Connections == 0 }, patience, eagerness)
}

// The server reports a client that does not read its subscriptions as slow and cuts it off, and no other client.
func TestASlowConsumerIsCutOff(t *testing.T) {
	s := estest.Run(t, estest.WithPendingSendLimit(1<<20))
	slow, other := connect(t, s), connect(t, s)
	slow.subscribe("s")
	big := estest.Event{Type: "T", Data: make([]byte, 1<<20)}
	require.Eventually(t, func() bool {
		_, err := s.Append("s", big)
		return err != nil || s.Stats().FramesOut[esproto.CmdBadRequest] > 0
	}, patience, eagerness)
	for {
		r, ok := slow.next()
		require.True(t, ok, "the drop comes before the end")
		if r.cmd == esproto.CmdBadRequest {
			assert.Contains(t, string(r.payload), "too big")
			break
		}
	}
	ends(t, slow)
	pings(t, other)
	_, err := estest.Start(estest.WithPendingSendLimit(0))
	require.ErrorContains(t, err, "estest: ")
}

// joined is host:port of two fields of a message.
func joined(host string, port int32) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }
