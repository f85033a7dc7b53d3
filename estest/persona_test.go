package estest_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func run2310(t *testing.T, opts ...estest.Option) *estest.Server {
	t.Helper()
	return estest.Run(t, append([]estest.Option{estest.WithPersona(estest.Persona2310)}, opts...)...)
}

// zeros lists the fields of a message, and of those within, that hold a zero: no server from 22.10 on writes any.
func zeros(t *testing.T, b []byte, nested map[protowire.Number]map[protowire.Number]bool) (found []protowire.Number) {
	t.Helper()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		require.Positive(t, n)
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			require.Positive(t, n)
			if b = b[n:]; v == 0 {
				found = append(found, num)
			}
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			require.Positive(t, n)
			if b = b[n:]; len(v) == 0 && nested[num] == nil {
				found = append(found, num)
			}
			if nested[num] != nil {
				found = append(found, zeros(t, v, recordsWithin(nested[num]))...)
			}
		default:
			t.Fatalf("wire type %d", typ)
		}
	}
	return found
}

// recordsWithin has the records of an event looked at, whose fields are all scalars.
func recordsWithin(fields map[protowire.Number]bool) map[protowire.Number]map[protowire.Number]bool {
	m := make(map[protowire.Number]map[protowire.Number]bool)
	for f := range fields {
		m[f] = map[protowire.Number]bool{}
	}
	return m
}

func TestServersFrom2210LeaveZerosOut(t *testing.T) {
	p := connectAs(t, run2310(t), admin)
	none := map[protowire.Number]map[protowire.Number]bool{}
	events := map[protowire.Number]map[protowire.Number]bool{1: {1: true, 2: true}}
	all := map[protowire.Number]map[protowire.Number]bool{3: {1: true, 2: true}}

	stream, zero, yes := "zeros", int64(0), true
	r := p.answer(p.send(esproto.CmdWriteEvents, nil, &esproto.WriteEvents{
		EventStreamId: &stream, ExpectedVersion: proto.Int64(-1), Events: []*esproto.NewEvent{newEvent("t", "")},
	}))
	assert.Empty(t, zeros(t, r.payload, none), "%x", r.payload)

	r = p.answer(p.send(esproto.CmdReadStreamEventsForward, nil, &esproto.ReadStreamEvents{
		EventStreamId: &stream, FromEventNumber: &zero, MaxCount: proto.Int32(10), ResolveLinkTos: &yes,
	}))
	assert.Empty(t, zeros(t, r.payload, events), "%x", r.payload)

	r = p.answer(p.send(esproto.CmdReadAllEventsForward, nil, &esproto.ReadAllEvents{
		CommitPosition: &zero, PreparePosition: &zero, MaxCount: proto.Int32(10),
	}))
	assert.Empty(t, zeros(t, r.payload, all), "%x", r.payload)

	r = p.answer(p.send(esproto.CmdReadEvent, nil, &esproto.ReadEvent{EventStreamId: &stream, EventNumber: &zero}))
	assert.Empty(t, zeros(t, r.payload, map[protowire.Number]map[protowire.Number]bool{2: {1: true, 2: true}}),
		"%x", r.payload)

	r = p.answer(p.send(esproto.CmdSubscribeToStream, nil, &esproto.SubscribeToStream{EventStreamId: proto.String("")}))
	assert.Empty(t, zeros(t, r.payload, none), "%x", r.payload)
	p.write(frameOf(t, esproto.CmdUnsubscribeFromStream, r.id, nil, nil))
	dropped, ok := p.next()
	require.True(t, ok)
	assert.Empty(t, dropped.payload, "the reason Unsubscribed is 0")
}

func TestAnonymousIsDenied(t *testing.T) {
	refusing, open := run2310(t), run2310(t, estest.WithAnonymousAccess())

	p := connect(t, refusing)
	w := p.append(nil, "s", esproto.ExpectAny, newEvent("t", "d"))
	assert.Equal(t, esproto.OperationResult_AccessDenied, w.GetResult())
	assert.Equal(t, "Access Denied", w.GetMessage())
	assert.Equal(t, esproto.InvalidEventNumber, w.GetFirstEventNumber())
	page := p.read(nil, "s", 0, 10, false)
	assert.Equal(t, esproto.ReadStreamEventsCompleted_AccessDenied, page.GetResult())
	assert.EqualValues(t, -1, page.GetNextEventNumber())
	assert.Zero(t, page.GetLastEventNumber())
	assert.True(t, page.GetIsEndOfStream())
	var dropped esproto.SubscriptionDropped
	p.ask(esproto.CmdSubscribeToStream, nil, &esproto.SubscribeToStream{EventStreamId: proto.String("s")}, &dropped)
	assert.Equal(t, esproto.SubscriptionDropped_AccessDenied, dropped.GetReason())
	assert.Equal(t, esproto.OperationResult_Success,
		p.append(ops, "s", esproto.ExpectAny, newEvent("t", "d")).GetResult())

	p = connect(t, open)
	assert.Equal(t, esproto.OperationResult_Success,
		p.append(nil, "s", esproto.ExpectAny, newEvent("t", "d")).GetResult())
	createGroup(p, "s", "g", nil)
	r := p.ask(esproto.CmdConnectToPersistentSubscription, nil, &esproto.ConnectToPersistentSubscription{
		SubscriptionId: proto.String("g"), EventStreamId: proto.String("s"), AllowedInFlightMessages: proto.Int32(1),
	}, &dropped)
	assert.Equal(t, esproto.CmdSubscriptionDropped, r.cmd, "only an authenticated user can connect to a group")
	assert.Equal(t, esproto.SubscriptionDropped_AccessDenied, dropped.GetReason())
}

// createGroup creates a group as the administrator, after change had its say on the settings.
func createGroup(p *peer, stream, group string, change func(*esproto.CreatePersistentSubscription)) {
	p.t.Helper()
	m := usualGroup(stream, group)
	if change != nil {
		change(m)
	}
	var r esproto.CreatePersistentSubscriptionCompleted
	p.ask(esproto.CmdCreatePersistentSubscription, admin, m, &r)
	require.Equal(p.t, esproto.CreatePersistentSubscriptionCompleted_Success, r.GetResult(), r.GetReason())
}

func usualGroup(stream, group string) *esproto.CreatePersistentSubscription {
	return &esproto.CreatePersistentSubscription{
		SubscriptionGroupName: &group, EventStreamId: &stream, ResolveLinkTos: proto.Bool(false),
		StartFrom: proto.Int64(0), MessageTimeoutMilliseconds: proto.Int32(30_000), RecordStatistics: proto.Bool(false),
		LiveBufferSize: proto.Int32(500), ReadBatchSize: proto.Int32(20), BufferSize: proto.Int32(500),
		MaxRetryCount: proto.Int32(10), PreferRoundRobin: proto.Bool(true), CheckpointAfterTime: proto.Int32(2000),
		CheckpointMaxCount: proto.Int32(1000), CheckpointMinCount: proto.Int32(10), SubscriberMaxCount: proto.Int32(0),
		NamedConsumerStrategy: proto.String("RoundRobin"),
	}
}

// The client sends requests together with Authenticate, before it can know the result.
func TestOperationsBeforeAuthenticated(t *testing.T) {
	for persona, want := range map[estest.Persona]esproto.Command{
		estest.Persona5011: esproto.CmdPong,
		estest.Persona2310: esproto.CmdNotAuthenticated,
	} {
		t.Run(string(persona), func(t *testing.T) {
			p := connect(t, estest.Run(t, estest.WithPersona(persona)))
			auth, ping := newID(), newID()
			login := frameOf(t, esproto.CmdAuthenticate, auth, admin, nil)
			p.write(append(login, frameOf(t, esproto.CmdPing, ping, nil, nil)...))
			got := make(map[esproto.CorrelationID]esproto.Command)
			for range 2 {
				r, ok := p.next()
				require.True(t, ok)
				got[r.id] = r.cmd
			}
			assert.Equal(t, map[esproto.CorrelationID]esproto.Command{auth: esproto.CmdAuthenticated, ping: want}, got)
			assert.Equal(t, esproto.CmdPong, p.answer(p.send(esproto.CmdPing, nil, nil)).cmd, "afterwards all is well")
		})
	}
}

func TestDeletesSince2110(t *testing.T) {
	del := func(p *peer, stream string, expected int64, hard bool) *esproto.DeleteStreamCompleted {
		var r esproto.DeleteStreamCompleted
		p.ask(esproto.CmdDeleteStream, admin,
			&esproto.DeleteStream{EventStreamId: &stream, ExpectedVersion: &expected, HardDelete: &hard}, &r)
		return &r
	}
	p := connect(t, run2310(t))

	r := del(p, "never", esproto.ExpectAny, false)
	assert.Equal(t, esproto.OperationResult_WrongExpectedVersion, r.GetResult())
	assert.EqualValues(t, -1, r.GetCurrentVersion())

	p.mustAppend(admin, "soft", newEvent("t", "d"), newEvent("t", "d"))
	r = del(p, "soft", 0, false)
	assert.Equal(t, esproto.OperationResult_WrongExpectedVersion, r.GetResult())
	assert.EqualValues(t, 1, r.GetCurrentVersion())
	r = del(p, "soft", esproto.ExpectStreamExists, false)
	assert.Equal(t, esproto.OperationResult_Success, r.GetResult())
	assert.Zero(t, r.GetCurrentVersion(), "the first event of the metadata stream")
	assert.Equal(t, esproto.OperationResult_StreamDeleted,
		del(p, "soft", esproto.ExpectStreamExists, false).GetResult())
	assert.EqualValues(t, 1, del(p, "soft", esproto.ExpectAny, false).GetCurrentVersion())

	r = del(p, "hard", esproto.ExpectAny, true)
	assert.Equal(t, esproto.OperationResult_Success, r.GetResult())
	assert.Equal(t, esproto.DeletedStream-1, r.GetCurrentVersion())

	old := connect(t, estest.Run(t))
	assert.Equal(t, esproto.OperationResult_Success, del(old, "never", esproto.ExpectAny, false).GetResult())
	old.refused(esproto.CmdDeleteStream, nil, &esproto.DeleteStream{
		EventStreamId: proto.String("s"), ExpectedVersion: proto.Int64(esproto.ExpectStreamExists),
	})
}

func TestRepeatedWritesTellTheirPositionSince20(t *testing.T) {
	for persona, known := range map[estest.Persona]bool{estest.Persona5011: false, estest.Persona2310: true} {
		p := connectAs(t, estest.Run(t, estest.WithPersona(persona)), admin)
		events := []*esproto.NewEvent{newEvent("t", "a"), newEvent("t", "b")}
		first := p.append(nil, "s", esproto.ExpectAny, events...)
		again := p.append(nil, "s", esproto.ExpectAny, events...)
		exactly := p.append(nil, "s", esproto.ExpectNoStream, events...)
		want := int64(-1)
		if known {
			want = first.GetCommitPosition()
		}
		assert.Equal(t, want, again.GetCommitPosition(), persona)
		assert.Equal(t, want, exactly.GetPreparePosition(), persona)
		assert.Equal(t, first.GetLastEventNumber(), again.GetLastEventNumber())
	}
}

func TestGossipByVersion(t *testing.T) {
	httpPort := map[estest.Persona]string{
		estest.Persona414: "externalHttpPort", estest.Persona5011: "externalHttpPort",
		estest.Persona2310: "httpEndPointPort",
	}
	state := map[estest.Persona]string{
		estest.Persona414: "Master", estest.Persona5011: "Master", estest.Persona2310: "Leader",
	}
	for persona := range httpPort {
		s := estest.Run(t, estest.WithPersona(persona))
		var got struct {
			Members []map[string]any `json:"members"`
		}
		getJSON(t, s.HTTPURL()+"/gossip?format=json", &got)
		require.Len(t, got.Members, 1)
		m := got.Members[0]
		assert.Equal(t, state[persona], m["state"])
		assert.Contains(t, m, httpPort[persona])
		_, old := m["internalHttpIp"]
		assert.Equal(t, persona != estest.Persona2310, old)
		_, versioned := m["esVersion"]
		assert.Equal(t, persona == estest.Persona2310, versioned)
	}
}

func TestHealth(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona2310} {
		s := estest.Run(t, estest.WithPersona(persona))
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			res := request(t, method, s.HTTPURL()+"/health/live", nil, "")
			assert.Equal(t, http.StatusNoContent, res.StatusCode, "%s %s", persona, method)
		}
	}
}
