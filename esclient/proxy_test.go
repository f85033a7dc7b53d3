package esclient_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// gate is in front of a server, like a load balancer, and may answer in its place.
type gate struct {
	l      *wiretest.Listener
	target atomic.Value                         // string
	answer atomic.Pointer[func(*wiretest.Peer)] // answers instead of the server; nil to pass everything
}

func newGate(t testing.TB, target string) *gate {
	t.Helper()
	g := &gate{}
	g.target.Store(target)
	g.l = wiretest.Listen(t, g.serve)
	return g
}

// replace makes another peer answer all new connections.
func (g *gate) replace(by func(*wiretest.Peer)) {
	g.answer.Store(&by)
	g.l.Cut()
}

func (g *gate) letThrough() { g.answer.Store(nil) }

func (g *gate) serve(p *wiretest.Peer) {
	if answer := g.answer.Load(); answer != nil {
		(*answer)(p)
		return
	}
	up, err := net.Dial("tcp", g.target.Load().(string))
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer up.Close()
	wg.Go(func() {
		io.Copy(up, p)
		up.Close()
	})
	io.Copy(p, up)
	p.Close()
}

// says is a peer that answers any request with the same text, and closes.
func says(text string) func(*wiretest.Peer) {
	return func(p *wiretest.Peer) {
		p.Write([]byte(text))
		p.Read(make([]byte, 100))
	}
}

// refuses is a server that answers Authenticate with NotAuthenticated, and nothing else.
func refuses(text string) func(*wiretest.Peer) {
	return func(p *wiretest.Peer) {
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			if f.Command == esproto.CmdAuthenticate {
				p.Send(esproto.CmdNotAuthenticated, f.CorrelationID, []byte(text))
			}
		}
	}
}
