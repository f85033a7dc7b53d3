package engine

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheKernelTellsWhatItHolds(t *testing.T) {
	t.Parallel()
	read := make(chan struct{})
	nc, err := net.Dial("tcp", listen(t, func(p *peer) {
		<-read
		_, _ = p.nc.Read(make([]byte, 1))
		echo(p)
	}))
	require.NoError(t, err)
	defer nc.Close()
	q := newSendQueue(nc)
	require.NotNil(t, q)
	n, ok := q.held()
	assert.True(t, ok)
	assert.Zero(t, n)
	require.NoError(t, nc.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = nc.Write(make([]byte, 64<<20))
	require.Error(t, err, "it does not fit")
	n, ok = q.held()
	assert.True(t, ok)
	assert.Positive(t, n)
	close(read)

	assert.Nil(t, newSendQueue(bare{nc}))
	nc.Close()
	_, ok = q.held()
	assert.False(t, ok)
}
