package estest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func texts(events []estest.Event) (data []string) {
	for _, e := range events {
		data = append(data, string(e.Data))
	}
	return data
}

func TestAppendAndReadWithoutAConnection(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	sub := p.subscribe("orders-1")
	id := uuid.New()
	last, err := s.Append("orders-1",
		estest.Event{ID: id, Type: "Placed", JSON: true, Data: []byte(`{"n":1}`), Metadata: []byte("m")},
		estest.Event{Type: "Paid", Data: []byte{0xff}})
	require.NoError(t, err)
	assert.Equal(t, int64(1), last)
	for n := range int64(2) {
		var pushed esproto.StreamEventAppeared
		p.answer(sub).into(t, &pushed)
		assert.Equal(t, n, pushed.GetEvent().GetEvent().GetEventNumber())
	}

	last, err = s.Append("orders-1", estest.Event{ID: id, Type: "Placed"})
	require.NoError(t, err)
	assert.Equal(t, int64(0), last, "the id is known")
	s.ForgetEventIDs()
	last, err = s.Append("orders-1", estest.Event{ID: id, Type: "Placed"})
	require.NoError(t, err)
	assert.Equal(t, int64(2), last, "the id was forgotten")

	events, err := s.Read("orders-1", 0, 1)
	require.NoError(t, err)
	require.Len(t, events, 1)
	e := events[0]
	assert.Equal(t, "orders-1", e.Stream)
	assert.Equal(t, id, e.ID)
	assert.Equal(t, "Placed", e.Type)
	assert.True(t, e.JSON)
	assert.JSONEq(t, `{"n":1}`, string(e.Data))
	assert.Equal(t, "m", string(e.Metadata))
	assert.False(t, e.Created.IsZero())
	assert.Equal(t, e.Commit, e.Prepare)
	page := connect(t, s).read(nil, "orders-1", 0, 10, false)
	assert.Equal(t, int64(3), page.GetNextEventNumber(), "a client reads the same")
}

func TestReadLeavesOutHiddenEvents(t *testing.T) {
	s := estest.Run(t)
	for _, data := range []string{"a", "b", "c"} {
		_, err := s.Append("s", estest.Event{Type: "T", Data: []byte(data)})
		require.NoError(t, err)
	}
	_, err := s.Append("$$s", estest.Event{Type: "$metadata", JSON: true, Data: []byte(`{"$maxCount":2}`)})
	require.NoError(t, err)
	events, err := s.Read("s", 0, 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"b", "c"}, texts(events))
	events, err = s.Read("s", 2, 10)
	require.NoError(t, err)
	assert.Equal(t, []string{"c"}, texts(events))
}

func TestDirectMethodsNameTheFault(t *testing.T) {
	s := estest.Run(t)
	_, err := s.Read("nothing", 0, 0)
	require.ErrorIs(t, err, estest.ErrNoStream)
	_, err = s.Append("gone", estest.Event{Type: "T"})
	require.NoError(t, err)
	p := connect(t, s)
	p.delete("gone", true)
	_, err = s.Read("gone", 0, 0)
	require.ErrorIs(t, err, estest.ErrStreamDeleted)
	_, err = s.Append("gone", estest.Event{Type: "T"})
	require.ErrorIs(t, err, estest.ErrStreamDeleted)
	for _, stream := range []string{"", "$all"} {
		_, err = s.Append(stream, estest.Event{Type: "T"})
		require.ErrorContains(t, err, "estest: ")
	}
	_, err = s.Append("s", estest.Event{})
	require.ErrorContains(t, err, "type")
	_, err = s.Append("s", estest.Event{Type: "T", Data: make([]byte, esproto.MaxEventSize+1)})
	require.ErrorContains(t, err, "too large")
}

// subscribe subscribes to a stream and returns the correlation id with which its events come.
func (p *peer) subscribe(stream string) esproto.CorrelationID {
	p.t.Helper()
	id := p.send(esproto.CmdSubscribeToStream, nil,
		&esproto.SubscribeToStream{EventStreamId: &stream, ResolveLinkTos: proto.Bool(false)})
	require.Equal(p.t, esproto.CmdSubscriptionConfirmation, p.answer(id).cmd)
	return id
}

func (p *peer) delete(stream string, hard bool) {
	p.t.Helper()
	var r esproto.DeleteStreamCompleted
	p.ask(esproto.CmdDeleteStream, nil, &esproto.DeleteStream{EventStreamId: &stream, HardDelete: &hard,
		ExpectedVersion: proto.Int64(esproto.ExpectAny), RequireLeader: proto.Bool(false)}, &r)
	require.Equal(p.t, esproto.OperationResult_Success, r.GetResult())
}

// createGroup creates a group from the beginning of a stream, with short limits.
func (p *peer) createGroup(stream, group string) {
	p.t.Helper()
	p.createGroupOf(stream, group, false)
}

func (p *peer) createGroupOf(stream, group string, resolve bool) {
	p.t.Helper()
	var r esproto.CreatePersistentSubscriptionCompleted
	p.ask(esproto.CmdCreatePersistentSubscription, admin, &esproto.CreatePersistentSubscription{
		EventStreamId: &stream, SubscriptionGroupName: &group, ResolveLinkTos: &resolve, StartFrom: proto.Int64(0),
		MessageTimeoutMilliseconds: proto.Int32(5000), RecordStatistics: proto.Bool(false),
		LiveBufferSize: proto.Int32(500), ReadBatchSize: proto.Int32(20), BufferSize: proto.Int32(500),
		MaxRetryCount: proto.Int32(1), PreferRoundRobin: proto.Bool(false), CheckpointAfterTime: proto.Int32(1000),
		CheckpointMaxCount: proto.Int32(500), CheckpointMinCount: proto.Int32(1), SubscriberMaxCount: proto.Int32(0),
		NamedConsumerStrategy: proto.String("RoundRobin"),
	}, &r)
	require.Equal(p.t, esproto.CreatePersistentSubscriptionCompleted_Success, r.GetResult(), r.GetReason())
}

// join connects to a group and returns the correlation id with which its events come.
func (p *peer) join(stream, group string) esproto.CorrelationID {
	p.t.Helper()
	id := p.send(esproto.CmdConnectToPersistentSubscription, admin, &esproto.ConnectToPersistentSubscription{
		SubscriptionId: &group, EventStreamId: &stream, AllowedInFlightMessages: proto.Int32(10)})
	require.Equal(p.t, esproto.CmdPersistentSubscriptionConfirmation, p.answer(id).cmd)
	return id
}

// delivered is an event that a group has sent.
func (p *peer) delivered(sub esproto.CorrelationID) *esproto.PersistentSubscriptionStreamEventAppeared {
	p.t.Helper()
	var m esproto.PersistentSubscriptionStreamEventAppeared
	p.answer(sub).into(p.t, &m)
	return &m
}

func (p *peer) nak(
	sub esproto.CorrelationID, stream, group string, action esproto.PersistentSubscriptionNakEvents_NakAction,
	id []byte,
) {
	p.t.Helper()
	p.write(frameOf(p.t, esproto.CmdPersistentSubscriptionNakEvents, sub, admin,
		&esproto.PersistentSubscriptionNakEvents{
			SubscriptionId: proto.String(stream + "::" + group), ProcessedEventIds: [][]byte{id}, Action: &action,
			Message: proto.String("test"),
		}))
}

func TestStatsCountEvents(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	p.mustAppend(nil, "s", newEvent("T", "a"), newEvent("T", "b"), newEvent("T", "c"))
	p.createGroup("s", "g")
	sub := p.join("s", "g")
	first := p.delivered(sub)
	p.delivered(sub)
	p.delivered(sub)
	p.nak(sub, "s", "g", esproto.PersistentSubscriptionNakEvents_Park, first.GetEvent().GetEvent().GetEventId())
	pings(t, p) // the frames of one connection are served in turn

	stats := s.Stats()
	assert.Equal(t, 1, stats.Connections)
	assert.Equal(t, int64(1), stats.ConnectionsTotal)
	assert.Equal(t, map[esproto.Command]int64{
		esproto.CmdIdentifyClient: 1, esproto.CmdWriteEvents: 1, esproto.CmdCreatePersistentSubscription: 1,
		esproto.CmdConnectToPersistentSubscription: 1, esproto.CmdPersistentSubscriptionNakEvents: 1,
		esproto.CmdPing: 1,
	}, stats.FramesIn)
	assert.Equal(t, int64(3), stats.FramesOut[esproto.CmdPersistentSubscriptionStreamEventAppeared])
	assert.Positive(t, stats.BytesIn)
	assert.Greater(t, stats.BytesOut, stats.BytesIn/10)
	assert.Equal(t, 2, stats.InFlight)
	assert.Equal(t, 1, stats.Parked)
	assert.Equal(t, []estest.GroupStats{{
		Stream: "s", Group: "g", Strategy: "RoundRobin", Clients: 1, InFlight: 2, Parked: 1, Processed: 3,
		Checkpoint: -1,
	}}, stats.Groups)

	p.nc.Close()
	require.Eventually(t, func() bool { return s.Stats().Connections == 0 }, patience, eagerness)
	assert.Equal(t, int64(1), s.Stats().ConnectionsTotal)
}

func TestStreamsListsTheStreams(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	p.mustAppend(nil, "b", newEvent("T", "1"), newEvent("T", "2"), newEvent("T", "3"))
	p.mustAppend(nil, "$$b", metadata(`{"$tb":2}`))
	p.mustAppend(nil, "a", newEvent("T", "1"))
	p.mustAppend(nil, "gone", newEvent("T", "1"))
	p.delete("gone", true)
	p.mustAppend(nil, "hidden", newEvent("T", "1"))
	p.delete("hidden", false)

	var own []estest.StreamInfo
	for _, info := range s.Streams() {
		if !strings.HasPrefix(info.Name, "$") {
			own = append(own, info)
		}
	}
	assert.Equal(t, []estest.StreamInfo{
		{Name: "a", First: 0, Last: 0, Events: 1},
		{Name: "b", First: 2, Last: 2, Events: 1},
		{Name: "gone", First: -1, Last: 0, Deleted: true},
		{Name: "hidden", First: -1, Last: 0, Deleted: true},
	}, own)
}

func metadata(data string) *esproto.NewEvent {
	e := newEvent("$metadata", data)
	e.DataContentType = proto.Int32(esproto.ContentTypeJSON)
	return e
}

func TestASnapshotStartsAnotherServer(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) {
			opts := []estest.Option{estest.WithPersona(persona), estest.WithAnonymousAccess()}
			s := estest.Run(t, opts...)
			p := connect(t, s)
			p.mustAppend(nil, "s",
				newEvent("T", "a"), newEvent("T", "\xff\x00"), newEvent("T", `{"json" : "as it was"}`))
			p.mustAppend(nil, "$$s", metadata(`{"$tb":1}`))
			p.mustAppend(nil, "gone", newEvent("T", "x"))
			p.delete("gone", true)
			p.createGroup("s", "g")
			ann := `{"loginName":"ann","fullName":"Ann","password":"secret","groups":[]}`
			request(t, "POST", s.HTTPURL()+"/users/", admin, ann)
			text, err := json.Marshal(s.Snapshot())
			require.NoError(t, err)
			assert.NotContains(t, string(text), "secret")
			assert.NotContains(t, string(text), "changeit")

			var snap estest.Snapshot
			require.NoError(t, json.Unmarshal(text, &snap))
			second := estest.Run(t, append(opts, estest.WithSnapshot(&snap))...)
			again := second.Snapshot()
			assert.Equal(t, snap.Events, again.Events[:len(snap.Events)])
			assert.Equal(t, snap.Marks, again.Marks[:len(snap.Marks)])
			for _, info := range s.Streams() {
				if info.Name != "$epoch-information" { // to which every process adds
					assert.Contains(t, second.Streams(), info)
				}
			}

			q := connectAs(t, second, &esproto.Credentials{Login: "ann", Password: "secret"})
			assert.Equal(t, int64(2), q.read(nil, "s", 2, 10, false).GetEvents()[0].GetEvent().GetEventNumber())
			refused := q.append(nil, "gone", esproto.ExpectAny, newEvent("T", "y"))
			assert.Equal(t, esproto.OperationResult_StreamDeleted, refused.GetResult())
			assert.Equal(t, int64(3), q.mustAppend(nil, "s", newEvent("T", "b")).GetLastEventNumber())
			sub := q.join("s", "g")
			assert.Equal(t, int64(1), q.delivered(sub).GetEvent().GetEvent().GetEventNumber(), "the group is there")

			wrong := connect(t, second)
			id := wrong.send(esproto.CmdAuthenticate, &esproto.Credentials{Login: "ann", Password: "changeit"}, nil)
			assert.Equal(t, esproto.CmdNotAuthenticated, wrong.answer(id).cmd)
		})
	}
}

// The next server tells the same end of the log, also behind a write of nothing, which 5.0 counts.
func TestASnapshotHasTheLastWriteOfNothing(t *testing.T) {
	s := estest.Run(t)
	p := connectAs(t, s, admin)
	p.mustAppend(nil, "s", newEvent("T", "a"))
	p.mustAppend(nil, "s")
	second := estest.Run(t, estest.WithSnapshot(s.Snapshot()))
	again := connectAs(t, second, admin).read(nil, "s", 0, 10, false)
	assert.Equal(t, p.read(nil, "s", 0, 10, false).GetLastCommitPosition(), again.GetLastCommitPosition())

	broken := s.Snapshot()
	broken.LastEmpty = broken.End
	_, err := estest.Start(estest.WithSnapshot(broken))
	assert.ErrorContains(t, err, "estest: the snapshot")
}

// A user in the snapshot does not get a group twice.
func TestAUserOfASnapshotIsInAGroupOnce(t *testing.T) {
	opts := []estest.Option{estest.WithUser("ann", "x", "g", "h"), estest.WithUser("ops", "y", "$ops")}
	s := estest.Run(t, opts...)
	s = estest.Run(t, append(opts, estest.WithSnapshot(s.Snapshot()))...)
	for login, groups := range map[string][]string{"ann": {"g", "h"}, "ops": {"$ops"}} {
		var user struct{ Data struct{ Groups []string } }
		getJSON(t, s.HTTPURL()+"/users/"+login, &user)
		assert.Equal(t, groups, user.Data.Groups)
	}
}

func TestABrokenSnapshotIsRefused(t *testing.T) {
	s := estest.Run(t)
	_, err := s.Append("s", estest.Event{Type: "T"}, estest.Event{Type: "T"})
	require.NoError(t, err)
	for name, breakIt := range map[string]func(snap *estest.Snapshot){
		"a gap":          func(snap *estest.Snapshot) { snap.Events[len(snap.Events)-1].Number++ },
		"no type":        func(snap *estest.Snapshot) { snap.Events[0].Type = "" },
		"no stream":      func(snap *estest.Snapshot) { snap.Events[0].Stream = "" },
		"a place twice":  func(snap *estest.Snapshot) { snap.Events[1].Commit, snap.Events[1].Prepare = 0, 0 },
		"beyond the end": func(snap *estest.Snapshot) { snap.End = 1 },
		"before the log": func(snap *estest.Snapshot) { snap.Events[0].Prepare = -1 },
		"behind the delete": func(snap *estest.Snapshot) {
			snap.Events[len(snap.Events)-2].Number = esproto.DeletedStream
		},
	} {
		snap := s.Snapshot()
		breakIt(snap)
		_, err := estest.Start(estest.WithSnapshot(snap))
		assert.ErrorContains(t, err, "estest: the snapshot", name)
	}
}
