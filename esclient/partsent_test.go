package esclient_test

import (
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// A connection that ends within a large request leaves nothing unknown: the server takes whole frames only.
func TestAnAppendThatWasSentInPartIsRepeated(t *testing.T) {
	t.Parallel()
	const size = 15 << 20 // more than the sockets hold
	srv := estest.Run(t)
	var connections atomic.Int64
	addr := peer(t, func(near net.Conn) {
		far, err := net.Dial("tcp", srv.Addr())
		if err != nil {
			return
		}
		defer far.Close()
		go func() {
			defer near.Close()
			io.Copy(near, far)
		}()
		if connections.Add(1) > 1 {
			io.Copy(far, near)
			return
		}
		near.(*net.TCPConn).SetReadBuffer(16 << 10)
		io.CopyN(far, near, size/4)
	})
	cfg, err := esclient.ParseConnectionString(srv.ConnectionString())
	require.NoError(t, err)
	cfg.Address = addr
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	defer c.Close()
	ctx := testContext(t)
	_, err = c.Append(ctx, "s", esclient.Any, esclient.EventData{Type: "t", Data: make([]byte, size)})
	require.NoError(t, err, "which is repeated on another connection only if it was not sent")
	events, err := srv.Read("s", 0, 10)
	require.NoError(t, err)
	assert.Len(t, events, 1)
	assert.EqualValues(t, 2, connections.Load())
}
