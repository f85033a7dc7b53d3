package esclient_test

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// A connection that ends within a large request leaves nothing unknown: the server takes whole frames only.
func TestAnAppendThatWasSentInPartIsRepeated(t *testing.T) {
	t.Parallel()
	const size = 15 << 20 // more than the sockets hold
	srv := estest.Run(t)
	l := wiretest.Listen(t, func(near *wiretest.Peer) {
		far, err := net.Dial("tcp", srv.Addr())
		if err != nil {
			return
		}
		defer far.Close()
		go func() {
			defer near.Close()
			io.Copy(near, far)
		}()
		if near.Number > 1 {
			io.Copy(far, near)
			return
		}
		near.Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
		io.CopyN(far, near, size/4)
	})
	cfg, err := esclient.ParseConnectionString(srv.ConnectionString())
	require.NoError(t, err)
	cfg.Address = l.Addr()
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	defer c.Close()
	ctx := testContext(t)
	_, err = c.Append(ctx, "s", esclient.Any, esclient.EventData{Type: "t", Data: make([]byte, size)})
	require.NoError(t, err, "which is repeated on another connection only if it was not sent")
	events, err := srv.Read("s", 0, 10)
	require.NoError(t, err)
	assert.Len(t, events, 1)
	assert.Equal(t, 2, l.Taken())
}
