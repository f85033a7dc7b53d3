package esclient_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// gate stands before a server, as a load balancer does, and may answer in its place.
type gate struct {
	l      net.Listener
	target atomic.Value // string
	wg     sync.WaitGroup
	answer atomic.Pointer[func(net.Conn)] // in place of the server; nil to let through
	conns  atomic.Int32

	mu   sync.Mutex
	open map[net.Conn]bool
}

func newGate(t testing.TB, target string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &gate{l: l, open: make(map[net.Conn]bool)}
	g.target.Store(target)
	g.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			g.keep(nc)
			g.conns.Add(1)
			g.wg.Go(func() { g.serve(nc) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		g.cut()
		g.wg.Wait()
	})
	return g
}

func (g *gate) addr() string { return g.l.Addr().String() }

func (g *gate) keep(nc net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[nc] = true
}

// cut ends all connections.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for nc := range g.open {
		nc.Close()
	}
	clear(g.open)
}

// replace has all connections from now on answered by somebody else.
func (g *gate) replace(by func(net.Conn)) {
	g.answer.Store(&by)
	g.cut()
}

func (g *gate) letThrough() { g.answer.Store(nil) }

func (g *gate) serve(nc net.Conn) {
	defer nc.Close()
	if answer := g.answer.Load(); answer != nil {
		(*answer)(nc)
		return
	}
	up, err := net.Dial("tcp", g.target.Load().(string))
	if err != nil {
		return
	}
	defer up.Close()
	g.keep(up)
	g.wg.Go(func() {
		io.Copy(up, nc)
		up.Close()
	})
	io.Copy(nc, up)
}

// says is a stranger that says something, whatever it is asked, and goes.
func says(text string) func(net.Conn) {
	return func(nc net.Conn) {
		nc.Write([]byte(text))
		nc.Read(make([]byte, 100))
	}
}

// refuses is a server that answers Authenticate with NotAuthenticated.
func refuses(text string) func(net.Conn) {
	return func(nc net.Conn) {
		r := esproto.NewFrameReader(nc, 4096, 1<<20)
		for {
			h, _, err := r.Next()
			if err != nil {
				return
			}
			if h.Command == esproto.CmdAuthenticate {
				nc.Write(esproto.AppendFrame(nil, esproto.CmdNotAuthenticated, h.CorrelationID, []byte(text)))
			}
		}
	}
}
