package estest_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// The rules of the server that the recordings do not show.

func (p *peer) appendAny(stream string, n int) []*esproto.NewEvent {
	p.t.Helper()
	events := make([]*esproto.NewEvent, n)
	for i := range events {
		events[i] = newEvent("t", fmt.Sprint(i))
	}
	p.mustAppend(nil, stream, events...)
	return events
}

func TestReadingAtTheGreatestNumbers(t *testing.T) {
	p := connect(t, estest.Run(t))
	p.appendAny("s", 3)
	const most = math.MaxInt64
	for what, tc := range map[string]struct {
		cmd      esproto.Command
		from     int64
		count    int32
		next     int64
		end      bool
		returned int
	}{
		"just before the wrap": {
			cmd: esproto.CmdReadStreamEventsForward, from: most - 9, count: 10, next: math.MinInt64, end: true,
		},
		"the window wraps around": {cmd: esproto.CmdReadStreamEventsForward, from: most, count: 10, next: 0},
		"far behind the end": {
			cmd: esproto.CmdReadStreamEventsForward, from: 1 << 40, count: 10, next: 3, end: true,
		},
		"backward from far": {cmd: esproto.CmdReadStreamEventsBackward, from: most, count: 4096, next: 2},
		"backward, one short": {
			cmd: esproto.CmdReadStreamEventsBackward, from: 4, count: 3, next: 1, returned: 1,
		},
		"backward to the beginning": {
			cmd: esproto.CmdReadStreamEventsBackward, from: 2, count: 3, next: -1, end: true, returned: 3,
		},
	} {
		r := p.readPage(tc.cmd, nil, "s", tc.from, tc.count, false)
		assert.Equal(t, esproto.ReadStreamEventsCompleted_Success, r.GetResult(), what)
		assert.Equal(t, tc.next, r.GetNextEventNumber(), what)
		assert.Equal(t, tc.end, r.GetIsEndOfStream(), what)
		assert.Len(t, r.GetEvents(), tc.returned, what)
		assert.Equal(t, int64(2), r.GetLastEventNumber(), what)
	}
}

func TestReadingAllAtOddPositions(t *testing.T) {
	p := connectAs(t, estest.Run(t), admin)
	first := p.mustAppend(nil, "s", newEvent("t", "a")).GetCommitPosition()
	last := p.mustAppend(nil, "s", newEvent("t", "b")).GetCommitPosition()
	read := func(cmd esproto.Command, commit, prepare int64, count int32) *esproto.ReadAllEventsCompleted {
		var r esproto.ReadAllEventsCompleted
		p.ask(cmd, nil,
			&esproto.ReadAllEvents{CommitPosition: &commit, PreparePosition: &prepare, MaxCount: &count}, &r)
		return &r
	}
	const forward, backward = esproto.CmdReadAllEventsForward, esproto.CmdReadAllEventsBackward
	for what, tc := range map[string]struct {
		cmd             esproto.Command
		commit, prepare int64
		count           int32
		result          esproto.ReadAllEventsCompleted_ReadAllResult
		data            string
	}{
		"at an event":              {cmd: forward, commit: first, prepare: first, count: 2, data: "ab"},
		"at its commit, behind it": {cmd: forward, commit: first, prepare: first + 1, count: 2, data: "b"},
		"inside of an event":       {cmd: forward, commit: first + 1, prepare: first + 1, count: 2, result: 2},
		"behind the last event":    {cmd: forward, commit: last + 1, prepare: 0, count: 2},
		"far behind":               {cmd: forward, commit: 1 << 50, prepare: 0, count: 2},
		"backward from an event":   {cmd: backward, commit: last, prepare: last, count: 1, data: "a"},
		// without the records that end at last
		"backward, but behind no record": {cmd: backward, commit: last, prepare: 0, count: 1, data: "admin"},
		"backward from inside":           {cmd: backward, commit: last + 1, prepare: last + 1, count: 2, result: 2},
		"backward from too far":          {cmd: backward, commit: 1 << 50, prepare: 1 << 50, count: 2, result: 2},
		"half negative":                  {cmd: forward, commit: -1, prepare: 0, count: 2, result: 2},
		"nothing from inside":            {cmd: forward, commit: first + 1, prepare: 0, count: 0},
		"less than nothing":              {cmd: backward, commit: last, prepare: last, count: -5},
	} {
		r := read(tc.cmd, tc.commit, tc.prepare, tc.count)
		assert.Equal(t, tc.result, r.GetResult(), what)
		if tc.data == "admin" {
			require.Len(t, r.GetEvents(), 1, what)
			assert.NotEqual(t, "a", string(r.GetEvents()[0].GetEvent().GetData()), what)
			continue
		}
		var data strings.Builder
		for _, e := range r.GetEvents() {
			data.Write(e.GetEvent().GetData())
		}
		assert.Equal(t, tc.data, data.String(), what)
	}
	invalid := int64(-7)
	var r esproto.ReadAllEventsCompleted
	other := connect(t, p.s)
	other.ask(forward, nil,
		&esproto.ReadAllEvents{CommitPosition: &invalid, PreparePosition: &invalid, MaxCount: proto.Int32(1)}, &r)
	assert.Equal(t, esproto.ReadAllEventsCompleted_Error, r.GetResult(), "a wrong position counts before rights")
}

func TestMetadataThatIsWrongAnywhereCountsForNothing(t *testing.T) {
	p := connect(t, estest.Run(t))
	for meta, visible := range map[string]int{
		`{"$maxCount":2}`:                               2,
		`{"$maxCount":2} and more`:                      2,
		`{"$maxCount":2,"$tb":-1}`:                      2,
		`{"$maxCount":-2,"$tb":4}`:                      1,
		`{"$maxCount":2,"mine":{"a":[1,null]}}`:         2,
		`{"$maxCount":2.0}`:                             5,
		`{"$maxCount":"2"}`:                             5,
		`{"$maxCount":2,"$tb":null}`:                    5,
		`{"$maxCount":2,"$tmp":1}`:                      5,
		`{"$maxCount":2,"$cacheControl":"a"}`:           5,
		`{"$maxCount":2,"$maxAge":999999999999999}`:     5,
		`{"$maxCount":2,"$acl":{}}`:                     2,
		`{"$maxCount":2,"$acl":null}`:                   5,
		`{"$maxCount":2,"$acl":{"$r":null}}`:            5,
		`{"$maxCount":2,"$acl":{"$r":["$all",1]}}`:      5,
		`{"$maxCount":2,"$acl":{"$r":"$all","more":1}}`: 5,
		`["$maxCount"]`:                                 5,
		`null`:                                          5,
		``:                                              5,
	} {
		stream := "meta" + fmt.Sprint(len(meta), meta)
		p.appendAny(stream, 5)
		p.mustAppend(nil, "$$"+stream, metadata(meta))
		assert.Len(t, p.read(nil, stream, 0, 10, false).GetEvents(), visible, meta)
	}
}

func TestSettingsThatAreWrongAnywhereCountForNothing(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	write := func() esproto.OperationResult { return p.append(nil, "s", -2, newEvent("t", "")).GetResult() }
	denied, ok := esproto.OperationResult_AccessDenied, esproto.OperationResult_Success
	for _, tc := range []struct {
		settings string
		want     esproto.OperationResult
	}{
		{`{"$userStreamAcl":{"$w":"$ops"}}`, denied},
		{`{"$userStreamAcl":{"$r":"$ops"}}`, ok},
		{`{"$userStreamAcl":{"$w":"$ops","more":"$ops"}}`, ok},
		{`{"$userStreamAcl":{"$w":[]},"mine":1}`, denied},
		{`{"$userStreamAcl":{"$w":[]},"$systemStreamAcl":null}`, ok},
		{`{"$systemStreamAcl":{"$w":"$all"}}`, ok},
	} {
		p.mustAppend(admin, "$settings", newEvent("settings", tc.settings))
		assert.Equal(t, tc.want, write(), tc.settings)
	}
	assert.Equal(t, ok, p.append(nil, "$mine", -2, newEvent("t", "")).GetResult(), "system streams are open now")
	var r esproto.ReadAllEventsCompleted
	p.mustAppend(admin, "$settings", newEvent("settings", `{"$systemStreamAcl":{"$r":"$all"}}`))
	p.ask(esproto.CmdReadAllEventsForward, nil, &esproto.ReadAllEvents{MaxCount: proto.Int32(1)}, &r)
	assert.Equal(t, esproto.ReadAllEventsCompleted_Success, r.GetResult(), "$all is a system stream, too")
}

func TestWritesToTheMetadataOfDeletedStreams(t *testing.T) {
	s := estest.Run(t)
	p := connect(t, s)
	meta := func(stream string) esproto.OperationResult {
		return p.append(nil, "$$"+stream, -2, metadata(`{"a":1}`)).GetResult()
	}
	p.appendAny("never", 1)
	p.delete("never", true)
	assert.Equal(t, esproto.OperationResult_StreamDeleted, meta("never"))

	p.appendAny("had", 1)
	assert.Equal(t, esproto.OperationResult_Success, meta("had"))
	p.delete("had", true)
	assert.Equal(t, esproto.OperationResult_Success, meta("had"), "the writer goes by the number that it remembers")
	assert.Equal(t, esproto.ReadStreamEventsCompleted_StreamDeleted, p.read(nil, "$$had", 0, 1, false).GetResult())
	require.NoError(t, s.Restart())
	p = connect(t, s)
	assert.Equal(t, esproto.OperationResult_StreamDeleted, meta("had"))

	p.delete("nothing", false)
	assert.Equal(t, esproto.OperationResult_Success, meta("nothing"))
	var last esproto.ReadEventCompleted
	p.ask(esproto.CmdReadEvent, nil,
		&esproto.ReadEvent{EventStreamId: proto.String("$$nothing"), EventNumber: proto.Int64(-1)}, &last)
	assert.Equal(t, int64(2), last.GetEvent().GetEvent().GetEventNumber(),
		"the delete, the metadata, and the copy that brings it back")
	assert.JSONEq(t, `{"a":1,"$tb":0}`, string(last.GetEvent().GetEvent().GetData()))
}

func TestLinksOfEveryForm(t *testing.T) {
	p := connect(t, estest.Run(t))
	p.appendAny("t@s", 2)
	p.mustAppend(nil, "$$closed", metadata(`{"$acl":{"$r":"$admins"}}`))
	const resolved, dead, none = "resolved", "dead", "no link"
	for data, want := range map[string]string{
		"0@t@s": resolved, "1@t@s": resolved, "-1@t@s": resolved, " 1 @t@s": resolved, "+1@t@s": resolved,
		"2@t@s": dead, "-2@t@s": dead, "0@t": dead, "0@": dead, "0": dead,
		"x@t@s": none, "@t@s": none, "": none, "1.0@t@s": none,
	} {
		stream := "links " + data
		p.mustAppend(nil, stream, newEvent("$>", data))
		e := p.read(nil, stream, 0, 1, true).GetEvents()[0]
		switch want {
		case resolved:
			assert.Equal(t, "t@s", e.GetEvent().GetEventStreamId(), data)
			assert.NotNil(t, e.GetLink(), data)
		case dead:
			assert.Nil(t, e.GetEvent(), data)
			assert.NotNil(t, e.GetLink(), data)
		default:
			assert.Equal(t, stream, e.GetEvent().GetEventStreamId(), data)
			assert.Nil(t, e.GetLink(), data)
		}
	}
	p.mustAppend(nil, "to closed", newEvent("$>", "0@closed"))
	assert.Equal(t, esproto.ReadStreamEventsCompleted_AccessDenied, p.read(nil, "to closed", 0, 1, true).GetResult(),
		"it is asked for the right before it is known whether there is anything")
}

func TestATransactionEndsAtItsFirstCommit(t *testing.T) {
	p := connect(t, estest.Run(t))
	stream := "tx"
	var start esproto.TransactionStartCompleted
	p.ask(esproto.CmdTransactionStart, nil,
		&esproto.TransactionStart{EventStreamId: &stream, ExpectedVersion: proto.Int64(0)}, &start)
	id := start.TransactionId
	write := func(e *esproto.NewEvent) {
		var r esproto.TransactionWriteCompleted
		p.ask(esproto.CmdTransactionWrite, nil,
			&esproto.TransactionWrite{TransactionId: id, Events: []*esproto.NewEvent{e}}, &r)
		require.Equal(t, esproto.OperationResult_Success, r.GetResult())
	}
	commit := func() *esproto.TransactionCommitCompleted {
		var r esproto.TransactionCommitCompleted
		p.ask(esproto.CmdTransactionCommit, nil, &esproto.TransactionCommit{TransactionId: id}, &r)
		return &r
	}
	write(newEvent("t", "first"))
	assert.Equal(t, esproto.OperationResult_WrongExpectedVersion, commit().GetResult())
	write(newEvent("t", "too late"))
	p.appendAny(stream, 1)
	r := commit()
	assert.Equal(t, esproto.OperationResult_Success, r.GetResult(), "the version is right now")
	assert.Equal(t, int64(1), r.GetLastEventNumber())
	assert.Equal(t, int64(1), commit().GetLastEventNumber(), "once more")
	assert.Len(t, p.read(nil, stream, 0, 10, false).GetEvents(), 2)
}

func TestTheCacheOfIDsForgetsTheOldest(t *testing.T) {
	p := connect(t, estest.Run(t))
	old := p.appendAny("s", 1)
	assert.Equal(t, int64(0), p.append(nil, "s", -2, old...).GetFirstEventNumber())
	long := strings.Repeat("n", 40_000) // an entry of 80 KB: some hundred of them fill the cache
	for range 120 {
		p.appendAny(long, 1)
	}
	assert.Equal(t, int64(1), p.append(nil, "s", -2, old...).GetFirstEventNumber(), "it is written again")
	assert.Equal(t, int64(0), p.append(nil, "s", -1, old...).GetFirstEventNumber(),
		"explicit versions look at the stream")
}

func TestRepliesThatAClientSends(t *testing.T) {
	p := connect(t, estest.Run(t))
	p.send(esproto.CmdWriteEventsCompleted, nil, nil)
	p.send(esproto.CmdNotHandled, nil, nil)
	pings(t, p)
	p.refused(esproto.CmdReadEventCompleted, nil, nil)
	p.refused(esproto.CmdSubscriptionDropped, nil, nil)
}

func TestAFailedLoginIsTriedAgainUpTo50(t *testing.T) {
	for persona, want := range map[estest.Persona]esproto.Command{
		estest.Persona414: esproto.CmdPong, estest.Persona5011: esproto.CmdPong,
		estest.Persona2310: esproto.CmdNotAuthenticated,
	} {
		s := estest.Run(t, estest.WithPersona(persona))
		p := connect(t, s)
		p.answer(p.send(esproto.CmdAuthenticate, jane, nil))
		assert.Equal(t, esproto.CmdNotAuthenticated, p.answer(p.send(esproto.CmdPing, nil, nil)).cmd)
		res := request(t, "POST", s.HTTPURL()+"/users", admin, `{"loginName":"jane","password":"secret"}`)
		require.Equal(t, 201, res.StatusCode)
		assert.Equal(t, want, p.answer(p.send(esproto.CmdPing, nil, nil)).cmd, persona)
	}
}

func TestAVersionIsCutToAByte(t *testing.T) {
	for version, speaks := range map[int32]bool{
		0: true, 1: true, 2: false, 255: false, -1: false, 256: true, 257: true,
	} {
		p := dial(t, estest.Run(t))
		p.ask(esproto.CmdIdentifyClient, nil, &esproto.IdentifyClient{Version: &version}, &esproto.ClientIdentified{})
		ping, heartbeat := p.send(esproto.CmdPing, nil, nil), p.send(esproto.CmdHeartbeatRequest, nil, nil)
		if speaks {
			p.answer(ping)
		}
		p.answer(heartbeat)
	}
}

// group creates a group with settings that deviate from the usual ones.
func (p *peer) group(stream, name string, change func(m *esproto.CreatePersistentSubscription)) {
	p.t.Helper()
	m := &esproto.CreatePersistentSubscription{
		EventStreamId: &stream, SubscriptionGroupName: &name, StartFrom: proto.Int64(0),
		MessageTimeoutMilliseconds: proto.Int32(30_000), LiveBufferSize: proto.Int32(500),
		ReadBatchSize: proto.Int32(20), BufferSize: proto.Int32(500), MaxRetryCount: proto.Int32(10),
		CheckpointAfterTime: proto.Int32(1000), CheckpointMaxCount: proto.Int32(500),
		CheckpointMinCount: proto.Int32(10), NamedConsumerStrategy: proto.String("RoundRobin"),
	}
	change(m)
	var r esproto.CreatePersistentSubscriptionCompleted
	p.ask(esproto.CmdCreatePersistentSubscription, admin, m, &r)
	require.Equal(p.t, esproto.CreatePersistentSubscriptionCompleted_Success, r.GetResult(), r.GetReason())
}

// originalID is the id to acknowledge an event by.
func originalID(m *esproto.PersistentSubscriptionStreamEventAppeared) []byte {
	if link := m.GetEvent().GetLink(); link != nil {
		return link.GetEventId()
	}
	return m.GetEvent().GetEvent().GetEventId()
}

// receives takes n events of a subscription, and makes sure that no more come.
func (p *peer) receives(sub esproto.CorrelationID, n int) (ids [][]byte) {
	p.t.Helper()
	for range n {
		ids = append(ids, originalID(p.delivered(sub)))
	}
	pings(p.t, p)
	return ids
}

func TestGroupsReadOnWhenAcksHaveMadeRoom(t *testing.T) {
	p := connectAs(t, estest.Run(t), admin)
	p.appendAny("s", 30)
	p.group("s", "g", func(m *esproto.CreatePersistentSubscription) {
		m.BufferSize, m.ReadBatchSize, m.LiveBufferSize = proto.Int32(10), proto.Int32(6), proto.Int32(10)
	})
	sub := p.joinWith("s", "g", 100)
	ids := p.receives(sub, 6) // the first page that was read when the group began: there was room for one page
	p.ack(sub, "s", "g", ids[0])
	ids = append(ids, p.receives(sub, 6)...)
	p.ack(sub, "s", "g", ids[1:3]...)
	p.receives(sub, 6)
	p.ack(sub, "s", "g", []byte("an unknown id 16")) // also that one is an ack
	p.receives(sub, 6)
}

func TestGroupsTakeTheNewestEventsWhenTheyMeetThem(t *testing.T) {
	p := connectAs(t, estest.Run(t), admin)
	p.group("s", "g", func(m *esproto.CreatePersistentSubscription) {
		m.StartFrom = proto.Int64(-1)
		m.BufferSize, m.ReadBatchSize, m.LiveBufferSize = proto.Int32(5), proto.Int32(2), proto.Int32(10)
	})
	p.appendAny("s", 20) // five are kept, the next ones are to be read
	sub := p.joinWith("s", "g", 100)
	ids := p.receives(sub, 5)
	p.ack(sub, "s", "g", ids[0])
	p.receives(sub, 15) // five were read in pages of two, the last ten were at hand
}

func TestCheckpointsByTheLetter(t *testing.T) {
	checkpoints := func(p *peer, stream, group string) (data []string) {
		written := p.read(nil, "$persistentsubscription-"+stream+"::"+group+"-checkpoint", 0, 100, false)
		for _, e := range written.GetEvents() {
			data = append(data, string(e.GetEvent().GetData()))
		}
		return data
	}
	s, clock := runByClock(t)
	p := connectAs(t, s, admin)
	p.appendAny("s", 12)
	p.group("s", "g", func(m *esproto.CreatePersistentSubscription) {
		m.CheckpointMinCount, m.CheckpointMaxCount = proto.Int32(3), proto.Int32(5)
		m.CheckpointAfterTime = proto.Int32(10_000)
	})
	sub := p.joinWith("s", "g", 12)
	ids := p.receives(sub, 12)
	p.ack(sub, "s", "g", ids[0:2]...)
	clock.Advance(time.Second)
	assert.Empty(t, checkpoints(p, "s", "g"), "too few")
	p.ack(sub, "s", "g", ids[2:4]...)
	pings(t, p)
	clock.Advance(time.Second)
	assert.Equal(t, []string{"3"}, checkpoints(p, "s", "g"), "the first one by the clock need not wait")
	p.ack(sub, "s", "g", ids[4:8]...)
	pings(t, p)
	clock.Advance(5 * time.Second)
	assert.Equal(t, []string{"3"}, checkpoints(p, "s", "g"), "too early")
	p.ack(sub, "s", "g", ids[9])
	pings(t, p)
	assert.Equal(t, []string{"3"}, checkpoints(p, "s", "g"), "8 holds it at 7")
	p.ack(sub, "s", "g", ids[8])
	pings(t, p)
	assert.Equal(t, []string{"3", "9"}, checkpoints(p, "s", "g"), "by count, at once")
	require.NoError(t, s.Restart())

	p = connectAs(t, s, admin)
	sub = p.joinWith("s", "g", 12)
	ids = p.receives(sub, 2)
	p.ack(sub, "s", "g", ids[0])
	pings(t, p)
	assert.Equal(t, []string{"3", "9", "10"}, checkpoints(p, "s", "g"),
		"after a restart the server counts from the beginning")
}

func TestAClientThatComesTwiceUnderOneID(t *testing.T) {
	p := connectAs(t, estest.Run(t), admin)
	p.group("s", "g", func(*esproto.CreatePersistentSubscription) {})
	stream, group := "s", "g"
	id := newID()
	connectFrame := frameOf(t, esproto.CmdConnectToPersistentSubscription, id, nil,
		&esproto.ConnectToPersistentSubscription{
			SubscriptionId: &group, EventStreamId: &stream, AllowedInFlightMessages: proto.Int32(1),
		})
	for range 2 {
		p.write(connectFrame)
		assert.Equal(t, esproto.CmdPersistentSubscriptionConfirmation, p.answer(id).cmd)
	}
	p.appendAnyTo(id, stream, 2)
	p.refused(esproto.CmdConnectToPersistentSubscription, nil, &esproto.ConnectToPersistentSubscription{
		EventStreamId: &stream, AllowedInFlightMessages: proto.Int32(1)})
	p.send(esproto.CmdConnectToPersistentSubscription, nil,
		&esproto.ConnectToPersistentSubscription{SubscriptionId: &group})
	pings(t, p)
}

// appendAnyTo appends events of which one is pushed to sub.
func (p *peer) appendAnyTo(sub esproto.CorrelationID, stream string, n int) {
	p.t.Helper()
	other := connect(p.t, p.s)
	other.appendAny(stream, n)
	p.delivered(sub)
	pings(p.t, p)
}

func TestClientsOfOneLostConnectionLeaveTogether(t *testing.T) {
	for persona, retries := range map[estest.Persona]int32{estest.Persona5011: 1, estest.Persona2310: 1} {
		s := estest.Run(t, estest.WithPersona(persona))
		p, other := connectAs(t, s, admin), connectAs(t, s, admin)
		p.appendAny("s", 6)
		p.group("s", "g", func(*esproto.CreatePersistentSubscription) {})
		p.receives(p.joinWith("s", "g", 3), 3)
		p.receives(p.joinWith("s", "g", 3), 3)
		sub := other.joinWith("s", "g", 6)
		require.NoError(t, p.nc.Close())
		for n := range int64(6) {
			e := other.delivered(sub)
			assert.Equal(t, n, e.GetEvent().GetEvent().GetEventNumber())
			assert.Equal(t, retries, e.GetRetryCount(), "none of them went by the other lost client")
		}
	}
}

func TestPinnedMovesBucketsToNewClients(t *testing.T) {
	s := estest.Run(t)
	p := connectAs(t, s, admin)
	p.group("all", "g", func(m *esproto.CreatePersistentSubscription) {
		m.ResolveLinkTos, m.NamedConsumerStrategy = proto.Bool(true), proto.String("Pinned")
	})
	const sources = 8
	for i := range sources {
		p.appendAny(fmt.Sprint("source-", i), 2)
	}
	links := func(number int) {
		for i := range sources {
			p.mustAppend(nil, "all", newEvent("$>", fmt.Sprintf("%d@source-%d", number, i)))
		}
	}
	old := connectAs(t, s, admin)
	oldSub := old.joinWith("all", "g", 100)
	links(0)
	ids := old.receives(oldSub, sources)
	old.ack(oldSub, "all", "g", ids...)
	pings(t, old)
	fresh := connectAs(t, s, admin)
	freshSub := fresh.joinWith("all", "g", 100)
	links(1)
	old.receives(oldSub, sources/2)
	fresh.receives(freshSub, sources/2)
}
