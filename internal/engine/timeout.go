package engine

import (
	"errors"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// A call fails if it has no reply within the operation timeout. The timeout is counted in ticks, and may be late by
// one, because to read the clock for each call would be expensive. These rules keep calls over a slow link from
// failing:
//
//   - The timeout starts again when bytes of the request, or of those before it, make progress.
//   - If a large frame is not read by the peer yet, the call has the extra time of that frame, see progress.go.
//   - If the timeout is over while bytes come, the reply may be among the bytes that are still on their way. So the
//     Conn sends a heartbeat as a probe. Servers keep their frames in order, so if the probe is answered first, the
//     call fails. If the probe is not answered either, the call fails after probeTimeouts more operation timeouts.
//     Ticks in which only bytes of a single frame came do not count.
//
// So a call that the server does not answer always fails, even if the server pushes events or answers heartbeats
// forever.

// probeTimeouts is how many operation timeouts a probe has to be answered.
const probeTimeouts = 2

// incoming describes the bytes that came from the peer up to a tick.
type incoming struct {
	busy     bool // bytes came lately, or the latest frame is incomplete
	oneFrame bool // since the last tick only bytes of one frame came, fast enough
}

// deadlineLocked returns the tick at which a call that starts now times out; 0 for never.
func (c *Conn) deadlineLocked() int64 {
	if c.cfg.OperationTimeout <= 0 {
		return 0
	}
	return c.mu.ticks + c.cfg.inTicks(c.cfg.OperationTimeout) + 1
}

// inTicks converts a duration to ticks, rounded up.
func (cfg *ConnConfig) inTicks(d time.Duration) int64 {
	period := cfg.tickPeriod()
	return int64((d + period - 1) / period)
}

// failOverdue runs at each tick. It fails the calls that have timed out.
func (c *Conn) failOverdue(current, last *progress, in incoming) {
	c.mu.Lock()
	if c.mu.err != nil {
		c.mu.Unlock()
		return
	}
	c.mu.ticks++
	t := timeoutCheck{c: c, current: current, last: last, incoming: in}
	overdue := c.mu.receivers.removeIf(t.expiredLocked)
	c.expireRepetitionsLocked()
	if t.probeEnd > 0 {
		c.unlockAndKick()
	} else {
		c.mu.Unlock()
	}
	for _, e := range overdue {
		e.r.Fail(ErrOperationTimeout, true) // sent: the request is in the write buffer and will be written
	}
}

// timeoutCheck decides at one tick which calls have timed out.
type timeoutCheck struct {
	c             *Conn
	current, last *progress
	incoming
	probeEnd int64 // position of the end of the probe that was sent at this tick; 0 for none
}

// expiredLocked reports whether the call of e has timed out. It updates the deadline of e.
func (t *timeoutCheck) expiredLocked(e *entry) bool {
	cfg := &t.c.cfg
	switch {
	case e.deadline == 0:
		return false
	case t.current.advanced(t.last, e.end):
		e.deadline, e.probeEnd = t.c.mu.ticks+cfg.inTicks(cfg.OperationTimeout), 0
		return false
	case e.probeEnd > 0:
		if t.oneFrame {
			e.deadline++
		}
		return t.current.peerRead >= e.probeEnd || e.deadline <= t.c.mu.ticks
	case e.deadline > t.c.mu.ticks:
		return false
	case e.deadline+cfg.inTicks(t.c.extraTimeLocked(t.current, e.end)) > t.c.mu.ticks:
		return false
	case !t.busy:
		return true
	}
	e.probeEnd, e.deadline = t.probeLocked(), t.c.mu.ticks+probeTimeouts*cfg.inTicks(cfg.OperationTimeout)
	return false
}

// probeLocked appends a heartbeat to the write buffer, one for all calls of the tick, and returns the position of its
// end.
func (t *timeoutCheck) probeLocked() int64 {
	if t.probeEnd == 0 {
		t.probeEnd = t.c.appendHeartbeatLocked()
	}
	return t.probeEnd
}

// Overdue returns a channel that is closed when a call that starts now would time out. It applies the operation timeout
// to the confirmation of a subscription. The channel is not closed when the connection dies. The caller must call stop.
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

// overdue is the [Receiver] of [Conn.Overdue]. No frame ever carries its correlation id.
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
