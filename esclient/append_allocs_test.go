//go:build !race

package esclient_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// TestAppendsAllocateNothing does not run under the race detector, with which a sync.Pool forgets values at random.
func TestAppendsAllocateNothing(t *testing.T) {
	writer, ctx, data := appendClient(t), testContext(t), make([]byte, 256)
	const batch = 1000
	appendBatch := func() {
		for range batch {
			event := esclient.EventData{Type: "t", Data: data}
			if _, err := writer.Append(ctx, "orders", esclient.Any, event); err != nil {
				t.Error(err)
				return
			}
		}
	}
	appendBatch() // the connection and its buffers
	assert.LessOrEqual(t, testing.AllocsPerRun(5, appendBatch)/batch, 0.2)
}
