package esclient_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// TestAllocations bounds the allocations of operations from end to end; see TestAppendsAllocateNothing and
// TestReadsAllocateByThePage, too. The peer's next to nothing is counted.
func TestAllocations(t *testing.T) {
	next := volatileSubscriber(t)
	volatile := func() error {
		_, err := next()
		return err
	}
	group := groupSubscriber(t, esclient.PersistentOptions{InFlight: 200})
	paced := groupSubscriber(t, esclient.PersistentOptions{InFlight: 200, Concurrency: 1})
	for _, tt := range []struct {
		name string
		most float64
		do   func() error
	}{
		{"event of a volatile subscription", 0.2, volatile},
		{"event of a group, acked", 0.2, func() error { return ackNext(group, false) }},
		{"event of a group, offered and acked", 0.2, func() error { return ackNext(paced, true) }},
	} {
		const batch = 1000
		for range batch { // connections and buffers
			require.NoError(t, tt.do(), tt.name)
		}
		var err error
		n := testing.AllocsPerRun(5, func() {
			for range batch {
				if e := tt.do(); e != nil {
					err = e
				}
			}
		})
		require.NoError(t, err, tt.name)
		assert.LessOrEqual(t, n/batch, tt.most, tt.name)
	}
}
