package estest_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// transact writes events in a transaction and commits it.
func (p *peer) transact(stream string, expected int64, events ...*esproto.NewEvent) (id int64) {
	p.t.Helper()
	var start esproto.TransactionStartCompleted
	p.ask(esproto.CmdTransactionStart, nil,
		&esproto.TransactionStart{EventStreamId: &stream, ExpectedVersion: &expected}, &start)
	require.Equal(p.t, esproto.OperationResult_Success, start.GetResult())
	if len(events) > 0 {
		p.ask(esproto.CmdTransactionWrite, nil,
			&esproto.TransactionWrite{TransactionId: start.TransactionId, Events: events},
			&esproto.TransactionWriteCompleted{})
	}
	return start.GetTransactionId()
}

func (p *peer) commit(id int64) *esproto.TransactionCommitCompleted {
	p.t.Helper()
	var r esproto.TransactionCommitCompleted
	p.ask(esproto.CmdTransactionCommit, nil, &esproto.TransactionCommit{TransactionId: &id}, &r)
	require.Equal(p.t, esproto.OperationResult_Success, r.GetResult())
	require.Equal(p.t, r.GetCommitPosition(), r.GetPreparePosition())
	return &r
}

// lastEvent returns the position of the last event of $all.
func (p *peer) lastEvent() (commit, prepare int64) {
	p.t.Helper()
	var r esproto.ReadAllEventsCompleted
	p.ask(esproto.CmdReadAllEventsBackward, nil, &esproto.ReadAllEvents{
		CommitPosition: proto.Int64(-1), PreparePosition: proto.Int64(-1), MaxCount: proto.Int32(1)}, &r)
	require.Len(p.t, r.GetEvents(), 1)
	return r.GetEvents()[0].GetCommitPosition(), r.GetEvents()[0].GetPreparePosition()
}

func TestWhereARepeatedWriteIs(t *testing.T) {
	for _, persona := range personas {
		s, clock := runByClock(t, estest.WithPersona(persona))
		p := connectAs(t, s, admin)
		// told checks the position in a reply. Servers that do not send it send -1.
		told := func(want, got int64, what string) {
			t.Helper()
			if !since20[persona] {
				want = -1
			}
			assert.Equal(t, want, got, "%s: %s", persona, what)
		}
		again := func(stream string, events ...*esproto.NewEvent) int64 {
			t.Helper()
			r := p.mustAppend(nil, stream, events...)
			assert.Equal(t, r.GetCommitPosition(), r.GetPreparePosition(), persona)
			return r.GetCommitPosition()
		}

		e := []*esproto.NewEvent{newEvent("t", "a"), newEvent("t", "b"), newEvent("t", "c")}
		first := p.mustAppend(nil, "s", e[:2]...).GetCommitPosition()
		third := p.mustAppend(nil, "s", e[2]).GetCommitPosition()
		told(first, again("s", e[:2]...), "a batch")
		told(third, again("s", e...), "over two batches: the last one counts")
		told(first, p.commit(p.transact("s", esproto.ExpectAny, e[:2]...)).GetCommitPosition(),
			"the same in a transaction")
		told(third, p.commit(p.transact("s", 1, e[2])).GetCommitPosition(), "by number")

		f := []*esproto.NewEvent{newEvent("t", "a"), newEvent("t", "b")}
		id := p.transact("tx", esproto.ExpectAny, f...)
		committed := p.commit(id).GetCommitPosition()
		commit, prepare := p.lastEvent()
		require.Equal(t, committed, commit)
		require.Less(t, prepare, commit)
		told(prepare, p.commit(id).GetCommitPosition(), "the second commit: position of the last event")
		told(prepare, p.append(nil, "tx", esproto.ExpectNoStream, f...).GetCommitPosition(),
			"an append of what a transaction wrote")

		p.mustAppend(nil, "$$s", metadata(`{"$tb":2}`))
		told(-1, p.append(nil, "s", -1, e[:2]...).GetCommitPosition(), "hidden by $tb")
		told(third, again("s", e[2]), "not hidden")
		old, fresh := metadata(`{"mine":1}`), metadata(`{"mine":2}`)
		p.mustAppend(nil, "$$m", old)
		last := p.mustAppend(nil, "$$m", fresh).GetCommitPosition()
		told(-1, again("$$m", old), "of metadata only the last event can be read")
		told(last, again("$$m", fresh), "the last metadata")
		p.mustAppend(nil, "$$aged", metadata(`{"$maxAge":10}`))
		young := newEvent("t", "")
		at := p.mustAppend(nil, "aged", young).GetCommitPosition()
		told(at, again("aged", young), "young enough")
		clock.Advance(11 * time.Second)
		told(-1, again("aged", young), "too old")
		p.delete("s", false)
		told(-1, again("s", e[2]), "soft-deleted")
		assert.Equal(t, esproto.ReadStreamEventsCompleted_NoStream, p.read(nil, "s", 0, 1, false).GetResult(),
			"a repeated write brings nothing back")
	}
}

func TestHowFarTheLogGoes(t *testing.T) {
	for _, persona := range personas {
		p := connectAs(t, estest.Run(t, estest.WithPersona(persona)), admin)
		read := func() int64 { return p.read(nil, "other", 0, 1, false).GetLastCommitPosition() }
		subscribed := func() int64 {
			var r esproto.SubscriptionConfirmation
			p.ask(esproto.CmdSubscribeToStream, nil,
				&esproto.SubscribeToStream{EventStreamId: proto.String("other")}, &r)
			return r.GetLastCommitPosition()
		}
		e := newEvent("t", "a")
		written := p.mustAppend(nil, "s", e).GetCommitPosition()
		assert.Equal(t, written, read(), persona)
		assert.Equal(t, written, subscribed(), persona)

		empty := p.append(nil, "s", esproto.ExpectAny)
		require.Greater(t, empty.GetCommitPosition(), written)
		assert.Equal(t, empty.GetFirstEventNumber()-1, empty.GetLastEventNumber())
		if since20[persona] {
			assert.Equal(t, written, read(), "%s: nothing was written", persona)
		} else {
			assert.Equal(t, empty.GetCommitPosition(), read(), "%s: a write of nothing counts", persona)
		}
		assert.Equal(t, written, subscribed(), "%s: subscriptions look at the index", persona)

		before := read()
		p.mustAppend(nil, "s", e)
		p.commit(p.transact("s", esproto.ExpectAny, e))
		assert.Equal(t, before, read(), "%s: a repeated event does not move the end", persona)

		id := p.transact("none", esproto.ExpectAny)
		first := p.commit(id)
		assert.Equal(t, first.GetCommitPosition(), read(), "%s: a commit of nothing counts", persona)
		assert.Equal(t, first.GetCommitPosition(), subscribed(), persona)
		second := p.commit(id)
		assert.Greater(t, second.GetCommitPosition(), first.GetCommitPosition(), "%s: each is another", persona)
		assert.Equal(t, second.GetCommitPosition(), read(), persona)
	}
}

func TestPagesOverTheEdgeOfMaxAge(t *testing.T) {
	type page struct {
		from, next, n int64
		count         int32
		end           bool
	}
	for persona, pages := range map[estest.Persona][]page{
		// twelve events, of which the first eight are too old
		estest.Persona5011: {
			{0, 3, 0, 3, false}, {3, 6, 0, 3, false}, {6, 9, 1, 3, false}, {0, 12, 4, 12, true}, {0, 8, 0, 8, false},
		},
		estest.Persona2310: {
			{0, 8, 0, 3, false}, {3, 8, 0, 3, false}, {6, 9, 1, 3, false}, {0, 12, 4, 12, true}, {0, 8, 0, 8, false},
			{0, 8, 0, 1, false}, {7, 8, 0, 1, false}, {8, 9, 1, 1, false}, {11, 12, 1, 1, true}, {12, 12, 0, 3, true},
			{5, 10, 2, 5, false}, {2, 12, 4, 100, true},
		},
	} {
		s, clock := runByClock(t, estest.WithPersona(persona))
		p := connectAs(t, s, admin)
		p.mustAppend(nil, "$$s", metadata(`{"$maxAge":10}`))
		p.appendAny("s", 8)
		clock.Advance(6 * time.Second)
		p.appendAny("s", 4)
		clock.Advance(5 * time.Second)
		for _, want := range pages {
			r := p.read(nil, "s", want.from, want.count, false)
			got := page{want.from, r.GetNextEventNumber(), int64(len(r.GetEvents())), want.count, r.GetIsEndOfStream()}
			assert.Equal(t, want, got, persona)
			assert.Equal(t, int64(11), r.GetLastEventNumber(), persona)
		}
		clock.Advance(time.Minute)
		r := p.read(nil, "s", 0, 3, false)
		if since20[persona] {
			assert.Equal(t, int64(12), r.GetNextEventNumber(), "%s: behind all of them", persona)
			assert.True(t, r.GetIsEndOfStream(), persona)
		} else {
			assert.Equal(t, int64(3), r.GetNextEventNumber(), persona)
			assert.False(t, r.GetIsEndOfStream(), persona)
		}
		r = p.readPage(esproto.CmdReadStreamEventsBackward, nil, "s", 5, 3, false)
		assert.Equal(t, int64(-1), r.GetNextEventNumber(), "%s: backward the old ones are the end", persona)
		assert.True(t, r.GetIsEndOfStream(), persona)
	}
}

func TestEventsThatAreNoLinksWhenReadAndPushed(t *testing.T) {
	type shape struct{ event, link bool }
	plainEvent, dead := shape{event: true}, shape{link: true}
	for _, persona := range personas {
		p := connectAs(t, estest.Run(t, estest.WithPersona(persona)), admin)
		for data, read := range map[string]shape{
			"x@t": plainEvent, "": plainEvent, "@t": plainEvent, "1.5@t": plainEvent, "one": plainEvent,
			"7": dead, "7@": dead, "0@nothing": dead, "-2@t": dead,
		} {
			if persona == estest.Persona414 {
				read = dead
			}
			of := func(event, link *esproto.EventRecord) shape {
				for _, r := range []*esproto.EventRecord{event, link} {
					if r != nil {
						assert.Equal(t, data, string(r.GetData()))
					}
				}
				return shape{event != nil, link != nil}
			}
			stream := "no link " + data
			p.createGroupOf(stream, "pushed", true)
			consumer := p.join(stream, "pushed")
			sub := p.send(esproto.CmdSubscribeToStream, nil,
				&esproto.SubscribeToStream{EventStreamId: &stream, ResolveLinkTos: proto.Bool(true)})
			require.Equal(t, esproto.CmdSubscriptionConfirmation, p.answer(sub).cmd)
			other := connectAs(t, p.s, admin)
			other.mustAppend(nil, stream, newEvent("$>", data))

			var volatile esproto.StreamEventAppeared
			var pushed esproto.PersistentSubscriptionStreamEventAppeared
			p.answer(sub).into(t, &volatile)
			assert.Equal(t, dead, of(volatile.GetEvent().GetEvent(), volatile.GetEvent().GetLink()),
				"%s: %q to a subscription", persona, data)
			p.answer(consumer).into(t, &pushed)
			assert.Equal(t, dead, of(pushed.GetEvent().GetEvent(), pushed.GetEvent().GetLink()),
				"%s: %q to a group", persona, data)

			other.createGroupOf(stream, "read", true)
			late := other.delivered(other.join(stream, "read"))
			assert.Equal(t, read, of(late.GetEvent().GetEvent(), late.GetEvent().GetLink()),
				"%s: %q read for a group", persona, data)
			e := other.read(nil, stream, 0, 1, true).GetEvents()[0]
			assert.Equal(t, read, of(e.GetEvent(), e.GetLink()), "%s: %q read", persona, data)
		}
	}
}

func TestTheGreatestNumbersDoNotWrapAroundSince22(t *testing.T) {
	p := connectAs(t, run2310(t), admin)
	p.appendAny("s", 3)
	for _, from := range []int64{3, 4, 1 << 40, math.MaxInt64 - 10, math.MaxInt64 - 9, math.MaxInt64} {
		r := p.read(nil, "s", from, 10, false)
		assert.Equal(t, int64(3), r.GetNextEventNumber(), "from %d", from)
		assert.True(t, r.GetIsEndOfStream(), "from %d", from)
		assert.Empty(t, r.GetEvents(), "from %d", from)
	}
}

// Places in the log that have no event are known to all nodes: the next leader uses none of them again.
func TestTheNextLeaderUsesNoPlaceAgain(t *testing.T) {
	for name, take := range map[string]func(p *peer){
		"nothing":     func(p *peer) { p.mustAppend(nil, "s") },
		"start":       func(p *peer) { p.transact("s", esproto.ExpectAny) },
		"write":       func(p *peer) { p.transact("s", esproto.ExpectAny, newEvent("T", "a")) },
		"empty":       func(p *peer) { p.commit(p.transact("s", esproto.ExpectAny)) },
		"failed":      func(p *peer) { p.commitAs(nil, p.transact("s", 7, newEvent("T", "a"))) },
		"known":       func(p *peer) { p.commitTwice(newEvent("T", "a")) },
		"transaction": func(p *peer) { p.commit(p.transact("s", esproto.ExpectAny, newEvent("T", "a"))) },
	} {
		t.Run(name, func(t *testing.T) {
			c := estest.RunCluster(t, 3, estest.WithElectionDelay(time.Millisecond))
			c.Partition(1) // it misses this: another one must lead
			take(connectAs(t, c.Node(0), admin))
			before := c.Node(0).Snapshot()
			require.NoError(t, c.Kill(0))
			c.Heal()
			leader := c.Node(electsOther(t, c, 0)).Snapshot()
			require.GreaterOrEqual(t, leader.EpochAt, before.End)
			assert.Equal(t, before.Marks, leader.Marks[:len(before.Marks)])
		})
	}
}

// commitTwice commits a transaction again.
func (p *peer) commitTwice(e *esproto.NewEvent) {
	id := p.transact("s", esproto.ExpectAny, e)
	p.commit(id)
	p.commit(id)
}

// The events of one commit have one time, as those of an append.
func TestTheEventsOfACommitHaveOneTime(t *testing.T) {
	s := estest.Run(t)
	p := connectAs(t, s, admin)
	events := make([]*esproto.NewEvent, 2000)
	for i := range events {
		events[i] = newEvent("T", "")
	}
	p.commit(p.transact("s", esproto.ExpectAny, events...))
	committed := streamOf(t, s, "s")
	require.Len(t, committed, len(events))
	assert.Equal(t, committed[0].Created, committed[len(events)-1].Created)
}
