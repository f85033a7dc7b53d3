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
	w.c.finishLogin() // everything that came with it was sent before the client can have had the answer
	n, err := w.c.nc.Read(b)
	w.c.pulse.received.Add(int64(n))
	w.c.srv.traffic.bytesIn.Add(int64(n))
	return n, err
}

// beat asks a silent client for a sign of life, and ends the connection without a word if it gives none.
func (c *conn) beat() {
	interval, timeout := c.srv.cfg.heartbeatInterval, c.srv.cfg.heartbeatTimeout
	timer := time.NewTimer(interval)
	defer timer.Stop()
	seen, said, asked := int64(-1), int64(0), false
	for {
		select {
		case <-timer.C:
		case <-c.ended:
			return
		}
		c.srv.gate.wait(c.ended)
		received, written := c.pulse.received.Load(), c.pulse.written.Load()
		mustSpeak := c.core.persona.since(era20) && written == said // so that the client, too, knows who lives
		said = written
		switch {
		case received != seen:
			seen, asked = received, false
			if mustSpeak {
				c.askForLife()
			}
			timer.Reset(interval)
		case asked:
			c.end()
			return
		default:
			asked = true
			c.askForLife()
			timer.Reset(timeout)
		}
	}
}

func (c *conn) askForLife() {
	c.send(esproto.CmdHeartbeatRequest, esproto.CorrelationID(newGUID()), nil)
}
