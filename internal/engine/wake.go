package engine

import (
	"runtime"
	"slices"
)

// wakeLater adds a Receiver to those that wakeReceivers wakes before the reader next waits for bytes.
func (c *Conn) wakeLater(r Receiver) {
	if n := len(c.reader.toWake); n == 0 || c.reader.toWake[n-1] != r {
		c.reader.toWake = append(c.reader.toWake, r)
	}
}

// wakeReceivers wakes many callers in two halves if the peer has less than half as many requests left. It writes the
// next requests of the first half before it wakes the second, so that the peer does not idle meanwhile. The halves then
// go round by themselves: one is with the peer while the other is here, and neither is split again.
const leastHalf = 14 // Receivers

// wakeReceivers wakes all Receivers that got frames. Most callers have a next request. So if several calls are woken,
// the reader takes the turn to write, yields to the callers, and writes their requests together.
func (c *Conn) wakeReceivers() {
	n := len(c.reader.toWake)
	if n == 0 {
		return
	}
	together := n
	if c.reader.wakesCalls && n >= 2*leastHalf && c.pendingCalls() < n/2 {
		together = (n + 1) / 2
	}
	for part := range slices.Chunk(c.reader.toWake, together) {
		turn := c.reader.wakesCalls && n > 1 && c.takeTurn()
		for _, r := range part {
			r.Wake()
		}
		if turn {
			runtime.Gosched()
			c.writeNow()
		}
	}
	clear(c.reader.toWake)
	c.reader.toWake, c.reader.wakesCalls = c.reader.toWake[:0], false
}

// pendingCalls returns how many calls wait for their reply.
func (c *Conn) pendingCalls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.receivers.singles
}
