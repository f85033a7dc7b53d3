package engine

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTableKeepsWhatWaits compares the table with a map: calls that come and go among some that stay for ever.
func TestTableKeepsWhatWaits(t *testing.T) {
	t.Parallel()
	var (
		table table
		known = make(map[uint64]Receiver)
		once  int
		live  []uint64
	)
	require.Nil(t, table.get(0))
	for i := range 20_000 {
		most := 1 + i%2000 // it fills and empties, again and again
		if len(live) < most {
			e := entry{r: new(call), once: i%3 > 0}
			seq := table.add(e)
			require.NotContains(t, known, seq, "a number is given out once")
			known[seq], live = e.r, append(live, seq)
			if e.once {
				once++
			}
		}
		if len(live) > 20 && i%2 == 0 {
			n := rand.IntN(len(live))
			if n < 5 {
				continue // these stay
			}
			seq := live[n]
			e := table.get(seq)
			require.NotNil(t, e)
			require.Same(t, known[seq], e.r)
			if e.once {
				once--
			}
			table.remove(e)
			require.Nil(t, table.get(seq))
			delete(known, seq)
			live[n] = live[len(live)-1]
			live = live[:len(live)-1]
		}
		require.Equal(t, len(live), table.n)
		require.Equal(t, once, table.once)
	}
	for seq, r := range known {
		require.Same(t, r, table.get(seq).r)
	}

	streams := table.takeOut(func(e *entry) bool { return !e.once })
	assert.Len(t, streams, len(live)-once)
	assert.Equal(t, once, table.n)
	table.shrink()
	assert.NotEmpty(t, table.slots, "somebody waits")
	table.takeOut(func(*entry) bool { return true })
	assert.Zero(t, table.n)
	assert.Zero(t, table.once)
	last := table.seq
	table.shrink()
	assert.Empty(t, table.slots)
	assert.Greater(t, table.add(entry{r: new(call)}), last, "numbers go on")
}
