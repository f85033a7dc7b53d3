package estest

import (
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// pulse counts bytes, since those, not frames, are what shows that a client lives.
type pulse struct {
	received atomic.Int64
	written  atomic.Int64

	// What beat found the last time; its calls follow each other.
	seen, said int64
	asked      bool
}

func (p *pulse) sent() { p.written.Add(1) }

// WithholdHeartbeats has the server neither answer the heartbeats of clients nor send any, as long as withhold is true; it
// cuts nobody off for being silent. Everything else goes on.
func (s *Server) WithholdHeartbeats(withhold bool) { s.breathless.Store(withhold) }

// watched counts what is read from a connection.
type watched struct {
	c   *conn
	cut bool // nothing more is to be read
}

func (w *watched) Read(b []byte) (int, error) {
	w.c.finishLogin() // everything that came with it was sent before the client can have had the answer
	if w.cut {
		return 0, errCut
	}
	n, err := w.c.nc.Read(b)
	n, w.cut = w.c.srv.cutReceived.pass(n)
	w.c.pulse.received.Add(int64(n))
	w.c.srv.traffic.bytesIn.Add(int64(n))
	return n, err
}

// beats reports whether the server asks its clients for signs of life.
func (s *Server) beats() bool { return s.cfg.clock == nil || s.cfg.heartbeatSet }

// beat asks a silent client for a sign of life, and ends the connection without a word if it gives none.
func (c *conn) beat() {
	p := &c.pulse
	interval, timeout := c.srv.cfg.heartbeatInterval, c.srv.cfg.heartbeatTimeout
	if c.srv.gate.isShut() || c.srv.breathless.Load() {
		p.asked = false
		c.beatAfter(interval)
		return
	}
	received, written := p.received.Load(), p.written.Load()
	mustSpeak := c.core.persona.since(era20) && written == p.said // so that the client, too, knows who lives
	p.said = written
	switch {
	case received != p.seen:
		p.seen, p.asked = received, false
		if mustSpeak {
			c.askForLife()
		}
		c.beatAfter(interval)
	case p.asked:
		c.end()
	default:
		p.asked = true
		c.askForLife()
		c.beatAfter(timeout)
	}
}

// beatAfter has beat called, unless the connection ends before.
func (c *conn) beatAfter(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.beatAlarm = c.srv.alarms.after(d, c.beat)
	}
}

// stopBeating forgets about the connection's next beat.
func (c *conn) stopBeating() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.beatAlarm != nil {
		c.beatAlarm.callOff()
	}
}

func (c *conn) askForLife() {
	c.send(esproto.CmdHeartbeatRequest, esproto.CorrelationID(newGUID()), nil)
}
