package chaos

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// link is the network between one client and the servers. Each address has its own relay with real sockets. So the
// faults are those of a network: data in transit is lost, buffers fill up, another peer answers.
type link struct {
	rate     atomic.Int64 // bytes a second each way; 0 for no limit
	stalled  atomic.Bool  // nothing gets through, without an error
	stranger atomic.Pointer[string]
	cutAfter atomic.Int64 // cuts the connection that passes so many more bytes; 0 for none

	mu     sync.Mutex
	relays map[string]net.Listener
	conns  map[net.Conn]struct{}
	closed bool
	lost   []time.Time // times of lost connections
	unused []time.Time // times of those without a push since a group was asked for
	wg     sync.WaitGroup
}

func newLink() *link {
	return &link{relays: make(map[string]net.Listener), conns: make(map[net.Conn]struct{})}
}

// dial connects to an address through its relay. It is an esclient.Config.Dial.
func (l *link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	relay, err := l.relay(address)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, relay)
	if err != nil {
		return nil, err
	}
	return newClientConn(c.(*net.TCPConn), l), nil
}

func (l *link) relay(address string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return "", net.ErrClosed
	}
	if r := l.relays[address]; r != nil {
		return r.Addr().String(), nil
	}
	r, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	l.relays[address] = r
	l.wg.Go(func() {
		for {
			c, err := r.Accept()
			if err != nil {
				return
			}
			l.wg.Go(func() { l.serve(c, address) })
		}
	})
	return r.Addr().String(), nil
}

// keep adds a connection for cut. It returns false if the link is closed.
func (l *link) keep(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c.Close()
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *link) drop(c net.Conn) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// cut ends all connections.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

// OnDisconnected implements esclient.DisconnectedHook.
func (l *link) OnDisconnected(esclient.ConnectionInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = append(l.lost, time.Now())
}

// lostWithin reports whether the client lost a connection soon after a time.
func (l *link) lostWithin(at time.Time, soon time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.lost, func(t time.Time) bool { return t.After(at) && t.Sub(at) <= soon })
}

// lostUnused reports whether the client has lost, since a time, a connection on which its group had not pushed
// anything.
func (l *link) lostUnused(since time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.unused, func(t time.Time) bool { return t.After(since) })
}

// heal ends all faults except lost connections.
func (l *link) heal() {
	l.rate.Store(0)
	l.stalled.Store(false)
	l.stranger.Store(nil)
	l.cutAfter.Store(0)
}

func (l *link) close() {
	l.heal()
	l.mu.Lock()
	l.closed = true
	for _, r := range l.relays {
		r.Close()
	}
	l.mu.Unlock()
	l.cut()
	l.wg.Wait()
}

func (l *link) serve(near net.Conn, address string) {
	if !l.keep(near) {
		return
	}
	defer l.drop(near)
	if text := l.stranger.Load(); text != nil {
		io.WriteString(near, *text)
		time.Sleep(2 * time.Millisecond)
		return
	}
	far, err := net.Dial("tcp", address)
	if err != nil || !l.keep(far) {
		return
	}
	defer l.drop(far)
	var other sync.WaitGroup
	other.Go(func() {
		l.pump(far, near)
		far.Close()
		near.Close()
	})
	l.pump(near, far)
	far.Close()
	near.Close()
	other.Wait()
}

// noteUnused notes that a connection ends on which a group had not pushed anything since the client asked for it.
func (l *link) noteUnused() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unused = append(l.unused, time.Now())
}

// pump copies until an end closes or the link cuts the connection.
func (l *link) pump(to io.Writer, from io.Reader) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		for l.stalled.Load() {
			time.Sleep(time.Millisecond)
		}
		if rate := l.rate.Load(); rate > 0 && n > 0 {
			time.Sleep(time.Duration(int64(time.Second) * int64(n) / rate))
		}
		may, cut := l.pass(n)
		if may > 0 {
			if _, err := to.Write(buf[:may]); err != nil {
				return
			}
		}
		if err != nil || cut {
			return
		}
	}
}

// pass returns how many of n bytes may pass until the connection is cut.
func (l *link) pass(n int) (may int, cut bool) {
	for {
		left := l.cutAfter.Load()
		switch {
		case left == 0:
			return n, false
		case left > int64(n):
			if l.cutAfter.CompareAndSwap(left, left-int64(n)) {
				return n, false
			}
		case l.cutAfter.CompareAndSwap(left, 0):
			return int(left), true
		}
	}
}
