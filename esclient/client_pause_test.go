package esclient_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// pausingConn is the connection of a program that does not run for a while after it has sent a heartbeat. When it runs
// again, its read has timed out, although the answer has come.
type pausingConn struct {
	net.Conn
	pause      time.Duration
	heartbeats *atomic.Int64 // that were sent
	paused     *atomic.Bool
	came       []byte // in the pause
}

func (c *pausingConn) Write(b []byte) (int, error) {
	if len(b) > esproto.LengthSize && esproto.Command(b[esproto.LengthSize]) == esproto.CmdHeartbeatRequest {
		c.heartbeats.Add(1)
	}
	return c.Conn.Write(b)
}

func (c *pausingConn) Read(b []byte) (int, error) {
	if n := copy(b, c.came); n > 0 {
		c.came = c.came[n:]
		return n, nil
	}
	n, err := c.Conn.Read(b)
	if n > 0 && c.heartbeats.Load() > 0 && c.paused.CompareAndSwap(false, true) {
		c.came = bytes.Clone(b[:n])
		time.Sleep(c.pause)
		return 0, os.ErrDeadlineExceeded
	}
	return n, err
}

// A program that does not run for a while, such as on a laptop that sleeps, finds the answer to its heartbeat when it
// runs again. The connection is not lost.
func TestAPausedProgramKeepsItsConnection(t *testing.T) {
	t.Parallel()
	srv := estest.Run(t, estest.WithHeartbeat(time.Minute, time.Minute))
	var heartbeats atomic.Int64
	var paused atomic.Bool
	lost := new(lossCounter)
	c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) {
		cfg.HeartbeatInterval, cfg.HeartbeatTimeout = 100*time.Millisecond, 2*time.Second
		cfg.Hooks = append(cfg.Hooks, lost)
		cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, address)
			return &pausingConn{Conn: nc, pause: 4 * time.Second, heartbeats: &heartbeats, paused: &paused}, err
		}
	})
	require.NoError(t, c.Connect(testContext(t)))
	require.Eventually(t, func() bool { return heartbeats.Load() >= 3 }, patience, time.Millisecond)
	assert.True(t, paused.Load())
	assert.Zero(t, lost.n.Load())
}
