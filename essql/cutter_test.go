package essql_test

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// cutter passes connections on to a server, and cuts them: the server gets the last bytes, or does not, and its answer
// is lost.
type cutter struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	cuts  int  // that are left
	until int  // packets from clients until the next cut
	gone  bool // no connection gets through
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func newCutter(t *testing.T, target string, cuts int) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cutter{listener: listener, target: target, cuts: cuts, until: 1, conns: make(map[net.Conn]bool)}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		c.refuse(true)
		c.wg.Wait()
	})
	return c
}

// refuse ends all connections, and new ones at once, or allows new ones again.
func (c *cutter) refuse(refuse bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = refuse
	if refuse {
		for conn := range c.conns {
			_ = conn.Close()
		}
	}
}

func (c *cutter) address() string { return c.listener.Addr().String() }

func (c *cutter) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts
}

// cutNow reports whether a connection is to be cut after the next packet, and whether the server gets that.
func (c *cutter) cutNow() (cut, arrives bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cuts == 0 {
		return false, true
	}
	if c.until--; c.until > 0 {
		return false, true
	}
	c.cuts--
	c.until = 1 + rand.IntN(40)
	return true, rand.IntN(3) > 0
}

func (c *cutter) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		c.mu.Lock()
		c.conns[client], c.conns[server] = true, true
		if c.gone {
			_, _ = client.Close(), server.Close()
		}
		c.mu.Unlock()
		c.wg.Go(func() {
			_, _ = io.Copy(client, server)
			_ = client.Close()
			_ = server.Close()
		})
		c.wg.Go(func() {
			c.send(server, client)
			c.mu.Lock()
			delete(c.conns, client)
			delete(c.conns, server)
			c.mu.Unlock()
		})
	}
}

// send copies the client's bytes to the server until the connection ends or is cut.
func (c *cutter) send(server, client net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			break
		}
		cut, arrives := c.cutNow()
		if cut {
			_ = client.Close() // first: no answer arrives
		}
		if arrives {
			if _, err := server.Write(buf[:n]); err != nil {
				break
			}
		}
		if cut {
			break
		}
	}
	_ = client.Close()
	// The server reads the rest, finds the end and closes the connection, which ends the other goroutine.
	if tcp, ok := server.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}
