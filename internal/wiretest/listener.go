package wiretest

import (
	"net"
	"sync"
	"testing"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Listener takes TCP connections on a port of its own. Its methods may be called by any goroutine.
type Listener struct {
	l     net.Listener
	serve func(*Peer)
	wg    sync.WaitGroup

	mu     sync.Mutex
	taken  int
	open   map[net.Conn]bool
	closed bool
}

// Listen has each connection played by serve, in a goroutine of its own, and closes it when serve returns. At the end
// of the test the connections are cut; serve must return then.
func Listen(t testing.TB, serve func(*Peer)) *Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ls := &Listener{l: l, serve: serve, open: make(map[net.Conn]bool)}
	ls.wg.Go(ls.accept)
	t.Cleanup(ls.Close)
	return ls
}

// Addr is the host:port to connect to.
func (l *Listener) Addr() string { return l.l.Addr().String() }

func (l *Listener) accept() {
	for {
		nc, err := l.l.Accept()
		if err != nil {
			return
		}
		number, ok := l.keep(nc)
		if !ok {
			nc.Close()
			return
		}
		l.wg.Go(func() {
			defer l.forget(nc)
			l.serve(&Peer{Conn: nc, Number: number, Frames: esproto.NewFrameReader(nc, readBuffer, 0)})
		})
	}
}

func (l *Listener) keep(nc net.Conn) (number int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, false
	}
	l.taken++
	l.open[nc] = true
	return l.taken, true
}

func (l *Listener) forget(nc net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, nc)
	nc.Close()
}

// Taken is how many connections there have been.
func (l *Listener) Taken() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken
}

// Cut closes all connections. New ones are taken.
func (l *Listener) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for nc := range l.open {
		nc.Close()
	}
}

// Close closes the port and all connections, and waits until all players have returned. A second call does nothing.
func (l *Listener) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.l.Close()
	l.Cut()
	l.wg.Wait()
}

// Refusing returns the host:port of a port without a listener, which refuses connections.
func Refusing(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}
