package esclient

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFlights compares the table with a map, for numbers with steps between them and for events that share a number.
func TestFlights(t *testing.T) {
	t.Parallel()
	for _, step := range []int64{0, 1, 2, 64, 1000, 1 << 20, 1 << 40, -1} {
		var s flights
		model := make(map[heldEvent]*flight)
		var keys []heldEvent
		for i := range 5000 {
			h := heldEvent{int64(i) * step, uuid.New()}
			if step == 0 {
				h.number = rand.Int64N(20)
			}
			require.Nil(t, s.get(h))
			f := s.add(h)
			require.Equal(t, &flight{heldEvent: h, next: f.next}, f, "nothing is left of another")
			f.pushed = time.Duration(i)
			model[h], keys = f, append(keys, h)
			for len(keys) > 300 || rand.IntN(3) == 0 && len(keys) > 0 {
				n := rand.IntN(len(keys))
				h := keys[n]
				require.Same(t, model[h], s.get(h))
				s.remove(model[h])
				delete(model, h)
				keys = slices.Delete(keys, n, n+1)
				require.Nil(t, s.get(h))
			}
			require.Equal(t, len(model), s.n)
		}
		for h, f := range model {
			require.Same(t, f, s.get(h), "step %d", step)
		}
		seen := make(map[heldEvent]*flight)
		for f := range s.all {
			seen[f.heldEvent] = f
		}
		require.Equal(t, model, seen, "step %d", step)
		require.LessOrEqual(t, len(s.table), 1024, "it grows with the number of held events")
	}
}

// TestEventsHaveTimesIfAnythingDependsOnThem has a group that is known to have no timeout, until its settings may have
// changed.
func TestEventsHaveTimesIfAnythingDependsOnThem(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		timeout time.Duration
		workers int
		timed   bool
	}{
		{0, 1, true}, // it may be learnt
		{0, 0, true},
		{time.Minute, 1, true},
		{MaxMessageTimeout, 1, false},
		{MaxMessageTimeout, 0, false},
	} {
		opts := PersistentOptions{InFlight: 10, MessageTimeout: tt.timeout, Concurrency: tt.workers}
		p := PersistentSubscription{opts: opts, pushLimit: newPushLimit(&opts), ledger: newLedger(testStream, 10)}
		p.revoked = make(chan struct{})
		assert.Equal(t, tt.timed, p.now() != untimed, "%+v", tt)
		waiting, begun := &Event{Stream: testStream, Number: 3}, &Event{Stream: testStream, Number: 4}
		for _, e := range []*Event{waiting, begun} {
			p.ledger.hold(e, nil, p.now())
		}
		p.Begin(begun)
		before := sinceEpoch()
		p.pushLimit.doubt()
		p.timeOn()
		assert.Greater(t, p.now(), before, "%+v", tt)
		for _, at := range []time.Duration{
			p.ledger.flight(waiting).pushed, p.ledger.flight(begun).pushed, p.ledger.flight(begun).begun,
		} {
			assert.Equal(t, tt.timed, at <= before, "a time that is known stays: %+v", tt)
			assert.NotEqual(t, untimed, at)
		}
		assert.Zero(t, p.ledger.flight(waiting).begun)
		p.pushLimit.hear(MaxMessageTimeout)
		p.timeOn()
		assert.Equal(t, untimed, p.now())
	}
}

// TestNothingIsGivenBackOnceNothingTimesOut has the timeout gone that was waited for.
func TestNothingIsGivenBackOnceNothingTimesOut(t *testing.T) {
	t.Parallel()
	opts := PersistentOptions{InFlight: 10, MessageTimeout: time.Minute, Concurrency: 1}
	p := PersistentSubscription{opts: opts, pushLimit: newPushLimit(&opts), ledger: newLedger(testStream, 10)}
	p.session = new(session)
	p.ledger.hold(&Event{Stream: testStream, Number: 3}, p.session, 2)
	p.pushLimit.hear(MaxMessageTimeout)
	p.timeOn()
	p.look()
	assert.EqualValues(t, 1, p.ledger.holding)
	assert.NotNil(t, p.session)
	assert.False(t, p.slow)
}
