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

// While the peer has few requests left, wakeReceivers wakes callers in several parts, and writes the next requests of
// each part before it wakes the next part. So the peer does not idle while the last callers make their requests.
const (
	fewRequests = 64 // below so many calls in the table
	wakeParts   = 4  // the most parts
	wakePart    = 14 // the fewest Receivers in a part
)

// wakeReceivers wakes all Receivers that got frames. Most callers have a next request. So if several calls are woken,
// the reader takes the turn to write, yields to the callers, and writes their requests together.
func (c *Conn) wakeReceivers() {
	n := len(c.reader.toWake)
	if n == 0 {
		return
	}
	parts := 1
	if c.reader.wakesCalls && n >= 2*wakePart && c.pendingCalls() < fewRequests {
		parts = min(n/wakePart, wakeParts)
	}
	for part := range slices.Chunk(c.reader.toWake, (n+parts-1)/parts) {
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
