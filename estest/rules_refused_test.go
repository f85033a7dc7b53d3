package estest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// since20 are the personas that ask for rights before anything else.
var since20 = map[estest.Persona]bool{estest.Persona2310: true}

func TestRefusedReadsOfStreams(t *testing.T) {
	for _, persona := range personas {
		s := estest.Run(t, estest.WithPersona(persona))
		p := connect(t, s)
		p.mustAppend(admin, "$$closed", metadata(`{"$acl":{"$r":"$admins","$mr":"$admins"}}`))
		p.mustAppend(admin, "closed", newEvent("t", "a"))
		p.mustAppend(admin, "$system", newEvent("t", "a"))
		for _, stream := range []string{"closed", "$$closed", "$system", "$$$system", "$none", "$$$none"} {
			var e esproto.ReadEventCompleted
			p.ask(esproto.CmdReadEvent, ops, &esproto.ReadEvent{
				EventStreamId: &stream, EventNumber: proto.Int64(0), ResolveLinkTos: proto.Bool(true)}, &e)
			assert.Equal(t, esproto.ReadEventCompleted_AccessDenied, e.GetResult(), "%s: %s", persona, stream)
			assert.NotNil(t, e.GetEvent(), "an empty message")
			assert.Nil(t, e.GetEvent().GetEvent())
			assert.Equal(t, since20[persona], e.GetError() != "", "%s: %s", persona, stream)

			for _, cmd := range []esproto.Command{
				esproto.CmdReadStreamEventsForward, esproto.CmdReadStreamEventsBackward,
			} {
				page := p.readPage(cmd, ops, stream, 0, 10, true)
				assert.Equal(t, esproto.ReadStreamEventsCompleted_AccessDenied, page.GetResult(),
					"%s: %s", persona, stream)
				assert.Equal(t, since20[persona], page.GetError() != "", "%s: %s", persona, stream)
				assert.Equal(t, since20[persona], page.GetLastCommitPosition() == 0, "the log is not looked at")
			}
		}
	}
}

func TestRefusedReadsOfAll(t *testing.T) {
	type read struct {
		cmd     esproto.Command
		request proto.Message
		refused esproto.Command
	}
	for _, persona := range personas {
		p := connect(t, estest.Run(t, estest.WithPersona(persona)))
		for _, from := range []int64{0, -1, 1 << 50} {
			all := &esproto.ReadAllEvents{CommitPosition: &from, PreparePosition: &from, MaxCount: proto.Int32(3)}
			filtered := &esproto.FilteredReadAllEvents{CommitPosition: &from, PreparePosition: &from,
				MaxCount: proto.Int32(3), MaxSearchWindow: proto.Int32(9), Filter: &esproto.Filter{
					Context: esproto.Filter_StreamId.Enum(), Type: esproto.Filter_Prefix.Enum(),
					Data: []string{"a"}}}
			forward, backward := esproto.CmdReadAllEventsForwardCompleted, esproto.CmdReadAllEventsBackwardCompleted
			reads := []read{
				{esproto.CmdReadAllEventsForward, all, forward}, {esproto.CmdReadAllEventsBackward, all, backward},
			}
			if since20[persona] {
				reads = append(reads, read{esproto.CmdFilteredReadAllEventsForward, filtered, forward},
					read{esproto.CmdFilteredReadAllEventsBackward, filtered, backward})
			}
			for _, tc := range reads {
				var r esproto.ReadAllEventsCompleted
				got := p.ask(tc.cmd, ops, tc.request, &r)
				assert.Equal(t, tc.refused, got.cmd, "%s: %v from %d", persona, tc.cmd, from)
				assert.Equal(t, esproto.ReadAllEventsCompleted_AccessDenied, r.GetResult())
				assert.Equal(t, since20[persona], r.GetError() != "", "%s: %v", persona, tc.cmd)
				assert.Equal(t, int64(-1), r.GetNextCommitPosition())
				assert.Equal(t, int64(-1), r.GetNextPreparePosition())
				if since20[persona] {
					assert.Equal(t, int64(-1), r.GetCommitPosition(), "%v from %d", tc.cmd, from)
					assert.Equal(t, int64(-1), r.GetPreparePosition(), "%v from %d", tc.cmd, from)
				} else if from >= 0 {
					assert.Equal(t, from, r.GetCommitPosition(), "%v from %d", tc.cmd, from)
				}
			}
		}
	}
}

func TestScavengingWithoutRights(t *testing.T) {
	for persona, answer := range map[estest.Persona]struct{ any, text bool }{
		estest.Persona414: {any: true, text: true}, estest.Persona5011: {any: true}, estest.Persona2310: {},
	} {
		s := estest.Run(t, estest.WithPersona(persona), estest.WithUser("plain", "secret"))
		for _, as := range []*esproto.Credentials{nil, plain} {
			p := connect(t, s)
			id := p.send(esproto.CmdScavengeDatabase, as, nil)
			if answer.any {
				var r esproto.ScavengeDatabaseResponse
				p.answer(id).into(t, &r)
				assert.Equal(t, esproto.ScavengeDatabaseResponse_Unauthorized, r.GetResult(), persona)
				assert.Equal(t, answer.text, r.GetScavengeId() != "", persona)
			}
			pings(t, p) // and nothing else comes
			p.ask(esproto.CmdScavengeDatabase, ops, nil, &esproto.ScavengeDatabaseResponse{})
		}
	}
}

func TestWhoMayWriteToATransaction(t *testing.T) {
	ok, denied := esproto.OperationResult_Success, esproto.OperationResult_AccessDenied
	for persona, unchecked := range map[estest.Persona]esproto.OperationResult{
		estest.Persona414: ok, estest.Persona5011: ok, estest.Persona2310: denied,
	} {
		p := connect(t, estest.Run(t, estest.WithPersona(persona)))
		p.mustAppend(admin, "$$tx", metadata(`{"$acl":{"$w":"$admins"}}`))
		stream := "tx"
		var start esproto.TransactionStartCompleted
		start1 := &esproto.TransactionStart{EventStreamId: &stream, ExpectedVersion: proto.Int64(-1)}
		p.ask(esproto.CmdTransactionStart, ops, start1, &start)
		assert.Equal(t, denied, start.GetResult(), persona)
		assert.Equal(t, int64(-1), start.GetTransactionId(), persona)
		p.ask(esproto.CmdTransactionStart, admin, start1, &start)
		require.Equal(t, ok, start.GetResult(), persona)
		write := func(as *esproto.Credentials, id int64, want esproto.OperationResult) {
			t.Helper()
			var r esproto.TransactionWriteCompleted
			p.ask(esproto.CmdTransactionWrite, as, &esproto.TransactionWrite{
				TransactionId: &id, Events: []*esproto.NewEvent{newEvent("t", "x")}}, &r)
			assert.Equal(t, want, r.GetResult(), persona)
			assert.Equal(t, want == denied, r.GetMessage() != "", persona)
			assert.Equal(t, id, r.GetTransactionId(), persona)
		}
		commit := func(as *esproto.Credentials, id int64) *esproto.TransactionCommitCompleted {
			var r esproto.TransactionCommitCompleted
			p.ask(esproto.CmdTransactionCommit, as, &esproto.TransactionCommit{TransactionId: &id}, &r)
			return &r
		}
		write(admin, start.GetTransactionId(), ok)
		write(ops, start.GetTransactionId(), unchecked)
		write(admin, 1<<50, unchecked)
		assert.Equal(t, denied, commit(admin, 1<<50).GetResult(), persona)
		r := commit(ops, start.GetTransactionId())
		assert.Equal(t, denied, r.GetResult(), persona)
		assert.Equal(t, esproto.InvalidEventNumber, r.GetFirstEventNumber(), persona)
		r = commit(admin, start.GetTransactionId())
		assert.Equal(t, ok, r.GetResult(), persona)
		want := int64(0)
		if unchecked == ok {
			want = 1 // the event of ops is there as well
		}
		assert.Equal(t, want, r.GetLastEventNumber(), persona)
	}
}

func TestRightsOfNamesByTheirDollars(t *testing.T) {
	no, yes := esproto.OperationResult_AccessDenied, esproto.OperationResult_Success
	for _, tc := range []struct {
		stream          string
		as              *esproto.Credentials
		until5, since20 esproto.OperationResult
	}{
		{"x", ops, yes, yes},
		{"$$x", ops, yes, yes}, // metadata of a user stream
		{"$x", ops, no, no}, {"$x", admin, yes, yes},
		{"$$$x", ops, no, no}, {"$$$x", admin, yes, yes}, // metadata of a system stream
		{"$$$$x", ops, no, no}, {"$$$$x", admin, no, yes}, // metadata of metadata
		{"$$$$$x", ops, no, no}, {"$$$$$x", admin, no, yes},
		{"$$$$$$x", ops, no, no}, {"$$$$$$x", admin, no, yes},
		{"$$$all", ops, no, no}, {"$$$all", admin, yes, yes}, {"$all", admin, no, no},
	} {
		for _, persona := range personas {
			want := tc.until5
			if since20[persona] {
				want = tc.since20
			}
			p := connect(t, estest.Run(t, estest.WithPersona(persona)))
			e := metadata(`{}`)
			assert.Equal(t, want, p.append(tc.as, tc.stream, -2, e).GetResult(), "%s: write %s", persona, tc.stream)
			if tc.stream == "$all" {
				continue
			}
			page := p.read(tc.as, tc.stream, 0, 1, false)
			assert.Equal(t, want == no, page.GetResult() == esproto.ReadStreamEventsCompleted_AccessDenied,
				"%s: read %s", persona, tc.stream)
			if want == yes {
				assert.Len(t, page.GetEvents(), 1, "%s: read %s", persona, tc.stream)
			}
			id := p.send(esproto.CmdSubscribeToStream, tc.as, &esproto.SubscribeToStream{EventStreamId: &tc.stream})
			assert.Equal(t, want == no, p.answer(id).cmd == esproto.CmdSubscriptionDropped,
				"%s: subscribe to %s", persona, tc.stream)
			var d esproto.DeleteStreamCompleted
			p.ask(esproto.CmdDeleteStream, admin, &esproto.DeleteStream{
				EventStreamId: &tc.stream, ExpectedVersion: proto.Int64(-2)}, &d)
			assert.Equal(t, isMeta(tc.stream), d.GetResult() == no, "%s: delete %s", persona, tc.stream)
		}
	}
}

func isMeta(stream string) bool { return len(stream) >= 2 && stream[:2] == "$$" }

func TestMetadataOfMetadataSaysNothing(t *testing.T) {
	p := connectAs(t, run2310(t), admin)
	for range 3 {
		p.mustAppend(nil, "$$x", metadata(`{"mine":1}`))
	}
	p.mustAppend(nil, "$$$$x", metadata(`{"$maxCount":2,"$acl":{"$mr":"ops"}}`))
	p.mustAppend(nil, "$$$$x", metadata(`{"$maxCount":3}`))
	assert.Len(t, p.read(nil, "$$x", 0, 10, false).GetEvents(), 1, "a metadata stream shows its last event")
	assert.Len(t, p.read(nil, "$$$$x", 0, 10, false).GetEvents(), 1)
	assert.Equal(t, esproto.ReadStreamEventsCompleted_AccessDenied, p.read(ops, "$$$$x", 0, 10, false).GetResult())
	p.appendAny("x", 1)
	p.delete("x", true)
	assert.Equal(t, esproto.ReadStreamEventsCompleted_StreamDeleted, p.read(nil, "$$$$x", 0, 1, false).GetResult())

	var e esproto.ReadEventCompleted
	event := func(stream string) esproto.ReadEventCompleted_ReadEventResult {
		p.ask(esproto.CmdReadEvent, nil, &esproto.ReadEvent{EventStreamId: &stream, EventNumber: proto.Int64(0)}, &e)
		return e.GetResult()
	}
	p.mustAppend(nil, "$$y", metadata(`{}`))
	assert.Equal(t, esproto.ReadEventCompleted_Success, event("$$$$y"), "$$y is there")
	assert.Equal(t, esproto.ReadEventCompleted_NoStream, event("$$$$z"))
	assert.Equal(t, esproto.ReadEventCompleted_StreamDeleted, event("$$$$x"))
}

func TestAGroupOfNoStreamTakesTheRightsOfAllSince20(t *testing.T) {
	p := connect(t, run2310(t))
	for as, reason := range map[*esproto.Credentials]esproto.SubscriptionDropped_SubscriptionDropReason{
		ops: esproto.SubscriptionDropped_AccessDenied, admin: esproto.SubscriptionDropped_NotFound,
	} {
		var dropped esproto.SubscriptionDropped
		p.ask(esproto.CmdConnectToPersistentSubscription, as, &esproto.ConnectToPersistentSubscription{
			SubscriptionId: proto.String("g"), EventStreamId: proto.String(""),
			AllowedInFlightMessages: proto.Int32(1)}, &dropped)
		assert.Equal(t, reason, dropped.GetReason(), as.Login)
	}
}

func TestEmptyPasswords(t *testing.T) {
	empty := &esproto.Credentials{Login: "admin"}
	read := &esproto.ReadEvent{EventStreamId: proto.String("s"), EventNumber: proto.Int64(0)}
	for _, persona := range personas {
		s := estest.Run(t, estest.WithPersona(persona))
		for _, tc := range []struct {
			cmd     esproto.Command
			request proto.Message // without one, servers up to 5.0 take the credentials to be cut off
		}{{esproto.CmdAuthenticate, nil}, {esproto.CmdPing, nil}, {esproto.CmdReadEvent, read}} {
			p := connect(t, s)
			id := p.send(tc.cmd, empty, tc.request)
			if tc.request == nil && !since20[persona] {
				for {
					if r, open := p.next(); !open {
						break
					} else if r.cmd != esproto.CmdBadRequest {
						t.Errorf("%s: %v is answered by %v", persona, tc.cmd, r.cmd)
					}
				}
				continue
			}
			assert.Equal(t, esproto.CmdNotAuthenticated, p.answer(id).cmd, "%s: %v", persona, tc.cmd)
			p.ask(esproto.CmdReadEvent, admin, read, &esproto.ReadEventCompleted{}) // the connection goes on
		}
	}
}

func TestStartPositionsOfGroups(t *testing.T) {
	for _, persona := range personas {
		p := connect(t, estest.Run(t, estest.WithPersona(persona), estest.WithAnonymousAccess()))
		p.createGroup("s", "g")
		for from, bad := range map[int64]bool{-1: false, 0: false, 1 << 40: false, -2: true, -1 << 40: true} {
			m := usualGroup("s", "new")
			m.StartFrom = &from
			var r esproto.CreatePersistentSubscriptionCompleted
			want := esproto.CreatePersistentSubscriptionCompleted_Success
			if bad && since20[persona] {
				want = esproto.CreatePersistentSubscriptionCompleted_Fail
			}
			p.ask(esproto.CmdCreatePersistentSubscription, admin, m, &r)
			assert.Equal(t, want, r.GetResult(), "%s: create from %d", persona, from)
			assert.Equal(t, want != esproto.CreatePersistentSubscriptionCompleted_Success, r.GetReason() != "")
			p.ask(esproto.CmdDeletePersistentSubscription, admin, &esproto.DeletePersistentSubscription{
				EventStreamId: m.EventStreamId, SubscriptionGroupName: m.SubscriptionGroupName},
				&esproto.DeletePersistentSubscriptionCompleted{})
			m.SubscriptionGroupName = proto.String("g")
			p.ask(esproto.CmdUpdatePersistentSubscription, admin, m, &r)
			assert.Equal(t, want, r.GetResult(), "%s: update to %d", persona, from)
		}
	}
}

func TestGroupsNeedAuthenticatedConsumersSince20(t *testing.T) {
	for _, persona := range personas {
		p := connect(t, estest.Run(t, estest.WithPersona(persona), estest.WithAnonymousAccess()))
		p.createGroup("s", "g")
		id := p.send(esproto.CmdConnectToPersistentSubscription, nil, &esproto.ConnectToPersistentSubscription{
			SubscriptionId: proto.String("g"), EventStreamId: proto.String("s"),
			AllowedInFlightMessages: proto.Int32(1)})
		want := esproto.CmdPersistentSubscriptionConfirmation
		if since20[persona] {
			want = esproto.CmdSubscriptionDropped
		}
		assert.Equal(t, want, p.answer(id).cmd, persona)
		id = p.send(esproto.CmdSubscribeToStream, nil, &esproto.SubscribeToStream{EventStreamId: proto.String("s")})
		assert.Equal(t, esproto.CmdSubscriptionConfirmation, p.answer(id).cmd, "%s: but not volatile ones", persona)
	}
}

func TestTheFirstFaultOfAGroupIsReported(t *testing.T) {
	const (
		success  = esproto.CreatePersistentSubscriptionCompleted_Success
		existing = esproto.CreatePersistentSubscriptionCompleted_AlreadyExists // of updates and deletes: there is none
		fail     = esproto.CreatePersistentSubscriptionCompleted_Fail
	)
	type result = esproto.CreatePersistentSubscriptionCompleted_CreatePersistentSubscriptionResult
	for _, tc := range []struct {
		what                          string
		change                        func(m *esproto.CreatePersistentSubscription)
		until5, since22               result // of a create of a group that exists
		updateUntil5, updateSince22   result
		missingUntil5, missingSince22 result // of an update of a group that does not exist
	}{
		{"nothing", func(*esproto.CreatePersistentSubscription) {},
			existing, existing, success, success, existing, existing},
		{"the strategy",
			func(m *esproto.CreatePersistentSubscription) { m.NamedConsumerStrategy = proto.String("Best") },
			existing, fail, fail, fail, existing, existing},
		{"the start", func(m *esproto.CreatePersistentSubscription) { m.StartFrom = proto.Int64(-2) },
			existing, fail, success, fail, existing, existing},
		{"the batch", func(m *esproto.CreatePersistentSubscription) { m.ReadBatchSize = proto.Int32(500) },
			existing, existing, success, fail, existing, existing},
		{"the stream", func(m *esproto.CreatePersistentSubscription) { m.EventStreamId = proto.String("$all") },
			fail, fail, existing, fail, existing, fail},
		{"its absence", func(m *esproto.CreatePersistentSubscription) { m.EventStreamId = proto.String("") },
			fail, fail, existing, fail, existing, fail},
	} {
		for _, persona := range personas {
			p := connect(t, estest.Run(t, estest.WithPersona(persona)))
			p.createGroup("s", "g")
			ask := func(cmd esproto.Command, name string) result {
				m := usualGroup("s", name)
				tc.change(m)
				var r esproto.CreatePersistentSubscriptionCompleted
				if cmd == esproto.CmdDeletePersistentSubscription {
					p.ask(cmd, admin, &esproto.DeletePersistentSubscription{
						EventStreamId: m.EventStreamId, SubscriptionGroupName: m.SubscriptionGroupName}, &r)
				} else {
					p.ask(cmd, admin, m, &r)
				}
				return r.GetResult()
			}
			create, update, missing := tc.until5, tc.updateUntil5, tc.missingUntil5
			if since20[persona] {
				create, update, missing = tc.since22, tc.updateSince22, tc.missingSince22
			}
			what := string(persona) + ": " + tc.what
			assert.Equal(t, create, ask(esproto.CmdCreatePersistentSubscription, "g"), "%s: create", what)
			assert.Equal(t, update, ask(esproto.CmdUpdatePersistentSubscription, "g"), "%s: update", what)
			assert.Equal(t, missing, ask(esproto.CmdUpdatePersistentSubscription, "no"), "%s: update of none", what)
			assert.Equal(t, missing, ask(esproto.CmdDeletePersistentSubscription, "no"), "%s: delete of none", what)
		}
	}
}
