package chaos

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// frames parses the bytes that one end of a connection sends.
type frames struct {
	see  func(esproto.Command) // called for each complete frame
	head []byte                // length and command of the current frame
	left int                   // remaining bytes of it
}

const headLength = 5

// pass takes bytes that were sent.
func (f *frames) pass(b []byte) {
	for len(b) > 0 {
		if n := headLength - len(f.head); n > 0 {
			n = min(n, len(b))
			f.head, b = append(f.head, b[:n]...), b[n:]
			if len(f.head) == headLength {
				f.left = int(binary.LittleEndian.Uint32(f.head)) - 1
			}
			continue
		}
		n := min(f.left, len(b))
		f.left, b = f.left-n, b[n:]
		if f.left == 0 {
			f.see(esproto.Command(f.head[headLength-1]))
			f.head = f.head[:0]
		}
	}
}

// joining reports whether a client has asked for a group, or joined one, that has not pushed anything since.
type joining struct{ atomic.Bool }

func (j *joining) see(cmd esproto.Command) {
	switch cmd {
	case esproto.CmdConnectToPersistentSubscription, esproto.CmdPersistentSubscriptionConfirmation:
		j.Store(true)
	case esproto.CmdPersistentSubscriptionStreamEventAppeared, esproto.CmdSubscriptionDropped:
		j.Store(false)
	}
}

// clientConn is a client's end of a connection. It parses what the client has read: the relay cannot know that, because
// a lost connection may take along what the relay has passed on.
type clientConn struct {
	*net.TCPConn
	link           *link
	joins          joining
	sent, received frames
	ends           sync.Once
}

func newClientConn(c *net.TCPConn, l *link) *clientConn {
	cc := &clientConn{TCPConn: c, link: l}
	cc.sent.see, cc.received.see = cc.joins.see, cc.joins.see
	return cc
}

// Read is called by one goroutine at a time, and so is Write.
func (c *clientConn) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.received.pass(b[:n])
	return n, err
}

func (c *clientConn) Write(b []byte) (int, error) {
	c.sent.pass(b) // before the answer can come
	return c.TCPConn.Write(b)
}

func (c *clientConn) Close() error {
	c.ends.Do(func() {
		if c.joins.Load() {
			c.link.noteUnused()
		}
	})
	return c.TCPConn.Close()
}
