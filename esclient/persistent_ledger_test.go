package esclient

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	testStream = "orders"
	testParked = "$persistentsubscription-orders::g-parked"
)

// TestLedgerKnowsHeldAndSettledEvents compares the ledger with maps, for events of two streams that come in
// order, that come again and that are given back.
func TestLedgerKnowsHeldAndSettledEvents(t *testing.T) {
	t.Parallel()
	type key struct {
		stream string
		number int64
	}
	var (
		l       = newLedger(testStream, 50)
		holding []*Event
		done    = make(map[key]bool)
		ever    []*Event
		next    = make(map[string]int64)
	)
	want := func(e *Event) eventState {
		for _, h := range holding {
			if h.Stream == e.Stream && h.Number == e.Number && h.ID == e.ID {
				return held
			}
		}
		if done[key{e.Stream, e.Number}] {
			return settled
		}
		return unknown
	}
	for i := range 30_000 {
		stream := testStream
		if i%7 == 0 {
			stream = testParked
		}
		e := &Event{Stream: stream, Number: next[stream], ID: uuid.New()}
		next[stream] += 1 + int64(i%997/996)*5000 // now and then others have a long run
		if i%3 == 0 && len(ever) > 0 {
			e = ever[rand.IntN(len(ever))]
		}
		require.Equal(t, want(e), l.of(e), "event %d of %s, step %d", e.Number, e.Stream, i)
		require.Equal(t, want(e) == held, isHeld(&l, e))
		if l.of(e) == unknown && len(holding) < 30 {
			l.hold(e, nil, 0)
			holding, ever = append(holding, e), append(ever, e)
		}
		if len(holding) == 0 {
			continue
		}
		n := rand.IntN(len(holding))
		e = holding[n]
		other := *e
		other.ID = uuid.New()
		require.False(t, isHeld(&l, &other), "another event with the number")
		switch rand.IntN(4) {
		case 0: // it stays
			continue
		case 1:
			l.release(l.flight(e))
		default:
			l.settle(l.flight(e), acked, nil)
			done[key{e.Stream, e.Number}] = true
		}
		holding = append(holding[:n:n], holding[n+1:]...)
		require.False(t, isHeld(&l, e))
		require.EqualValues(t, len(holding), l.holding)
	}
	require.True(t, l.hasSettled())
	l.forgetSettled(new(session))
	require.False(t, l.hasSettled())
	for _, e := range ever {
		if want(e) != held {
			require.Equal(t, unknown, l.of(e))
		}
	}
	for _, e := range holding {
		require.Equal(t, held, l.of(e))
	}
}

// TestLedgerTakesMemoryByItsGaps settles millions of events behind one that is stuck, and then every third of millions.
func TestLedgerTakesMemoryByItsGaps(t *testing.T) {
	t.Parallel()
	l := newLedger(testStream, 1)
	pass := func(number int64) {
		e := &Event{Stream: testStream, Number: number}
		l.settle(l.hold(e, nil, 0), acked, nil)
	}
	stuck := &Event{Stream: testStream, Number: 5}
	l.hold(stuck, nil, 0)
	for n := range int64(3_000_000) {
		if n != stuck.Number {
			pass(n)
		}
	}
	assert.LessOrEqual(t, len(l.own.settled.parts), 2)
	assert.Len(t, l.own.settled.full, 1)
	for n := int64(3_000_000); n < 20_000_000; n += 3 {
		pass(n)
	}
	assert.LessOrEqual(t, len(l.own.settled.parts), maxPages)
	assert.LessOrEqual(t, len(l.own.settled.full), maxPages)
	assert.Equal(t, settled, l.of(&Event{Stream: testStream, Number: 2_000_000}))
	assert.Equal(t, settled, l.of(&Event{Stream: testStream, Number: 19_999_998}))
	assert.Equal(t, unknown, l.of(&Event{Stream: testStream, Number: 19_999_997}))
	assert.Equal(t, held, l.of(stuck))
}

func TestLedgerAllocatesNothingForEventsInOrder(t *testing.T) {
	l := newLedger(testStream, 1)
	e := &Event{Stream: testStream}
	n := testing.AllocsPerRun(100_000, func() {
		l.of(e)
		l.hold(e, nil, 0)
		l.settle(l.flight(e), acked, nil)
		e.Number++
	})
	assert.Zero(t, n)
}

// TestLedgerDoubtsOnlyEarlierSettlements has events come again that a new group, or an old one, may push.
func TestLedgerDoubtsOnlyEarlierSettlements(t *testing.T) {
	t.Parallel()
	l := newLedger(testStream, 10)
	pass := func(number int64) *Event {
		e := &Event{Stream: testStream, Number: number, ID: uuid.New()}
		l.settle(l.hold(e, nil, 0), acked, &session{window: 1})
		return e
	}
	old := []*Event{pass(0), pass(1), pass(2)}
	assert.True(t, l.believes(old[0], 0))
	l.doubt()
	young := pass(3)
	assert.False(t, l.believes(old[1], 1), "another subscriber may have lost it")
	l.addUnheard(1)
	assert.True(t, l.believes(old[1], 1), "the server counts a retry, and did not hear of the ack")
	assert.True(t, l.believes(young, 0))
	assert.False(t, l.believes(old[1], 0))
	l.forgetDoubted(nil)
	assert.Equal(t, unknown, l.of(old[0]))
	assert.Equal(t, unknown, l.of(old[2]))
	assert.Equal(t, settled, l.of(young))
	assert.True(t, l.believes(young, 0))
}

// TestLedgerIgnoresAcksOfAnEarlierGroup is about events that are held while a group is created again.
func TestLedgerIgnoresAcksOfAnEarlierGroup(t *testing.T) {
	t.Parallel()
	l := newLedger(testStream, 10)
	early, late := &Event{Stream: testStream, Number: 3}, &Event{Stream: testStream, Number: 4}
	again := l.hold(early, nil, 0)
	l.hold(late, nil, 0)
	l.forgetSettled(new(session))
	require.Equal(t, held, l.of(early))
	again.on = nil
	l.settle(l.flight(early), acked, nil)
	l.settle(l.flight(late), acked, nil)
	assert.Equal(t, settled, l.of(early))
	assert.Equal(t, unknown, l.of(late))
	assert.Zero(t, l.holding)
}

// TestLedgerTellsAGroupThatGoesOnByItsFirstNumber has a group push events 10 to 19, and then begin once more.
func TestLedgerTellsAGroupThatGoesOnByItsFirstNumber(t *testing.T) {
	t.Parallel()
	const window = 8
	now := new(session)
	for what, tc := range map[string]struct {
		numbers []int64 // pushed, in this order
		held    int64   // -1 for none
		stale   bool    // it came from the group before
		begin   int64
		goesOn  bool
		again   bool // the held one has come again on the session
	}{
		"behind a checkpoint":            {run(10, 19), -1, false, 15, true, false},
		"behind everything":              {run(10, 19), -1, false, 20, true, false},
		"where it began":                 {run(10, 19), -1, false, 10, false, false},
		"before it began":                {run(10, 19), -1, false, 5, false, false},
		"as far back as can be":          {run(10, 19), -1, false, 12, true, false},
		"farther back":                   {run(10, 19), -1, false, 11, false, false},
		"some came again":                {append(run(10, 19), 13, 14), -1, false, 15, true, false},
		"others got one":                 {append(run(10, 16), 18, 19), -1, false, 15, false, false},
		"behind one that is held":        {run(10, 19), 14, false, 15, false, false},
		"with one that is held":          {run(10, 19), 15, false, 15, true, false},
		"behind one of the group before": {run(10, 19), 5, true, 15, true, false},
		"behind one that came again":     {run(10, 19), 14, false, 15, true, true},
	} {
		l := newLedger(testStream, 10)
		if tc.stale {
			l.hold(&Event{Stream: testStream, Number: tc.held}, nil, 0)
			l.forgetSettled(new(session))
		}
		for _, n := range tc.numbers {
			e := &Event{Stream: testStream, Number: n}
			known := l.of(e)
			l.came(e)
			switch {
			case known != unknown:
			case n%3 == 0 && n != tc.held: // given back after a wait that was too long
				l.release(l.hold(e, nil, 0))
			case n != tc.held:
				l.settle(l.hold(e, nil, 0), acked, nil)
			default:
				l.hold(e, nil, 0)
			}
		}
		if tc.again {
			l.flight(&Event{Stream: testStream, Number: tc.held}).on = now
		}
		assert.Equal(t, tc.goesOn, l.resumed(now, tc.begin, window), what)
		l.forgetSettled(nil)
		assert.False(t, l.own.jumped)
	}
}

func run(from, to int64) (numbers []int64) {
	for n := from; n <= to; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

func TestLedgerTellsParksFromAcksUntilTheyHaveArrived(t *testing.T) {
	t.Parallel()
	const limit = 4
	l, parking := newLedger(testStream, limit), &settlement{nack: true, action: NackPark}
	first, second := new(session), new(session)
	pass := func(number int64, s *session) *Event {
		e := &Event{Stream: testStream, Number: number}
		l.settle(l.hold(e, nil, 0), parking, s)
		return e
	}
	heard, lost := pass(0, first), pass(1, first)
	require.Len(t, l.onTheWay(first), 2)
	require.Empty(t, l.onTheWay(second))
	l.parkOf(heard).arrived = true
	require.Len(t, l.onTheWay(first), 1)
	l.over(second)
	require.NotNil(t, l.parkOf(heard), "it may come again on the same session, if it had timed out before")
	l.over(first)
	assert.Nil(t, l.parkOf(heard), "an ack does as well")
	require.NotNil(t, l.parkOf(lost))
	assert.Equal(t, settled, l.of(heard))
	for n := range int64(10 * limit) {
		pass(10+n, second)
		assert.LessOrEqual(t, len(l.own.parks), limit)
	}
}

// TestNumbers compares the set with a map.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, most := range []int64{100, 5 * pageNumbers, 40 * pageNumbers} {
		var s numbers
		model := make(map[int64]bool)
		for range 200 {
			from := rand.Int64N(most)
			switch rand.IntN(20) {
			case 0:
				s.removeUpTo(from)
				for n := range model {
					if n <= from {
						delete(model, n)
					}
				}
			case 1, 2, 3:
				s.remove(from)
				delete(model, from)
			default:
				for n := from; n < from+rand.Int64N(3*pageNumbers); n++ {
					s.add(n)
					model[n] = true
				}
			}
			require.Equal(t, len(model) == 0, s.empty())
		}
		for n := range most + 3*pageNumbers {
			require.Equal(t, model[n], s.has(n), n)
		}
		require.True(t, slices.IsSortedFunc(s.full, func(a, b span) int {
			if a.to < b.from {
				return -1
			}
			return 1
		}), "the spans are in order and do not touch: %v", s.full)
		s.clear()
		require.True(t, s.empty())
	}
}

func isHeld(l *ledger, e *Event) bool { return l.flight(e) != nil }

// TestSlotsShowTheSettlementsThatTheServerRead has a server push events as their predecessors are settled.
func TestSlotsShowTheSettlementsThatTheServerRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pushed, settled int
		want            []int64
	}{
		{pushed: 3, settled: 3, want: []int64{0, 1, 2}},
		{pushed: 4, settled: 3, want: []int64{0, 1, 2}},
		{pushed: 6, settled: 3, want: []int64{2}},
		{pushed: 104, settled: 103, want: []int64{100, 101, 102}},
		{pushed: 107, settled: 103, want: nil},
	} {
		s := &session{window: 4}
		s.slots.pushed = tt.pushed
		for n := range int64(tt.settled) {
			s.freeSlot(n)
		}
		assert.Equal(t, tt.want, slices.Collect(s.unheard()), "%+v", tt)
		assert.LessOrEqual(t, len(s.slots.last), 4)
	}
}
