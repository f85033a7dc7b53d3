package groups

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// TestTheLowestOutstandingMessageIsKnown compares openMessages with a list. A message comes again after it was closed,
// as a retry does, or is settled for good.
func TestTheLowestOutstandingMessageIsKnown(t *testing.T) {
	const numbers = 200
	for range 50 {
		var (
			opened openMessages
			all    = make([]*message, numbers)
			next   int
		)
		for i := range all {
			all[i] = &message{event: &eventlog.Record{Number: int64(i)}}
		}
		for range 10 * numbers {
			m := all[rand.IntN(next+1)]
			switch {
			case m.open:
				m.open = false
			case m == all[next] || rand.IntN(4) == 0:
				m.open = true
				opened.add(m)
				next = min(max(next, int(m.event.Number)+1), numbers-1)
			}
			if rand.IntN(3) > 0 {
				continue // settled messages wait until the next look
			}
			var want *message
			for _, m := range all {
				if m.open {
					want = m
					break
				}
			}
			require.Same(t, want, opened.lowest())
		}
	}
}
