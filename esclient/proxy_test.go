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

// gate stands before a server, as a load balancer does, and may answer in its place.
type gate struct {
	l      *wiretest.Listener
	target atomic.Value                         // string
	answer atomic.Pointer[func(*wiretest.Peer)] // in place of the server; nil to let through
}

func newGate(t testing.TB, target string) *gate {
	t.Helper()
	g := &gate{}
	g.target.Store(target)
	g.l = wiretest.Listen(t, g.serve)
	return g
}

// replace has all connections from now on answered by somebody else.
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

// says is a stranger that says something, whatever it is asked, and goes.
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
