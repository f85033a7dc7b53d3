package estest

import (
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// pulse counts bytes: received bytes, not whole frames, show that a client is alive.
type pulse struct {
	received  atomic.Int64
	written   atomic.Int64 // how many times something was
	sentBytes atomic.Int64

	seen, said int64       // values at the last call of beat; its calls follow each other
	waiting    atomic.Bool // for a sign of life
}

func (p *pulse) sent(n int) {
	p.written.Add(1)
	p.sentBytes.Add(int64(n))
}

// WithholdHeartbeats stops or restores heartbeats: while withhold is true, the server neither sends nor answers them,
// and does not cut off silent clients. Everything else goes on.
func (s *Server) WithholdHeartbeats(withhold bool) { s.heartbeatsHeld.Store(withhold) }

// watched counts the bytes that are read from a connection.
type watched struct {
	c   *conn
	cut bool // nothing more is to be read
}

func (w *watched) Read(b []byte) (int, error) {
	w.c.finishLogin() // everything that came with it was sent before the client can have had the answer
	if w.cut {
		return 0, errCut
	}
	w.c.rest()
	n, err := w.c.nc.Read(b)
	w.c.begin()
	n, w.cut = w.c.srv.cutReceived.pass(n)
	w.c.pulse.received.Add(int64(n))
	w.c.srv.traffic.bytesIn.Add(int64(n))
	return n, err
}

// beats reports whether the server asks its clients for signs of life.
func (s *Server) beats() bool { return s.cfg.clock == nil || s.cfg.heartbeatSet }

// beat sends a heartbeat to a silent client. Some versions also send one if the server itself was silent for a while,
// to show the client that it lives.
func (c *conn) beat() {
	p := &c.pulse
	interval := c.srv.cfg.heartbeatInterval
	if c.srv.holdsHeartbeats() {
		c.callAfter(&c.beatAlarm, interval, c.beat)
		return
	}
	received, written := p.received.Load(), p.written.Load()
	proactive := c.core.persona.beatsWhenItIsSilent
	silent := received == p.seen && !p.waiting.Load()
	speaks := proactive && written == p.said
	p.seen, p.said = received, written
	if silent {
		p.waiting.Store(true)
		c.callAfter(&c.judgeAlarm, c.srv.cfg.heartbeatTimeout, func() { c.judge(received) })
	}
	if silent || speaks {
		c.askForLife()
	}
	if !silent || proactive {
		c.callAfter(&c.beatAlarm, interval, c.beat)
	}
}

// judge ends the connection without a word if nothing has come since the client was asked for a sign of life.
func (c *conn) judge(received int64) {
	c.pulse.waiting.Store(false)
	now := c.pulse.received.Load()
	if now == received && !c.srv.holdsHeartbeats() {
		c.end()
		return
	}
	if !c.core.persona.beatsWhenItIsSilent {
		c.pulse.seen = now // beat does not run meanwhile
		c.callAfter(&c.beatAlarm, c.srv.cfg.heartbeatInterval, c.beat)
	}
}

// holdsHeartbeats reports whether heartbeats are nothing to go by at the moment.
func (s *Server) holdsHeartbeats() bool { return s.gate.isShut() || s.heartbeatsHeld.Load() }

// callAfter has f called, unless the connection ends before.
func (c *conn) callAfter(slot **alarm, d time.Duration, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		*slot = c.srv.alarms.after(d, f)
	}
}

// stopBeating cancels the alarm of callAfter.
func (c *conn) stopBeating() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for _, a := range []*alarm{c.beatAlarm, c.judgeAlarm} {
		if a != nil {
			a.callOff()
		}
	}
}

func (c *conn) askForLife() {
	c.send(esproto.CmdHeartbeatRequest, esproto.CorrelationID(eventlog.NewGUID()), nil)
}
