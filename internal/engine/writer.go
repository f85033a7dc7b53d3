package engine

import (
	"runtime"
	"time"
)

// All frames are appended to one write buffer. One goroutine at a time has the turn to write it, so that frames keep
// their order. Frames that are appended during a write go together in the next one. These goroutines take the turn:
//
//   - The writer goroutine. It is kicked when frames are appended and the turn is free.
//   - The reader, when it wakes several callers. Their next requests go into one write, and the writer sleeps on.
//   - A caller without other calls beside it. It writes its request without a switch to another goroutine.
//
// The reader and callers must not block. So they write only as many bytes as the socket buffers are sure to hold, see
// writeAtOnce, and leave other bytes to the writer goroutine.

// unlockAndKick releases the lock. If the turn is free, it passes the turn to the writer goroutine.
func (c *Conn) unlockAndKick() {
	free := !c.mu.writing
	c.mu.writing = true
	c.mu.Unlock()
	if free {
		c.kick <- struct{}{} // has room: only the owner of the turn sends
	}
}

// takeTurn takes the turn to write. It returns false if the turn is taken or the connection is dead.
func (c *Conn) takeTurn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.writing || c.mu.err != nil {
		return false
	}
	c.mu.writing = true
	return true
}

// writeAtOnce is the limit for writes of the reader and of callers: they write only while the peer has at most so many
// bytes left to read. The socket buffers of both sides hold more, so these writes do not block.
const writeAtOnce = 32 << 10

// unreadLocked returns how many of the appended bytes the peer may not have read yet.
func (c *Conn) unreadLocked() int64 { return c.mu.appended - c.mu.peerRead }

// writeNow writes the appended frames as long as that cannot block. The caller has the turn. writeNow frees the turn,
// or passes it to the writer goroutine if frames are left.
func (c *Conn) writeNow() {
	c.mu.Lock()
	for range 2 {
		if len(c.mu.pending) == 0 || c.unreadLocked() > writeAtOnce {
			break
		}
		buf := c.swapBuffersLocked()
		c.mu.Unlock()
		if err := c.write(buf); err != nil {
			c.die(err)
			return
		}
		c.returnBuffer(buf)
		c.mu.Lock()
	}
	more := len(c.mu.pending) > 0
	c.mu.writing = more
	c.mu.Unlock()
	if more {
		c.kick <- struct{}{}
	}
}

// writeLoop is the writer goroutine.
func (c *Conn) writeLoop() {
	defer c.wg.Done()
	for {
		select {
		case <-c.kick: // the writer has the turn now
		case <-c.dead:
			return
		}
		c.yieldForMore()
		for buf := c.nextBuffer(); buf != nil; buf = c.nextBuffer() {
			if err := c.write(buf); err != nil {
				c.die(err)
				return
			}
			c.returnBuffer(buf)
		}
	}
}

// yieldBelow limits the pending bytes up to which the writer waits for more frames. Larger writes gain nothing from it.
const yieldBelow = 16 << 10

// yieldForMore yields the processor once, so that other callers can add their frames to the same write. It does not
// delay a call that has no others beside it.
func (c *Conn) yieldForMore() {
	c.mu.Lock()
	yield := c.mu.receivers.n > 1 && len(c.mu.pending) < yieldBelow
	c.mu.Unlock()
	if yield {
		runtime.Gosched()
	}
}

// nextBuffer returns the pending bytes for the writer goroutine. If there are none, it frees the turn and returns nil.
func (c *Conn) nextBuffer() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.pending) == 0 {
		c.mu.writing = false
		return nil
	}
	return c.swapBuffersLocked()
}

// swapBuffersLocked returns the pending bytes and makes the spare buffer the write buffer. The caller has the turn.
func (c *Conn) swapBuffersLocked() []byte {
	buf := c.mu.pending
	c.mu.pending, c.mu.spare = c.mu.spare, nil
	c.signalRoomLocked()
	return buf
}

// returnBuffer makes a written buffer the spare one.
func (c *Conn) returnBuffer(buf []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.peakWrite = max(c.mu.peakWrite, len(buf))
	if c.mu.err == nil {
		c.mu.spare = buf[:0]
	}
}

// write writes buf to the socket. The caller has the turn, and does not hold the lock.
func (c *Conn) write(buf []byte) error {
	for len(buf) > 0 {
		n := min(len(buf), writeChunk)
		if err := c.setWriteDeadline(); err != nil {
			return err
		}
		c.handed.Add(int64(n))
		n, err := c.nc.Write(buf[:n])
		c.written.Add(int64(n))
		if err != nil {
			return err
		}
		buf = buf[n:]
	}
	return nil
}

// setWriteDeadline gives the next write the write timeout, or up to an eighth more. So it only sets a new deadline if
// the last one is older than an eighth of the timeout.
func (c *Conn) setWriteDeadline() error {
	timeout := c.cfg.WriteTimeout
	if timeout <= 0 {
		return nil
	}
	now := time.Now()
	if now.Sub(c.turn.deadlineSet) < timeout/8 {
		return nil
	}
	c.turn.deadlineSet = now
	return c.nc.SetWriteDeadline(now.Add(timeout + timeout/8))
}
