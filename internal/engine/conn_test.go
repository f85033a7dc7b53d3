package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func TestCallsInParallelGetTheirOwnReplies(t *testing.T) {
	// The peer answers in batches, each in a random order.
	c := dial(t, connConfig(), func(p *peer) {
		var waiting []frame
		for {
			f, err := p.Next()
			if err != nil {
				return
			}
			if waiting = append(waiting, f); len(waiting) < 8 && p.Frames.Buffered() > 0 {
				continue
			}
			rand.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
			for _, f := range waiting {
				p.Reply(f)
			}
			waiting = waiting[:0]
		}
	})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for n := range 50 {
				op := &ping{payload: bytes.Repeat([]byte{byte(i)}, 1+i*n)}
				sent, err := c.Do(background(t), op, nil)
				if !assert.NoError(t, err) {
					return
				}
				assert.True(t, sent)
				assert.Equal(t, op.payload, op.back)
			}
		})
	}
	wg.Wait()
}

func TestCorrelationIDsAreUniqueAcrossConnections(t *testing.T) {
	seen := make(chan esproto.CorrelationID, 2)
	serve := func(p *peer) {
		f, err := p.Next()
		if err != nil {
			return
		}
		seen <- f.CorrelationID
		p.Reply(f)
	}
	for range 2 {
		_, err := dial(t, connConfig(), serve).Do(background(t), &ping{}, nil)
		require.NoError(t, err)
	}
	a, b := <-seen, <-seen
	assert.False(t, a.IsZero())
	assert.NotEqual(t, a, b)
}

func TestDeathFailsEveryWaiter(t *testing.T) {
	received := make(chan struct{}, 100)
	c := dial(t, connConfig(), func(p *peer) {
		for range 10 {
			if _, err := p.Next(); err != nil {
				return
			}
			received <- struct{}{}
		}
	})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			sent, err := c.Do(background(t), &ping{}, nil)
			assert.True(t, sent)
			var lost *ConnectionError
			assert.ErrorAs(t, err, &lost)
			assert.Equal(t, c.Endpoint(), lost.Endpoint)
		})
	}
	wg.Wait()
	<-c.Dead()
	assert.Len(t, received, 10)
	sent, err := c.Do(background(t), &ping{}, nil)
	assert.False(t, sent, "on a dead connection nothing is sent")
	assert.ErrorIs(t, err, c.Err())
}

func TestADrainingConnectionAnswersThoseWhoWait(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	c := dial(t, connConfig(), func(p *peer) {
		_, _ = p.Next() // the subscription
		f, _ := p.Next()
		close(arrived)
		<-release
		p.Reply(f)
		_, err := p.Next()
		assert.Error(t, err, "it is closed after the last reply")
	})
	subscription := newProbe()
	require.NoError(t, c.StartSubscription(background(t), &ping{}, nil, subscription, func(Handle) {}))
	answered := make(chan error, 1)
	go func() {
		_, err := c.Do(background(t), &ping{}, nil)
		answered <- err
	}()
	<-arrived
	c.Drain(errRedirected)
	c.Drain(errRedirected) // again
	assert.True(t, <-subscription.sent, "a subscription ends at once")
	sent, err := c.Do(background(t), &ping{}, nil)
	assert.False(t, sent, "nothing new begins")
	require.ErrorIs(t, err, errRedirected)
	close(release)
	require.NoError(t, <-answered)
	<-c.Dead()
	assert.ErrorIs(t, c.Err(), errRedirected)
}

func TestADrainingConnectionDoesNotWaitForLong(t *testing.T) {
	arrived := make(chan struct{})
	c := dial(t, connConfig(), func(p *peer) {
		_, _ = p.Next()
		close(arrived)
		_, _ = p.Next() // until it is closed
	})
	failed := newProbe()
	_, err := c.Start(background(t), &ping{}, nil, failed)
	require.NoError(t, err)
	<-arrived
	c.Drain(errRedirected)
	assert.True(t, <-failed.sent)
	<-c.Dead()
}

func TestCloseFailsPendingCallsAtOnce(t *testing.T) {
	asked := make(chan struct{})
	c := dial(t, connConfig(), func(p *peer) {
		if _, err := p.Next(); err == nil {
			close(asked)
			p.Next()
		}
	})
	done := make(chan error, 1)
	go func() {
		_, err := c.Do(background(t), &ping{}, nil)
		done <- err
	}()
	<-asked
	c.Close(ErrClosed)
	assert.ErrorIs(t, <-done, ErrClosed)
}

func TestContextEndsACallThatWaits(t *testing.T) {
	asked := make(chan frame, 2)
	release := make(chan struct{})
	c := dial(t, connConfig(), func(p *peer) {
		f, err := p.Next()
		if err != nil {
			return
		}
		asked <- f
		<-release
		p.Reply(f) // late: no caller waits for it any more
		p.Echo()
	})
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() {
		sent, err := c.Do(ctx, &ping{}, nil)
		assert.True(t, sent)
		done <- err
	}()
	<-asked
	why := errors.New("changed my mind")
	cancel(why)
	assert.ErrorIs(t, <-done, why)
	close(release)
	op := &ping{payload: []byte("next")}
	_, err := c.Do(background(t), op, nil)
	require.NoError(t, err)
	assert.Equal(t, "next", string(op.back))
}

func TestContextEndsACallWhoseReplyArrivesInPieces(t *testing.T) {
	half, release := make(chan struct{}), make(chan struct{})
	c := dial(t, connConfig(), func(p *peer) {
		f, err := p.Next()
		if err != nil {
			return
		}
		b := esproto.AppendFrame(nil, esproto.CmdPong, f.CorrelationID, make([]byte, 200))
		p.Write(b[:100])
		close(half)
		<-release
		p.Write(b[100:])
		p.Echo()
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := c.Do(ctx, &ping{payload: make([]byte, 200)}, nil)
		done <- err
	}()
	<-half
	cancel()
	assert.ErrorIs(t, <-done, context.Canceled)
	close(release)
	_, err := c.Do(background(t), &ping{}, nil)
	assert.NoError(t, err, "the rest of the abandoned frame does no harm")
}

func TestOperationTimeout(t *testing.T) {
	cfg := connConfig()
	cfg.OperationTimeout = 40 * time.Millisecond
	c := dial(t, cfg, func(p *peer) {
		p.Next() // is not answered
		p.Echo()
	})
	sent, err := c.Do(background(t), &ping{}, nil)
	assert.ErrorIs(t, err, ErrOperationTimeout)
	assert.True(t, sent)
	_, err = c.Do(background(t), &ping{}, nil)
	assert.NoError(t, err, "the connection goes on")
}

func TestHeartbeatsAreAnsweredByTheReader(t *testing.T) {
	answered := make(chan esproto.CorrelationID, 1)
	id := esproto.CorrelationID{1, 2, 3}
	dial(t, connConfig(), func(p *peer) {
		p.Send(esproto.CmdHeartbeatRequest, id, nil)
		for {
			h, _, err := p.Frames.Next()
			if err != nil {
				return
			}
			if h.Command == esproto.CmdHeartbeatResponse {
				answered <- h.CorrelationID
				return
			}
		}
	})
	assert.Equal(t, id, <-answered)
}

func TestASilentPeerIsAskedAndThenGivenUp(t *testing.T) {
	cfg := connConfig()
	cfg.HeartbeatInterval, cfg.HeartbeatTimeout = 40*time.Millisecond, 40*time.Millisecond
	beats := make(chan esproto.CorrelationID, 10)
	c := dial(t, cfg, func(p *peer) {
		for n := 0; ; {
			h, _, err := p.Frames.Next()
			if err != nil {
				close(beats)
				return
			}
			if h.Command == esproto.CmdHeartbeatRequest {
				beats <- h.CorrelationID
				if n++; n < 3 {
					p.Send(esproto.CmdHeartbeatResponse, h.CorrelationID, nil)
				}
			}
		}
	})
	<-c.Dead()
	assert.ErrorIs(t, c.Err(), ErrHeartbeatTimeout)
	var n int
	for id := range beats {
		assert.False(t, id.IsZero())
		n++
	}
	assert.Equal(t, 3, n)
}

func TestZeroIDBadRequestEndsTheConnection(t *testing.T) {
	c := dial(t, connConfig(), func(p *peer) {
		p.Send(esproto.CmdBadRequest, esproto.CorrelationID{}, []byte("queue too long"))
		p.Echo()
	})
	<-c.Dead()
	var bad *BadRequestError
	require.ErrorAs(t, c.Err(), &bad)
	assert.Equal(t, "queue too long", bad.Text)
}

func TestRepliesThatAreErrors(t *testing.T) {
	info, err := proto.Marshal(&esproto.NotHandled_LeaderInfo{
		ExternalTcpAddress: proto.String("node2"), ExternalTcpPort: proto.Int32(1113),
	})
	require.NoError(t, err)
	leader, err := proto.Marshal(&esproto.NotHandled{Reason: esproto.NotHandled_NotLeader.Enum(), AdditionalInfo: info})
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		cmd     esproto.Command
		payload string
		check   func(t *testing.T, err error)
	}{
		"bad request": {esproto.CmdBadRequest, "what?", func(t *testing.T, err error) {
			var e *BadRequestError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "what?", e.Text)
		}},
		"not authenticated": {esproto.CmdNotAuthenticated, "Not Authenticated", func(t *testing.T, err error) {
			assert.ErrorIs(t, err, ErrNotAuthenticated)
		}},
		"not ready": {esproto.CmdNotHandled, "\x08\x00", func(t *testing.T, err error) {
			var e *NotHandledError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, esproto.NotHandled_NotReady, e.Reason)
		}},
		"not handled, unreadable": {esproto.CmdNotHandled, "\xff", func(t *testing.T, err error) {
			assert.ErrorIs(t, err, esproto.ErrMalformed)
		}},
		"not leader": {esproto.CmdNotHandled, string(leader), func(t *testing.T, err error) {
			var e *NotHandledError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, esproto.NotHandled_NotLeader, e.Reason)
			endpoint, ok := e.LeaderEndpoint(false)
			assert.True(t, ok)
			assert.Equal(t, "node2:1113", endpoint)
			_, ok = e.LeaderEndpoint(true)
			assert.False(t, ok, "no secure endpoint was named")
		}},
		"another command": {esproto.CmdAuthenticated, "", func(t *testing.T, err error) {
			var e *UnexpectedReplyError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, esproto.CmdAuthenticated, e.Reply)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, connConfig(), func(p *peer) {
				if f, err := p.Next(); err == nil {
					p.Send(tc.cmd, f.CorrelationID, []byte(tc.payload))
				}
				p.Echo()
			})
			_, err := c.Do(background(t), &ping{}, nil)
			tc.check(t, err)
			_, err = c.Do(background(t), &ping{}, nil)
			assert.NoError(t, err, "the connection goes on")
		})
	}
}

func TestAPeerThatIsNoEventStore(t *testing.T) {
	for name, hello := range map[string]string{
		"http":     "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request",
		"ssh":      "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
		"zeros":    "\x00\x00\x00\x00\x00\x00\x00\x00",
		"tooSmall": "\x11\x00\x00\x00AAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, connConfig(), func(p *peer) {
				fmt.Fprint(p, hello)
				p.Next()
			})
			<-c.Dead()
			assert.ErrorIs(t, c.Err(), ErrNotEventStore)
		})
	}
}

func TestFullBufferHoldsCallersBackUntilTheirContextEnds(t *testing.T) {
	cfg := connConfig()
	cfg.MaxPendingBytes = 64 << 10
	cfg.WriteTimeout = 0
	stall := make(chan struct{})
	c := dial(t, cfg, func(p *peer) { <-stall })
	defer close(stall)
	c.nc.(*net.TCPConn).SetWriteBuffer(1 << 10)
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	var held bool
	for range 10_000 {
		reply := &call{op: &ping{}, done: make(chan struct{}, 1)}
		if _, err := c.Start(ctx, &ping{payload: make([]byte, 16<<10)}, nil, reply); err != nil {
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			held = true
			break
		}
	}
	assert.True(t, held)
	c.mu.Lock()
	pending := len(c.mu.pending)
	c.mu.Unlock()
	assert.LessOrEqual(t, pending, cfg.MaxPendingBytes+20<<10, "what waits is bounded")
}

func TestWriteTimeoutEndsAStalledConnection(t *testing.T) {
	cfg := connConfig()
	cfg.WriteTimeout = 50 * time.Millisecond
	cfg.HeartbeatInterval = 0
	stall := make(chan struct{})
	c := dial(t, cfg, func(p *peer) { <-stall })
	defer close(stall)
	_, err := c.Do(background(t), &ping{payload: make([]byte, 32<<20)}, nil)
	var lost *ConnectionError
	assert.ErrorAs(t, err, &lost)
}

func TestUnsentRequestsAreKnownAsSuch(t *testing.T) {
	cfg := connConfig()
	cfg.WriteTimeout = 0
	cfg.MaxPendingBytes = 128 << 20
	read, stall := make(chan struct{}), make(chan struct{})
	c := dial(t, cfg, func(p *peer) {
		p.Next()
		close(read)
		<-stall
	})
	defer close(stall)
	// The second fills the socket, so that the writer is stuck and the third waits in the buffer.
	first, second, third := newProbe(), newProbe(), newProbe()
	_, err := c.Start(background(t), &ping{}, nil, first)
	require.NoError(t, err)
	<-read
	_, err = c.Start(background(t), &ping{payload: make([]byte, 64<<20)}, nil, second)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return c.written.Load() > 64<<10 }, 5*time.Second, time.Millisecond)
	_, err = c.Start(background(t), &ping{}, nil, third)
	require.NoError(t, err)
	c.Close(ErrClosed)
	assert.True(t, <-first.sent)
	assert.False(t, <-second.sent, "a part of a frame is nothing to the peer")
	assert.False(t, <-third.sent)
}

// probe is a Receiver that notes how it failed.
type probe struct{ sent chan bool }

func newProbe() *probe                              { return &probe{sent: make(chan bool, 1)} }
func (*probe) Keeps(esproto.Command, int) bool      { return false }
func (*probe) Receive(esproto.Command, []byte) bool { return false }
func (*probe) TooLarge(esproto.Command, error) bool { return false }
func (*probe) Wake()                                {}
func (p *probe) Fail(_ error, sent bool)            { p.sent <- sent }

// FuzzConn feeds a connection with any bytes: it must neither panic nor hang.
func FuzzConn(f *testing.F) {
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add(esproto.AppendFrame(nil, esproto.CmdHeartbeatRequest, esproto.CorrelationID{1}, nil))
	f.Add(esproto.AppendFrame(nil, esproto.CmdBadRequest, esproto.CorrelationID{}, []byte("no")))
	beat := esproto.AppendFrame(nil, esproto.CmdHeartbeatRequest, esproto.CorrelationID{1}, nil)
	f.Add(esproto.AppendFrame(beat, esproto.CmdPong, esproto.CorrelationID{2}, make([]byte, 200)))
	f.Fuzz(func(t *testing.T, b []byte) {
		near, far := net.Pipe()
		cfg := connConfig()
		cfg.MaxFrameSize = 100
		c := NewConn(near, "pipe", cfg)
		var wg sync.WaitGroup
		wg.Go(func() { far.Write(b); far.Close() })
		c.Do(background(t), &ping{}, nil)
		c.Close(ErrClosed)
		far.Close()
		wg.Wait()
	})
}

// TestWhoMeetsTheErrorOfAConnectionFindsItDead is about calls that would otherwise be made on it again and again.
func TestWhoMeetsTheErrorOfAConnectionFindsItDead(t *testing.T) {
	for range 500 {
		near, far := net.Pipe()
		c := NewConn(near, "pipe", connConfig())
		go c.die(errors.New("lost"))
		for c.Err() == nil {
		}
		select {
		case <-c.Dead():
		default:
			require.Fail(t, "it is not dead")
		}
		c.Close(nil)
		far.Close()
	}
}
