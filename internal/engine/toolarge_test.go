package engine

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// dialSmall connects to a peer that has spoken when serve takes over. Frames of more than 1 KiB are too large.
func dialSmall(t testing.TB, change func(*ConnConfig), serve func(p *peer)) *Conn {
	t.Helper()
	cfg := connConfig()
	cfg.MaxFrameSize = 1 << 10
	if change != nil {
		change(&cfg)
	}
	c := dial(t, cfg, func(p *peer) {
		if f, err := p.Next(); err == nil {
			p.Reply(f)
			serve(p)
		}
	})
	_, err := c.Do(background(t), &ping{}, nil)
	require.NoError(t, err)
	return c
}

func TestATooLargeReplyFailsItsCallAlone(t *testing.T) {
	for _, size := range []int{1 << 10, 5 << 20} { // fits the read buffer, and does not
		c := dialSmall(t, nil, func(p *peer) {
			a, _ := p.Next()
			b, err := p.Next()
			if err != nil {
				return
			}
			p.Send(esproto.CmdPong, a.CorrelationID, make([]byte, size))
			p.Reply(b)
			p.Echo()
		})
		first, second := &ping{}, &ping{payload: []byte("second")}
		large, err := c.Begin(background(t), first, nil)
		require.NoError(t, err)
		usual, err := c.Begin(background(t), second, nil)
		require.NoError(t, err)

		sent, err := large.Wait(background(t))
		assert.True(t, sent)
		var e *esproto.FrameTooLargeError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, size+esproto.HeaderSize, e.Length)
		assert.ErrorIs(t, err, esproto.ErrFrame)
		assert.Equal(t, 1024, e.Max)
		var lost *ConnectionError
		assert.NotErrorAs(t, err, &lost)

		_, err = usual.Wait(background(t))
		require.NoError(t, err)
		assert.Equal(t, "second", string(second.back))
		_, err = c.Do(background(t), second, nil)
		require.NoError(t, err)
	}
}

func TestATooLargeReplyWithoutACallIsSkipped(t *testing.T) {
	asked, givenUp := make(chan struct{}), make(chan struct{})
	c := dialSmall(t, nil, func(p *peer) {
		f, err := p.Next()
		if err != nil {
			return
		}
		close(asked)
		<-givenUp
		p.Send(esproto.CmdPong, f.CorrelationID, make([]byte, 100<<10))
		p.Echo()
	})
	call, err := c.Begin(background(t), &ping{}, nil)
	require.NoError(t, err)
	<-asked
	call.Cancel()
	close(givenUp)
	_, err = c.Do(background(t), &ping{}, nil)
	assert.NoError(t, err)
}

// choosy is a subscription that counts frames and bears with so many that are too large.
type choosy struct {
	ping
	bears int
	came  chan string
}

func (*choosy) Keeps(esproto.Command, int) bool { return false }
func (*choosy) Wake()                           {}
func (c *choosy) Fail(error, bool)              { c.came <- "failed" }

func (c *choosy) Receive(_ esproto.Command, payload []byte) bool {
	c.came <- string(payload)
	return true
}

func (c *choosy) TooLarge(cmd esproto.Command, err error) bool {
	c.came <- cmd.String()
	c.bears--
	return c.bears >= 0
}

func TestASubscriptionDecidesAboutTooLargeFrames(t *testing.T) {
	c := dialSmall(t, nil, func(p *peer) {
		f, err := p.Next()
		if err != nil {
			return
		}
		large := make([]byte, 50<<10)
		for _, payload := range [][]byte{[]byte("a"), large, []byte("b"), large, []byte("c"), large} {
			p.Send(esproto.CmdStreamEventAppeared, f.CorrelationID, payload)
		}
		p.Echo()
	})
	s := &choosy{bears: 1, came: make(chan string, 10)}
	require.NoError(t, c.StartSubscription(background(t), s, nil, s, func(Handle) {}))
	for _, want := range []string{"a", "StreamEventAppeared", "b", "StreamEventAppeared"} {
		assert.Equal(t, want, <-s.came)
	}
	_, err := c.Do(background(t), &ping{}, nil)
	require.NoError(t, err)
	assert.Empty(t, s.came, "it gets no more after its end")
}

// TestSkippingIsASignOfLife sends a large frame slowly, and never answers a heartbeat.
func TestSkippingIsASignOfLife(t *testing.T) {
	const pieces, size = 30, 1 << 10
	c := dialSmall(t, func(cfg *ConnConfig) {
		cfg.HeartbeatInterval, cfg.HeartbeatTimeout = 100*time.Millisecond, 100*time.Millisecond
	}, func(p *peer) {
		f, err := p.Next()
		if err != nil {
			return
		}
		frame := esproto.AppendFrame(nil, esproto.CmdPong, f.CorrelationID, make([]byte, pieces*size))
		for len(frame) > 0 {
			n := min(size, len(frame))
			p.Write(frame[:n])
			frame = frame[n:]
			time.Sleep(10 * time.Millisecond)
		}
		p.Echo()
	})
	_, err := c.Do(background(t), &ping{}, nil)
	require.ErrorIs(t, err, esproto.ErrFrame)
	_, err = c.Do(background(t), &ping{}, nil)
	assert.NoError(t, err)
}

// TestTooLargeFramesWithoutAReceiver sends frames that no EventStore sends: the bytes are out of step.
func TestTooLargeFramesWithoutAReceiver(t *testing.T) {
	stranger := func(esproto.CorrelationID) esproto.CorrelationID { return esproto.CorrelationID{1, 2, 3} }
	nobody := func(esproto.CorrelationID) esproto.CorrelationID { return esproto.CorrelationID{} }
	same := func(id esproto.CorrelationID) esproto.CorrelationID { return id }
	for what, tc := range map[string]struct {
		cmd    esproto.Command
		id     func(esproto.CorrelationID) esproto.CorrelationID
		length uint32
	}{
		"an id that is not ours": {esproto.CmdPong, stranger, 1 << 20},
		"no id":                  {esproto.CmdBadRequest, nobody, 1 << 20},
		"a heartbeat":            {esproto.CmdHeartbeatRequest, stranger, 1 << 20},
		"an unknown command":     {0x77, same, 1 << 20},
		"a negative length":      {esproto.CmdPong, same, 1 << 31},
		"too short a length":     {esproto.CmdPong, same, 17},
	} {
		t.Run(what, func(t *testing.T) {
			c := dialSmall(t, nil, func(p *peer) {
				f, err := p.Next()
				if err != nil {
					return
				}
				head := binary.LittleEndian.AppendUint32(nil, tc.length)
				frame := esproto.AppendFrame(nil, tc.cmd, tc.id(f.CorrelationID), nil)
				p.Write(append(head, frame[esproto.LengthSize:]...))
				p.Next() // until it is closed
			})
			sent, err := c.Do(background(t), &ping{}, nil)
			assert.True(t, sent)
			var lost *ConnectionError
			require.ErrorAs(t, err, &lost)
			assert.ErrorIs(t, err, esproto.ErrFrame)
			var large *esproto.FrameTooLargeError
			assert.NotErrorAs(t, err, &large, "which harms no connection")
			assert.NotErrorIs(t, err, ErrNotEventStore, "it has been one so far")
		})
	}
}

// TestTheFirstFrameMustNotBeTooLarge has it belong to a call: even so, nothing shows yet that it is a frame.
func TestTheFirstFrameMustNotBeTooLarge(t *testing.T) {
	cfg := connConfig()
	cfg.MaxFrameSize = 1 << 10
	c := dial(t, cfg, func(p *peer) {
		if f, err := p.Next(); err == nil {
			p.Send(esproto.CmdPong, f.CorrelationID, make([]byte, 2<<10))
			p.Next()
		}
	})
	_, err := c.Do(background(t), &ping{}, nil)
	assert.ErrorIs(t, err, ErrNotEventStore)
}
