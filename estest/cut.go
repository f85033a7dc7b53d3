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

// CutAfterReceived cuts one connection when n more bytes have come in: the connection that the last of them comes on,
// right behind it. What is whole until there is served; what it is answered with may be lost. Bytes that belong to a
// cut frame were never served. It happens once; calling it again before that starts anew.
func (s *Server) CutAfterReceived(n int64) { s.cutReceived.arm(n) }

// CutAfterSent cuts one connection when n more bytes have gone out: the connection that the last of them goes to, right
// behind it, which may be in the middle of a frame. It happens once; calling it again before that starts anew.
func (s *Server) CutAfterSent(n int64) { s.cutSent.arm(n) }
