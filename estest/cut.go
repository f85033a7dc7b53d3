package estest

import "sync/atomic"

// cutter cuts one connection at a certain byte.
type cutter struct {
	left atomic.Pointer[atomic.Int64] // bytes until then; nil if there is nothing to cut
}

func (c *cutter) arm(n int64) {
	var left atomic.Int64
	left.Store(max(n, 0))
	c.left.Store(&left)
}

// pass counts n bytes that are to pass, and returns how many of them may. If those are the last ones, cut is true.
func (c *cutter) pass(n int) (may int, cut bool) {
	left := c.left.Load()
	if left == nil {
		return n, false
	}
	after := left.Add(-int64(n))
	before := after + int64(n)
	if before < 0 || after > 0 || !c.left.CompareAndSwap(left, nil) {
		return n, false
	}
	return int(before), true
}

// CutAfterReceived cuts one connection after n more bytes from clients: the connection of the last byte, right behind
// it. The server processes every complete frame before the cut, but its replies may be lost. It never processes an
// incomplete frame. The cut happens once. Another call before the cut replaces n.
func (s *Server) CutAfterReceived(n int64) { s.cutReceived.arm(n) }

// CutAfterSent cuts one connection after n more bytes to clients: the connection of the last byte, right behind it,
// possibly within a frame. The cut happens once. Another call before the cut replaces n.
func (s *Server) CutAfterSent(n int64) { s.cutSent.arm(n) }
