package engine

import (
	"errors"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// The time of a call is up when it got no reply within the operation timeout. That is counted in beats, since a reading
// of the clock for each call would cost more than to end it late by one, and only while nothing explains the delay:
//
//   - It begins anew while bytes of the request, or of those before it, get on.
//   - A large frame that the peer has not read for sure has its patience, see sight.go.
//   - When it is over while bytes come from the peer, the reply may be among those that are on their way. So a
//     heartbeat is sent, and its answer shows that it is not. If the peer does not answer, the call ends after two more
//     operation timeouts, in which the time is not counted that a single frame takes to come.
//
// So neither pushes without end nor answered heartbeats keep a call alive that the peer does not answer.

// proofLimit is how many operation timeouts the answer may take.
const probeTimeouts = 2

// incoming is what a beat sees of the bytes that come from the peer.
type incoming struct {
	busy   bool // some came just now, or a frame has come in part
	framed bool // all that came since the last beat is of one frame, which began before
}

// deadlineLocked is when the time of a call is up that is started now.
func (c *Conn) deadlineLocked() int64 {
	if c.cfg.OperationTimeout <= 0 {
		return 0
	}
	return c.mu.ticks + c.cfg.inTicks(c.cfg.OperationTimeout) + 1
}

func (cfg *ConnConfig) inTicks(d time.Duration) int64 {
	period := cfg.tickPeriod()
	return int64((d + period - 1) / period)
}

// failOverdue fails the calls that got no reply in time.
func (c *Conn) failOverdue(seen, last *progress, in incoming) {
	c.mu.Lock()
	if c.mu.err != nil {
		c.mu.Unlock()
		return
	}
	c.mu.ticks++
	l := timeoutCheck{c: c, seen: seen, last: last, incoming: in}
	over := c.mu.receivers.removeIf(l.expiredLocked)
	c.expireRepetitionsLocked()
	if l.probeEnd > 0 {
		c.unlockAndKick()
	} else {
		c.mu.Unlock()
	}
	for _, e := range over {
		e.r.Fail(ErrOperationTimeout, true) // what is not sent yet still will be
	}
}

// timeoutCheck judges the calls at one beat, with the lock held.
type timeoutCheck struct {
	c          *Conn
	seen, last *progress
	incoming
	probeEnd int64 // where the heartbeat of this beat ends; 0 for none
}

func (l *timeoutCheck) expiredLocked(e *entry) bool {
	cfg := &l.c.cfg
	switch {
	case e.deadline == 0:
		return false
	case l.seen.advanced(l.last, e.end):
		e.deadline, e.probeEnd = l.c.mu.ticks+cfg.inTicks(cfg.OperationTimeout), 0
		return false
	case e.probeEnd > 0:
		if l.framed {
			e.deadline++
		}
		return l.seen.peerRead >= e.probeEnd || e.deadline <= l.c.mu.ticks
	case e.deadline > l.c.mu.ticks:
		return false
	case e.deadline+cfg.inTicks(l.c.extraTimeLocked(l.seen, e.end)) > l.c.mu.ticks:
		return false
	case !l.busy:
		return true
	}
	e.probeEnd, e.deadline = l.probeLocked(), l.c.mu.ticks+probeTimeouts*cfg.inTicks(cfg.OperationTimeout)
	return false
}

// probeLocked sends one heartbeat for all calls that need one.
func (l *timeoutCheck) probeLocked() int64 {
	if l.probeEnd == 0 {
		l.probeEnd = l.c.appendHeartbeatLocked()
	}
	return l.probeEnd
}

// Overdue returns a channel that is closed when the time is up of a call that is started now. It is for requests that
// any number of frames answers. stop must be called.
func (c *Conn) Overdue() (over <-chan struct{}, stop func()) {
	o := make(overdue)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.err != nil {
		return o, func() {}
	}
	seq := c.mu.receivers.add(entry{r: o, end: c.mu.appended, deadline: c.deadlineLocked()})
	return o, func() { c.remove(seq) }
}

// overdue is the Receiver of no frame at all.
type overdue chan struct{}

func (overdue) Keeps(esproto.Command, int) bool      { return false }
func (overdue) Receive(esproto.Command, []byte) bool { return true }
func (overdue) TooLarge(esproto.Command, error) bool { return true }
func (overdue) Wake()                                {}

func (o overdue) Fail(err error, _ bool) {
	if errors.Is(err, ErrOperationTimeout) {
		close(o)
	}
}
