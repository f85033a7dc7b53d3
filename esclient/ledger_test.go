package esclient

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLedgerKnowsWhatIsHeldAndTheLatestThatWereSettled compares the ledger with maps, for events that come in order,
// that come again and that are given back.
func TestLedgerKnowsWhatIsHeldAndTheLatestThatWereSettled(t *testing.T) {
	t.Parallel()
	const limit = 50
	var (
		l       = newLedger(limit)
		holding []*Event
		settled []*Event // oldest first
		how     = make(map[*Event]*settlement)
		number  int64
	)
	want := func(e *Event) *settlement {
		for _, h := range holding {
			if h.Number == e.Number && h.ID == e.ID {
				return held
			}
		}
		for _, s := range settled {
			if s.Number == e.Number && s.ID == e.ID {
				return how[s]
			}
		}
		return nil
	}
	again := func() *Event { // one that may be known
		e := *append(append([]*Event{{}}, holding...), settled...)[rand.IntN(1+len(holding)+len(settled))]
		return &e
	}
	for i := range 20_000 {
		e := &Event{Number: number, ID: uuid.New()}
		if i%1000 < 500 && i%3 == 0 { // for some time numbers come again, and then not
			e = again()
		}
		number++
		require.Same(t, want(e), l.of(e), "event %d, step %d", e.Number, i)
		same := func(h *Event) bool { return h.Number == e.Number }
		if l.of(e) == nil && len(holding) < 30 && !slices.ContainsFunc(holding, same) {
			l.hold(e)
			holding = append(holding, e)
		}
		if len(holding) == 0 {
			continue
		}
		n := rand.IntN(len(holding))
		e = holding[n]
		require.True(t, l.isHeld(e))
		require.False(t, l.isHeld(&Event{Number: e.Number, ID: uuid.New()}), "another event with the number")
		switch rand.IntN(4) {
		case 0: // it stays
			continue
		case 1:
			l.release(e)
		default:
			how[e] = &settlement{}
			l.settle(e, how[e])
			settled = append(settled, e)
			settled = settled[max(0, len(settled)-limit):]
		}
		holding = append(holding[:n:n], holding[n+1:]...)
		require.False(t, l.isHeld(e))
	}
	l.forgetSettled()
	for _, e := range settled {
		require.Nil(t, l.of(e))
	}
	for _, e := range holding {
		require.Same(t, held, l.of(e))
	}
	assert.Len(t, l.held, len(holding))
}

// While numbers do not come again, settling an event costs no more than a place in the ring.
func TestLedgerLooksNothingUpForFreshEvents(t *testing.T) {
	t.Parallel()
	const limit = 100
	l := newLedger(limit)
	next := int64(0)
	work := func(n int) {
		for range n {
			e := &Event{Number: next, ID: uuid.New()}
			next++
			require.Nil(t, l.of(e))
			l.hold(e)
			l.settle(e, acked)
		}
	}
	work(3 * limit)
	assert.Nil(t, l.index)
	require.Nil(t, l.of(&Event{Number: next - 1}), "another id: another event")
	assert.Len(t, l.index, limit)
	work(limit)
	assert.Len(t, l.index, limit, "it is kept for a while")
	work(1)
	assert.Nil(t, l.index)
}
