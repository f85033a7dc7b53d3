package estest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

var noon = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func runByClock(t *testing.T, opts ...estest.Option) (*estest.Server, *estest.Clock) {
	t.Helper()
	c := estest.NewClock(noon)
	return estest.Run(t, append(opts, estest.WithClock(c))...), c
}

func TestEventsHaveTheTimeOfTheClock(t *testing.T) {
	s, clock := runByClock(t)
	_, err := s.Append("s", estest.Event{Type: "T"})
	require.NoError(t, err)
	clock.Advance(-time.Hour)
	clock.Advance(90 * time.Second)
	_, err = s.Append("s", estest.Event{Type: "T"})
	require.NoError(t, err)
	events, err := s.Read("s", 0, 0)
	require.NoError(t, err)
	assert.Equal(t, noon, events[0].Created)
	assert.Equal(t, noon.Add(90*time.Second), events[1].Created)
	assert.WithinDuration(t, time.Now(), estest.NewClock(time.Time{}).Now(), patience)
}

func TestMaxAgeByTheClock(t *testing.T) {
	s, clock := runByClock(t)
	p := connect(t, s)
	p.mustAppend(nil, "$$s", metadata(`{"$maxAge":60}`))
	p.mustAppend(nil, "s", newEvent("T", "a"))
	clock.Advance(time.Minute)
	p.mustAppend(nil, "s", newEvent("T", "b"))
	assert.Len(t, p.read(nil, "s", 0, 10, false).GetEvents(), 2)
	clock.Advance(time.Second)
	assert.Len(t, p.read(nil, "s", 0, 10, false).GetEvents(), 1)
	assert.Equal(t, 1, infoOf(t, s, "s").Events)
	clock.Advance(time.Hour)
	assert.Empty(t, p.read(nil, "s", 0, 10, false).GetEvents())
	assert.Equal(t, estest.StreamInfo{Name: "s", First: -1, Last: 1}, infoOf(t, s, "s"))
}

func infoOf(t testing.TB, s *estest.Server, stream string) estest.StreamInfo {
	t.Helper()
	for _, info := range s.Streams() {
		if info.Name == stream {
			return info
		}
	}
	t.Fatalf("there is no stream %s", stream)
	return estest.StreamInfo{}
}

// An event is delivered again when its timeout has passed, counted by a tick of a second; after the last retry it is
// parked.
func TestMessageTimeoutsByTheClock(t *testing.T) {
	s, clock := runByClock(t)
	p := connect(t, s)
	p.mustAppend(nil, "s", newEvent("T", "a"))
	p.createGroup("s", "g")
	sub := p.join("s", "g")
	assert.Zero(t, p.delivered(sub).GetRetryCount())
	clock.Advance(4 * time.Second)
	pings(t, p) // and nothing before its answer
	clock.Advance(time.Second)
	assert.Equal(t, int32(1), p.delivered(sub).GetRetryCount())
	clock.Advance(5 * time.Second)
	pings(t, p)
	assert.Equal(t, 1, s.Stats().Parked)
	assert.Zero(t, s.Stats().InFlight)
}

func TestCheckpointsByTheClock(t *testing.T) {
	s, clock := runByClock(t)
	p := connect(t, s)
	p.mustAppend(nil, "s", newEvent("T", "a"), newEvent("T", "b"))
	p.createGroup("s", "g")
	sub := p.join("s", "g")
	p.delivered(sub)
	second := p.delivered(sub)
	p.ack(sub, "s", "g", second.GetEvent().GetEvent().GetEventId())
	pings(t, p)
	clock.Advance(time.Second)
	_, err := s.Read("$persistentsubscription-s::g-checkpoint", 0, 0)
	require.ErrorIs(t, err, estest.ErrNoStream, "the first event is not settled")
	clock.Advance(4 * time.Second)
	p.ack(sub, "s", "g", p.delivered(sub).GetEvent().GetEvent().GetEventId())
	pings(t, p)
	clock.Advance(time.Second)
	events, err := s.Read("$persistentsubscription-s::g-checkpoint", 0, 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"1"}, texts(events))
	assert.Equal(t, noon.Add(6*time.Second), events[0].Created)
}

func (p *peer) ack(sub esproto.CorrelationID, stream, group string, ids ...[]byte) {
	p.t.Helper()
	name := stream + "::" + group
	ack := &esproto.PersistentSubscriptionAckEvents{SubscriptionId: &name, ProcessedEventIds: ids}
	p.write(frameOf(p.t, esproto.CmdPersistentSubscriptionAckEvents, sub, admin, ack))
}

func TestASilentClientIsAskedAndThenCutOff(t *testing.T) {
	s, clock := runByClock(t, estest.WithHeartbeat(2*time.Second, time.Second))
	p := dial(t, s)
	advanceToHeartbeat(t, s, clock)
	nc := afterHeartbeat(t, p)
	clock.Advance(time.Second)
	ends(t, &peer{t: t, s: s, nc: nc})
}

// advanceToHeartbeat moves the clock until the server sends a heartbeat.
func advanceToHeartbeat(t testing.TB, s *estest.Server, clock *estest.Clock) {
	t.Helper()
	before := s.Stats().FramesOut[esproto.CmdHeartbeatRequest]
	require.Eventually(t, func() bool {
		clock.Advance(500 * time.Millisecond)
		return s.Stats().FramesOut[esproto.CmdHeartbeatRequest] > before
	}, patience, eagerness)
}

func TestAClientThatAnswersIsNotCutOff(t *testing.T) {
	s, clock := runByClock(t, estest.WithHeartbeat(2*time.Second, time.Second))
	p := connect(t, s)
	for range 20 {
		clock.Advance(500 * time.Millisecond)
		pings(t, p)
	}
}

func TestHeartbeatsAreWithheld(t *testing.T) {
	s, clock := runByClock(t, estest.WithHeartbeat(2*time.Second, time.Second))
	p := connect(t, s)
	s.WithholdHeartbeats(true)
	clock.Advance(time.Minute)
	p.send(esproto.CmdHeartbeatRequest, nil, nil)
	pings(t, p) // nothing before its answer, and the connection is there
	assert.Zero(t, s.Stats().FramesOut[esproto.CmdHeartbeatRequest])
	assert.Zero(t, s.Stats().FramesOut[esproto.CmdHeartbeatResponse])

	s.WithholdHeartbeats(false)
	id := p.send(esproto.CmdHeartbeatRequest, nil, nil)
	assert.Equal(t, esproto.CmdHeartbeatResponse, p.answer(id).cmd)
	advanceToHeartbeat(t, s, clock)
	nc := afterHeartbeat(t, p)
	clock.Advance(time.Second)
	ends(t, &peer{t: t, s: s, nc: nc})
}

// A test that advances the clock by hours need not care about idle connections.
func TestIdleClientsSurviveAnAdvance(t *testing.T) {
	s, clock := runByClock(t)
	p := connect(t, s)
	clock.Advance(24 * time.Hour)
	pings(t, p)
	require.NoError(t, s.Restart())
	clock.Advance(time.Hour)
	pings(t, connect(t, s))
}

// A paused server does nothing by the clock either; it does when it goes on.
func TestAPausedServerLetsTimePass(t *testing.T) {
	s, clock := runByClock(t, estest.WithHeartbeat(2*time.Second, time.Second))
	p := connect(t, s)
	p.mustAppend(nil, "s", newEvent("T", "a"))
	p.createGroup("s", "g")
	sub := p.join("s", "g")
	p.delivered(sub)
	s.Pause()
	clock.Advance(time.Minute)
	s.Resume()
	pings(t, p)
	clock.Advance(time.Second)
	assert.Equal(t, int32(1), p.delivered(sub).GetRetryCount())
}

// Servers with one clock do things in the order of their times.
func TestServersShareAClock(t *testing.T) {
	clock := estest.NewClock(noon)
	for range 2 {
		s := estest.Run(t, estest.WithClock(clock))
		p := connect(t, s)
		p.mustAppend(nil, "s", newEvent("T", "a"))
		p.createGroup("s", "g")
		sub := p.join("s", "g")
		p.delivered(sub)
		clock.Advance(6 * time.Second)
		assert.Equal(t, int32(1), p.delivered(sub).GetRetryCount())
	}
}
