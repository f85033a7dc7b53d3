package engine

import (
	"math/bits"
	"time"
)

// progress is what a beat sees of the way to the peer, in bytes since the connection was made.
type progress struct {
	appended     int64 // wait to be written, or were
	handed       int64 // the socket was given to write
	written      int64 // it has taken
	tcpAcked     int64 // have left the kernel, as far as that can be told; else as written
	peerRead     int64 // the peer has read for sure
	beyondKernel int64 // may be on their way to the peer where nobody sees them
}

// measureProgress returns what is to be seen now. last is what the beat before has seen.
func (c *Conn) measureProgress(last *progress) progress {
	c.mu.Lock()
	s := progress{appended: c.mu.appended, peerRead: c.mu.peerRead}
	c.mu.Unlock()
	s.written, s.handed = c.written.Load(), c.handed.Load()
	s.tcpAcked, s.beyondKernel = s.written, s.handed
	if s.handed == last.tcpAcked {
		return s // nothing is under way
	}
	if held, ok := c.reader.sendQueue.held(); ok {
		s.tcpAcked = max(last.tcpAcked, s.written-held) // TLS makes a few more of what was written
		s.beyondKernel = s.tcpAcked
	}
	return s
}

// advanced reports whether something of the bytes up to end has got on since last: into the socket, out of the kernel or,
// where much of it was under way unseen, to the peer.
func (s *progress) advanced(last *progress, end int64) bool {
	return end > last.written && s.written > last.written ||
		end > last.tcpAcked && s.tcpAcked > last.tcpAcked ||
		end-last.peerRead >= largeFrame && s.peerRead > last.peerRead
}

// largeFrame is how many bytes of one frame the usual time limits leave no time for on a slow link.
const largeFrame = 64 << 10

// largeFrames notes where the last frame of each size ends: of 64 to 128 KiB, 128 to 256 and so on.
type largeFrames [12]int64

func (l *largeFrames) note(size int, end int64) {
	class := bits.Len(uint(size/largeFrame)) - 1
	l[min(class, len(l)-1)] = end
}

// largest returns a size that no frame exceeds which ends behind a place; 0 if none is large.
func (l *largeFrames) largest(behind int64) int64 {
	for class := len(l) - 1; class >= 0; class-- {
		if l[class] > behind {
			return 2 * largeFrame << class
		}
	}
	return 0
}

// A proxy or a tunnel may hold a large frame, of which nothing is seen until the peer answers. It gets so much time.
const (
	minLinkRate  = 32 << 10 // bytes a second
	maxExtraTime = 30 * time.Second
)

// extraTime returns how long nothing may be heard of the bytes up to end, in addition to the usual limits. Small frames
// need none: each is answered soon.
func (c *Conn) extraTime(s *progress, end int64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.extraTimeLocked(s, end)
}

func (c *Conn) extraTimeLocked(s *progress, end int64) time.Duration {
	unseen := min(c.mu.largeFrames.largest(c.mu.peerRead), min(s.beyondKernel, end)-c.mu.peerRead)
	if unseen <= 0 {
		return 0
	}
	return min(time.Duration(unseen)*time.Second/minLinkRate, maxExtraTime)
}
