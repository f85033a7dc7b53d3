package engine

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheKernelCountsItsBytes(t *testing.T) {
	t.Parallel()
	stall := make(chan struct{})
	nc, err := net.Dial("tcp", listen(t, func(*peer) { <-stall }))
	require.NoError(t, err)
	defer close(stall)
	q := newSendQueue(nc)
	require.NotNil(t, q)
	n, ok := q.held()
	assert.True(t, ok)
	assert.Zero(t, n)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := nc.Write(make([]byte, 64<<20))
		assert.Error(t, err, "it does not fit, until the connection is closed")
	})
	assert.Eventually(t, func() bool {
		n, ok = q.held()
		return ok && n > 0
	}, 10*time.Second, time.Millisecond)
	nc.Close()
	wg.Wait()
	_, ok = q.held()
	assert.False(t, ok)
	assert.Nil(t, newSendQueue(bare{nc}))
}
