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

// wakeReceivers wakes many callers in parts, each with a third of the calls under way. It writes the next requests of a
// part before it wakes the next part. The parts then go round: one is with the peer and one on its way, while one is
// here. So both sides mostly have work and do not sleep, since it takes long to wake a processor.
const (
	wakeParts = 3
	leastPart = 14 // Receivers: a smaller part is not worth a write
)

// wakeReceivers wakes all Receivers that got frames. Most callers have a next request. So if several calls are woken,
// the reader takes the turn to write, yields to the callers, and writes their requests together.
func (c *Conn) wakeReceivers() {
	n := len(c.reader.toWake)
	if n == 0 {
		return
	}
	together := n
	if c.reader.wakesCalls {
		pending, _ := c.calls()
		together = partSize(n, pending)
	}
	for part := range slices.Chunk(c.reader.toWake, together) {
		turn := c.reader.wakesCalls && n > 1 && c.takeTurn()
		_, before := c.calls()
		for _, r := range part {
			r.Wake()
		}
		if turn {
			c.yieldToCallers(before + uint64(len(part)))
			c.writeNow()
		}
	}
	clear(c.reader.toWake)
	c.reader.toWake, c.reader.wakesCalls = c.reader.toWake[:0], false
}

// partSize returns how many of n Receivers to wake together while so many calls wait for their reply.
func partSize(n, pending int) int {
	part := max((n+pending+wakeParts-1)/wakeParts, leastPart)
	parts := max(min((n+part/2)/part, n/leastPart), 1)
	return (n + parts - 1) / parts
}

// yieldToCallers yields until the woken callers have appended their next requests, the last one with the number last.
// It yields twice at most, as callers may have no next request. The scheduler of Go often ends a yield early, with
// some of the callers still in its queue.
func (c *Conn) yieldToCallers(last uint64) {
	for range 2 {
		runtime.Gosched()
		if _, seq := c.calls(); seq >= last {
			return
		}
	}
}

// calls returns how many calls wait for their reply, and the number of the latest request.
func (c *Conn) calls() (pending int, last uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.receivers.singles, c.mu.receivers.lastSeq
}
