package engine

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frame is what a peer has received.
type frame struct {
	esproto.Header
	payload []byte // credentials included
}

// peer is the other end of one connection, played by the test.
type peer struct {
	t  testing.TB
	nc net.Conn
	r  *esproto.FrameReader
}

// next reads the next frame that is no heartbeat, and answers those.
func (p *peer) next() (frame, error) {
	for {
		h, _, err := p.r.Next()
		if err != nil {
			return frame{}, err
		}
		payload, err := p.r.Take()
		if err != nil {
			return frame{}, err
		}
		switch h.Command {
		case esproto.CmdHeartbeatRequest:
			p.nc.Write(esproto.AppendFrame(nil, esproto.CmdHeartbeatResponse, h.CorrelationID, nil))
		case esproto.CmdHeartbeatResponse:
		default:
			return frame{h, payload}, nil
		}
	}
}

func (p *peer) send(cmd esproto.Command, id esproto.CorrelationID, payload []byte) {
	p.t.Helper()
	_, err := p.nc.Write(esproto.AppendFrame(nil, cmd, id, payload))
	require.NoError(p.t, err)
}

// reply sends what a server would reply to a ping or during the handshake.
func (p *peer) reply(f frame) {
	switch f.Command {
	case esproto.CmdPing:
		p.send(esproto.CmdPong, f.CorrelationID, f.payload)
	case esproto.CmdAuthenticate:
		p.send(esproto.CmdAuthenticated, f.CorrelationID, nil)
	case esproto.CmdIdentifyClient:
		p.send(esproto.CmdClientIdentified, f.CorrelationID, nil)
	}
}

// listen accepts connections and plays each of them with serve, until the test ends.
func listen(t testing.TB, serve func(p *peer)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
	)
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, nc)
			mu.Unlock()
			wg.Go(func() {
				defer nc.Close()
				serve(&peer{t: t, nc: nc, r: esproto.NewFrameReader(nc, 4096, 0)})
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, nc := range conns {
			nc.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// echo answers everything that it can.
func echo(p *peer) {
	for {
		f, err := p.next()
		if err != nil {
			return
		}
		p.reply(f)
	}
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
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
