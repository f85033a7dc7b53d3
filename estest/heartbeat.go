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
}

func (p *pulse) sent() { p.written.Add(1) }

// watched counts what is read from a connection.
type watched struct{ c *conn }

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.c.nc.Read(b)
	w.c.pulse.received.Add(int64(n))
	return n, err
}

// beat asks a silent client for a sign of life, and ends the connection without a word if it gives none.
func (c *conn) beat() {
	interval, timeout := c.srv.cfg.heartbeatInterval, c.srv.cfg.heartbeatTimeout
	timer := time.NewTimer(interval)
	defer timer.Stop()
	seen, asked := int64(-1), false
	for {
		select {
		case <-timer.C:
		case <-c.ended:
			return
		}
		c.srv.gate.wait(c.ended)
		switch received := c.pulse.received.Load(); {
		case received != seen:
			seen, asked = received, false
			timer.Reset(interval)
		case asked:
			c.end()
			return
		default:
			asked = true
			c.send(esproto.CmdHeartbeatRequest, esproto.CorrelationID(newGUID()), nil)
			timer.Reset(timeout)
		}
	}
}
