package engine

import (
	"context"
	"runtime"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Start sends a request that is answered by one frame, which goes to r. While too many bytes wait to be written it blocks until ctx ends. After an
// error nothing was sent and r hears nothing.
func (c *Conn) Start(ctx context.Context, req Request, creds *esproto.Credentials, r Receiver) (Handle, error) {
	var deadline time.Time
	if c.cfg.OperationTimeout > 0 {
		deadline = time.Now().Add(c.cfg.OperationTimeout)
	}
	if err := c.lockForAppend(ctx); err != nil {
		return Handle{}, err
	}
	h := c.startLocked(req, creds, entry{r: r, deadline: deadline, once: true})
	c.unlockAndKick()
	return h, nil
}

// StartStream is Start for a request that is answered by any number of frames, without the operation timeout. attach
// is called with the Handle before the request can be answered; it must not block.
func (c *Conn) StartStream(ctx context.Context, req Request, creds *esproto.Credentials, r Receiver, attach func(Handle)) error {
	if err := c.lockForAppend(ctx); err != nil {
		return err
	}
	attach(c.startLocked(req, creds, entry{r: r}))
	c.unlockAndKick()
	return nil
}

func (c *Conn) startLocked(req Request, creds *esproto.Credentials, e entry) Handle {
	c.seq++
	e.start = c.appended
	c.calls[c.seq] = e
	c.appendFrame(req, c.correlationID(c.seq), creds)
	return Handle{c: c, seq: c.seq}
}

// Post sends a request on the correlation id of h, for which no reply of its own is expected: acks, unsubscribing. It
// does not wait for room in the write buffer, so the caller must bound what it posts.
func (h Handle) Post(req Request, creds *esproto.Credentials) error {
	h.c.mu.Lock()
	if err := h.c.err; err != nil {
		h.c.mu.Unlock()
		return err
	}
	h.c.appendFrame(req, h.ID(), creds)
	h.c.unlockAndKick()
	return nil
}

// lockForAppend takes the lock when there is room in the write buffer. After an error the lock is not held.
func (c *Conn) lockForAppend(ctx context.Context) error {
	c.mu.Lock()
	for c.err == nil && c.leaving == nil && len(c.out) >= c.cfg.MaxPendingBytes {
		if c.space == nil {
			c.space = make(chan struct{})
		}
		space := c.space
		c.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		c.mu.Lock()
	}
	err := c.err
	if err == nil && c.leaving != nil {
		err = &ConnectionError{Endpoint: c.endpoint, Err: c.leaving}
	}
	if err != nil {
		c.mu.Unlock()
	}
	return err
}

func (c *Conn) appendFrame(req Request, id esproto.CorrelationID, creds *esproto.Credentials) {
	start := len(c.out)
	c.out = esproto.AppendHeader(c.out, req.Command(), id, creds)
	c.out = req.AppendPayload(c.out)
	esproto.EndFrame(c.out, start)
	c.appended += int64(len(c.out) - start)
}

func (c *Conn) unlockAndKick() {
	wake := c.idle
	c.idle = false
	c.mu.Unlock()
	if wake {
		c.kick <- struct{}{} // has room: only the one who ended the idleness sends
	}
}

// control sends a frame without payload from the reader. It does not wait for room, so that heartbeats are never late.
func (c *Conn) control(cmd esproto.Command, id esproto.CorrelationID) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	n := len(c.out)
	c.out = esproto.AppendFrame(c.out, cmd, id, nil)
	c.appended += int64(len(c.out) - n)
	c.unlockAndKick()
}

func (c *Conn) writeLoop() {
	defer c.wg.Done()
	for {
		buf := c.takeOut()
		if buf == nil {
			select {
			case <-c.kick:
			case <-c.dead:
				return
			}
			c.gather()
			continue
		}
		if err := c.write(buf); err != nil {
			c.die(err)
			return
		}
		c.giveBack(buf)
	}
}

// gatherBelow is the number of pending bytes from which waiting for more saves no write worth having.
const gatherBelow = 16 << 10

// gather lets other callers run once, so that their frames go into the same write. A lone call is not delayed.
func (c *Conn) gather() {
	c.mu.Lock()
	yield := len(c.calls) > 1 && len(c.out) < gatherBelow
	c.mu.Unlock()
	if yield {
		runtime.Gosched()
	}
}

// takeOut swaps the buffers. It returns nil and marks the writer idle if there is nothing to write.
func (c *Conn) takeOut() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) == 0 {
		c.idle = true
		return nil
	}
	buf := c.out
	c.out, c.spare = c.spare, nil
	c.taken = c.appended
	c.makeSpace()
	return buf
}

func (c *Conn) giveBack(buf []byte) {
	if cap(buf) > keepWriteBuffer {
		return
	}
	c.mu.Lock()
	if c.err == nil {
		c.spare = buf[:0]
	}
	c.mu.Unlock()
}

func (c *Conn) write(buf []byte) error {
	for len(buf) > 0 {
		n := min(len(buf), writeChunk)
		if c.cfg.WriteTimeout > 0 {
			if err := c.nc.SetWriteDeadline(time.Now().Add(c.cfg.WriteTimeout)); err != nil {
				return err
			}
		}
		if _, err := c.nc.Write(buf[:n]); err != nil {
			return err
		}
		if buf = buf[n:]; len(buf) > 0 {
			c.chunks.Add(1)
		}
	}
	return nil
}
