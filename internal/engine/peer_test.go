package engine

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	peer  = wiretest.Peer
	frame = wiretest.Frame
)

// listen has connections played by serve, and returns where to connect to.
func listen(t testing.TB, serve func(p *peer)) string {
	t.Helper()
	return wiretest.Listen(t, serve).Addr()
}

func connConfig() ConnConfig {
	return ConnConfig{
		HeartbeatInterval: time.Second, HeartbeatTimeout: time.Second, OperationTimeout: 10 * time.Second,
		WriteTimeout: time.Second, MaxFrameSize: esproto.MaxFrameSize, MaxPendingBytes: 1 << 20,
	}
}

// dial connects a Conn to a peer that is played by serve.
func dial(t testing.TB, cfg ConnConfig, serve func(p *peer)) *Conn {
	t.Helper()
	nc, err := net.Dial("tcp", listen(t, serve))
	require.NoError(t, err)
	c := NewConn(nc, nc.RemoteAddr().String(), cfg)
	t.Cleanup(func() { c.Close(ErrClosed) })
	return c
}

// ping is an operation that carries a payload there and back.
type ping struct {
	payload []byte
	back    []byte
}

func (p *ping) Command() esproto.Command      { return esproto.CmdPing }
func (p *ping) AppendPayload(b []byte) []byte { return append(b, p.payload...) }
func (p *ping) Keeps(esproto.Command) bool    { return len(p.payload) > 100 }

func (p *ping) Decode(cmd esproto.Command, payload []byte) error {
	if cmd != esproto.CmdPong {
		return &UnexpectedReplyError{Request: esproto.CmdPing, Reply: cmd}
	}
	p.back = append(p.back[:0], payload...)
	return nil
}

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
