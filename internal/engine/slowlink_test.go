package engine

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// link is a TCP connection through a relay with a limited rate.
type link struct {
	up, down int  // bytes a second; 0 for no limit
	holds    bool // the relay takes all bytes at once, and passes them on at its rate
	tight    bool // it takes no more than it passes on, as far as sockets allow
}

// through relays connections to addr until the test ends, and returns where.
func (l *link) through(t testing.TB, addr string) string {
	t.Helper()
	return listen(t, func(p *peer) {
		if l.tight {
			p.Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
		}
		far, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		var wg sync.WaitGroup
		wg.Go(func() { defer p.Close(); l.relay(p, far, l.down) })
		l.relay(far, p, l.up)
		far.Close()
		wg.Wait()
	})
}

func (l *link) relay(dst io.Writer, src io.Reader, rate int) {
	if l.holds {
		h, from := newHold(), src
		go func() {
			io.Copy(h, from)
			h.end()
		}()
		src = h
	}
	for buf := make([]byte, 16<<10); ; {
		n, err := src.Read(buf[:max(1, min(len(buf), piece(rate)))])
		if rate > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
		}
		if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// piece returns the number of bytes that pass at a time: those of a hundredth of a second.
func piece(rate int) int {
	if rate <= 0 {
		return 16 << 10
	}
	return rate / 100
}

// hold is a pipe without a limit.
type hold struct {
	mu   sync.Mutex
	more *sync.Cond
	b    []byte
	over bool
}

func newHold() *hold {
	h := new(hold)
	h.more = sync.NewCond(&h.mu)
	return h
}

func (h *hold) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b = append(h.b, b...)
	h.more.Signal()
	return len(b), nil
}

func (h *hold) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.more.Signal()
}

func (h *hold) Read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.b) == 0 {
		if h.over {
			return 0, io.EOF
		}
		h.more.Wait()
	}
	n := copy(b, h.b)
	h.b = h.b[n:]
	return n, nil
}

// hurried has limits that are much shorter than the link needs for the tests.
func hurried() ConnConfig {
	cfg := connConfig()
	cfg.HeartbeatInterval, cfg.HeartbeatTimeout = 100*time.Millisecond, 200*time.Millisecond
	cfg.OperationTimeout, cfg.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	cfg.MaxPendingBytes = 4 << 20
	return cfg
}

// brief answers everything with an empty payload.
func brief(p *peer) {
	for {
		f, err := p.Next()
		if err != nil {
			return
		}
		p.Send(esproto.CmdPong, f.CorrelationID, nil)
	}
}

// bare hides all methods of a connection but those of net.Conn.
type bare struct{ net.Conn }

func TestALargeRequestOverASlowLinkIsNotGivenUp(t *testing.T) {
	t.Parallel()
	const rate, size = 1 << 20, 1 << 20
	plain := func(_ *testing.T, nc net.Conn) net.Conn { return nc }
	for name, tc := range map[string]struct {
		link link
		wrap func(*testing.T, net.Conn) net.Conn
		tls  bool
	}{
		"that holds little":                      {link: link{tight: true}, wrap: plain},
		"whose relay holds what sockets do":      {wrap: plain},
		"whose relay holds everything":           {link: link{holds: true}, wrap: plain},
		"whose relay holds what sockets do, TLS": {wrap: secure, tls: true},
		"whose relay holds everything, TLS":      {link: link{holds: true}, wrap: secure, tls: true},
		"that shows nothing":                     {link: link{tight: true}, wrap: hide},
		"that shows nothing, holds everything":   {link: link{holds: true}, wrap: hide},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serve := brief
			if tc.tls {
				serve = secured(t, brief)
			}
			tc.link.up = rate
			nc, err := net.Dial("tcp", tc.link.through(t, listen(t, serve)))
			require.NoError(t, err)
			c := NewConn(tc.wrap(t, nc), "peer", hurried())
			t.Cleanup(func() { c.Close(ErrClosed) })
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					_, err := c.Do(background(t), &ping{payload: make([]byte, size/2)}, nil)
					assert.NoError(t, err)
				})
			}
			wg.Go(func() {
				_, err := c.Do(background(t), &ping{}, nil) // among them
				assert.NoError(t, err)
			})
			wg.Wait()
			assert.NoError(t, c.Err())
		})
	}
}

func hide(_ *testing.T, nc net.Conn) net.Conn { return bare{nc} }

func secure(t *testing.T, nc net.Conn) net.Conn {
	tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test's own peer
	require.NoError(t, tc.HandshakeContext(background(t)))
	return tc
}

// secured plays a peer over TLS.
func secured(t *testing.T, serve func(p *peer)) func(p *peer) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cfg := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return func(p *peer) {
		nc := tls.Server(p, cfg)
		serve(wiretest.NewPeer(nc))
	}
}

// A call behind a large reply waits for it, and so does one whose own reply is large.
func TestALargeReplyOverASlowLinkIsNotGivenUp(t *testing.T) {
	t.Parallel()
	slow := link{down: 1 << 20}
	c := dialThrough(t, hurried(), &slow, func(p *peer) {
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			p.Send(esproto.CmdPong, f.CorrelationID, make([]byte, len(f.Payload)<<10))
		}
	})
	var wg sync.WaitGroup
	for _, size := range []int{1 << 10, 512, 0} { // KiB of the reply
		wg.Go(func() {
			op := &ping{payload: make([]byte, size)}
			_, err := c.Do(background(t), op, nil)
			assert.NoError(t, err)
			assert.Len(t, op.back, size<<10)
		})
	}
	wg.Wait()
	assert.NoError(t, c.Err())
}

func dialThrough(t testing.TB, cfg ConnConfig, l *link, serve func(p *peer)) *Conn {
	t.Helper()
	nc, err := net.Dial("tcp", l.through(t, listen(t, serve)))
	require.NoError(t, err)
	c := NewConn(nc, "peer", cfg)
	t.Cleanup(func() { c.Close(ErrClosed) })
	return c
}

// The heartbeat of a server to a silent client waits behind its other frames, so the client must send one by itself.
func TestAClientThatOnlyReceivesSpeaks(t *testing.T) {
	t.Parallel()
	cfg := connConfig()
	cfg.HeartbeatInterval = 40 * time.Millisecond
	beats := make(chan struct{}, 1)
	c := dial(t, cfg, func(p *peer) {
		f, err := p.Next()
		if err != nil {
			return
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			for n := 0; n < 3; {
				h, _, err := p.Frames.Next()
				if err != nil {
					return
				}
				if h.Command == esproto.CmdHeartbeatRequest {
					n++
				}
			}
			close(beats)
		})
		large := esproto.AppendFrame(nil, esproto.CmdPong, f.CorrelationID, make([]byte, 1<<20))
		for rest := large[:len(large)-1]; len(rest) > 0; {
			n, err := p.Write(rest[:min(1<<10, len(rest))])
			if err != nil {
				return
			}
			rest = rest[n:]
			select {
			case <-beats:
				rest = nil
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	begun, err := c.Begin(background(t), &ping{}, nil)
	require.NoError(t, err)
	defer begun.Cancel()
	select {
	case <-beats:
	case <-background(t).Done():
		t.Fatal("it has not spoken")
	}
}

// unanswered starts a subscription, to which a peer may push, and makes a call.
func unanswered(t *testing.T, c *Conn) error {
	t.Helper()
	s := &pushes{all: make(chan struct{})}
	require.NoError(t, c.StartSubscription(background(t), s, nil, s, func(Handle) {}))
	_, err := c.Do(background(t), &ping{}, nil)
	return err
}

// TestOtherTrafficDoesNotKeepACallAlive has a peer push without end, and answer heartbeats or not, but never the call.
func TestOtherTrafficDoesNotKeepACallAlive(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		size int
		mute bool
	}{
		"small pushes":                      {size: 100},
		"small pushes, no heartbeats":       {size: 100, mute: true},
		"pushes of a beat each":             {size: 64 << 10},
		"as much as the connection carries": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := hurried()
			rest := time.Millisecond
			if tc.size == 0 {
				tc.size, rest = 1000, 0
			}
			l := link{down: 1 << 20}
			c := dialThrough(t, cfg, &l, func(p *peer) { pushAlways(p, tc.size, rest, tc.mute) })
			assert.ErrorIs(t, unanswered(t, c), ErrOperationTimeout)
			assert.NoError(t, c.Err())
		})
	}
}

// pushAlways pushes to the first request that comes.
func pushAlways(p *peer, size int, rest time.Duration, mute bool) {
	first, err := p.Next()
	if err != nil {
		return
	}
	var (
		wg      sync.WaitGroup
		answers = make(chan esproto.CorrelationID, 100)
	)
	defer wg.Wait()
	wg.Go(func() {
		defer close(answers)
		for {
			h, _, err := p.Frames.Next()
			if err != nil {
				return
			}
			if h.Command == esproto.CmdHeartbeatRequest && !mute {
				answers <- h.CorrelationID
			}
		}
	})
	push := esproto.AppendFrame(nil, esproto.CmdPong, first.CorrelationID, make([]byte, size))
	for {
		if _, err := p.Write(push); err != nil {
			return
		}
		select {
		case id, ok := <-answers:
			if !ok {
				return
			}
			p.Write(esproto.AppendFrame(nil, esproto.CmdHeartbeatResponse, id, nil))
		case <-time.After(rest):
		}
	}
}

func TestAPeerThatTakesNothingIsFoundBehindALargeRequest(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(*testing.T, net.Conn) net.Conn{
		"plain": func(_ *testing.T, nc net.Conn) net.Conn { return nc }, "that shows nothing": hide,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stall := make(chan struct{})
			nc, err := net.Dial("tcp", listen(t, func(p *peer) {
				p.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
				<-stall
			}))
			defer close(stall)
			require.NoError(t, err)
			require.NoError(t, nc.(*net.TCPConn).SetWriteBuffer(4<<10))
			c := NewConn(wrap(t, nc), "peer", hurried())
			t.Cleanup(func() { c.Close(ErrClosed) })
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err = c.Do(ctx, &ping{payload: make([]byte, 8<<20)}, nil)
			require.Error(t, err)
			require.NoError(t, ctx.Err(), "it takes too long")
		})
	}
}
