package engine

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTableKeepsWaitingReceivers compares the table with a map: calls that come and go among some that stay for ever.
func TestTableKeepsWaitingReceivers(t *testing.T) {
	t.Parallel()
	var (
		table   receiverTable
		known   = make(map[uint64]Receiver)
		singles int
		live    []uint64
	)
	require.Nil(t, table.get(0))
	for i := range 20_000 {
		most := 1 + i%2000 // it fills and empties, again and again
		if len(live) < most {
			e := entry{r: new(call), single: i%3 > 0}
			seq := table.add(e)
			require.NotContains(t, known, seq, "a number is given out once")
			known[seq], live = e.r, append(live, seq)
			if e.single {
				singles++
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
			if e.single {
				singles--
			}
			table.remove(e)
			require.Nil(t, table.get(seq))
			delete(known, seq)
			live[n] = live[len(live)-1]
			live = live[:len(live)-1]
		}
		require.Equal(t, len(live), table.n)
		require.Equal(t, singles, table.singles)
	}
	for seq, r := range known {
		require.Same(t, r, table.get(seq).r)
	}

	subscriptions := table.removeIf(func(e *entry) bool { return !e.single })
	assert.Len(t, subscriptions, len(live)-singles)
	assert.Equal(t, singles, table.n)
	table.shrink()
	assert.NotEmpty(t, table.slots, "somebody waits")
	table.removeIf(func(*entry) bool { return true })
	assert.Zero(t, table.n)
	assert.Zero(t, table.singles)
	last := table.lastSeq
	table.shrink()
	assert.Empty(t, table.slots)
	assert.Greater(t, table.add(entry{r: new(call)}), last, "numbers go on")
}
