package engine

import (
	"math/bits"
	"time"
)

// progress is how far the sent bytes have got at a tick. All fields are positions in bytes since the connection was
// made.
type progress struct {
	appended     int64 // were appended to the write buffer
	handed       int64 // were passed to the socket
	written      int64 // the socket has accepted
	tcpAcked     int64 // the other end of the TCP connection has acknowledged; as written if the kernel does not tell
	beyondKernel int64 // may lie beyond the kernel, such as in a proxy, where their progress does not show
	peerRead     int64 // the peer has read, as its replies show
}

// measureProgress returns the progress now. last is the progress at the last tick.
func (c *Conn) measureProgress(last *progress) progress {
	c.mu.Lock()
	s := progress{appended: c.mu.appended, peerRead: c.mu.peerRead}
	c.mu.Unlock()
	s.written, s.handed = c.written.Load(), c.handed.Load()
	s.tcpAcked, s.beyondKernel = s.written, s.handed
	if s.handed == last.tcpAcked {
		return s // no byte was passed to the socket that was not acknowledged at the last tick
	}
	if held, ok := c.reader.sendQueue.held(); ok {
		s.tcpAcked = max(last.tcpAcked, s.written-held) // approximate: TLS adds some bytes to those written
		s.beyondKernel = s.tcpAcked
	}
	return s
}

// advanced reports whether the bytes up to the position end have made progress since last: into the socket, out of the
// kernel or, if the peer had not read many of them, to the peer.
func (s *progress) advanced(last *progress, end int64) bool {
	return end > last.written && s.written > last.written ||
		end > last.tcpAcked && s.tcpAcked > last.tcpAcked ||
		end-last.peerRead >= largeFrame && s.peerRead > last.peerRead
}

// largeFrame is the size from which on a frame may take longer on a slow link than the usual time limits allow.
const largeFrame = 64 << 10

// largeFrames has the position of the end of the last large frame by size: of 64 to 128 KiB, of 128 to 256 KiB and so
// on.
type largeFrames [12]int64

// note adds a frame that ends at a position.
func (l *largeFrames) note(size int, end int64) {
	class := bits.Len(uint(size/largeFrame)) - 1
	l[min(class, len(l)-1)] = end
}

// largest returns an upper bound for the size of the frames that end behind a position; 0 if none of them is large.
func (l *largeFrames) largest(behind int64) int64 {
	for class := len(l) - 1; class >= 0; class-- {
		if l[class] > behind {
			return 2 * largeFrame << class
		}
	}
	return 0
}

// A proxy or a tunnel may hold a large frame. Its progress does not show until the peer answers, so it gets extra time:
// as long as it takes at minLinkRate, in bytes a second, but no longer than maxExtraTime.
const (
	minLinkRate  = 32 << 10
	maxExtraTime = 30 * time.Second
)

// extraTime returns the time, in addition to the usual limits, for the peer to read the bytes up to the position end.
// It is 0 if none of their frames is large.
func (c *Conn) extraTime(s *progress, end int64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.extraTimeLocked(s, end)
}

// extraTimeLocked is extraTime for a caller that holds the lock.
func (c *Conn) extraTimeLocked(s *progress, end int64) time.Duration {
	unseen := min(c.mu.largeFrames.largest(c.mu.peerRead), min(s.beyondKernel, end)-c.mu.peerRead)
	if unseen <= 0 {
		return 0
	}
	return min(time.Duration(unseen)*time.Second/minLinkRate, maxExtraTime)
}
