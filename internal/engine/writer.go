package engine

import (
	"context"
	"runtime"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// What is to be written is appended to one buffer, and whoever has the turn writes it: one at a time, so that frames
// keep their order and those that are appended meanwhile go together. Who has it, and what else, depends on who was
// there first:
//
//   - the writer goroutine, which is kicked when something was appended and nobody has the turn;
//   - the reader, when it wakes callers: their next requests go out in one write, without waking the writer;
//   - a caller who is the only one: it need not have its request written by another goroutine.
//
// The reader and callers must not block, so they write only what the sockets' buffers hold for sure, see writeAtOnce.

// Start sends a request that is answered by one frame, which goes to r. While too many bytes wait to be written it
// blocks until ctx ends. After an error nothing was sent and r hears nothing.
//
// If the Handle says that it is watched, the end of ctx fails r with its cause.
func (c *Conn) Start(ctx context.Context, req Request, creds *esproto.Credentials, r Receiver) (Handle, error) {
	return c.start(ctx, req, creds, r, 0)
}

// start is Start; earlier is the call that this one repeats, 0 for none.
func (c *Conn) start(
	ctx context.Context, req Request, creds *esproto.Credentials, r Receiver, earlier uint64,
) (Handle, error) {
	ended := ctx.Done()
	if err := c.lockForAppend(ctx); err != nil {
		return Handle{}, err
	}
	w := c.watchLocked(ctx, ended)
	h := c.addReceiverLocked(req, creds, entry{r: r, deadline: c.deadlineLocked(), single: true, watcher: w})
	h.watched = w != nil
	if earlier > 0 {
		c.addRepetitionLocked(earlier, h.seq)
	}
	if c.mu.writing || c.mu.receivers.singles > 1 || c.unreadLocked() > writeAtOnce {
		c.unlockAndKick()
		return h, nil
	}
	c.mu.writing = true
	c.mu.Unlock()
	c.writeNow()
	return h, nil
}

// StartSubscription is Start for a request that is answered by any number of frames, without the operation timeout. attach
// is called with the Handle before the request can be answered; it must not block.
func (c *Conn) StartSubscription(
	ctx context.Context, req Request, creds *esproto.Credentials, r Receiver, attach func(Handle),
) error {
	if err := c.lockForAppend(ctx); err != nil {
		return err
	}
	attach(c.addReceiverLocked(req, creds, entry{r: r}))
	c.unlockAndKick()
	return nil
}

func (c *Conn) addReceiverLocked(req Request, creds *esproto.Credentials, e entry) Handle {
	seq := c.mu.receivers.add(e)
	c.appendFrameLocked(req, c.correlationID(seq), creds)
	c.mu.receivers.slot(seq).end = c.mu.appended
	return Handle{c: c, seq: seq}
}

// Post sends a request on the correlation id of h, for which no reply of its own is expected: acks, unsubscribing. It
// does not wait for room in the write buffer, so the caller must bound what it posts. On a connection that has died it
// does nothing.
func (h Handle) Post(req Request, creds *esproto.Credentials) {
	h.c.mu.Lock()
	if h.c.mu.err != nil {
		h.c.mu.Unlock()
		return
	}
	h.c.appendFrameLocked(req, h.ID(), creds)
	h.c.unlockAndKick()
}

// lockForAppend takes the lock when there is room in the write buffer. After an error the lock is not held.
func (c *Conn) lockForAppend(ctx context.Context) error {
	c.mu.Lock()
	for c.mu.err == nil && c.mu.draining == nil && len(c.mu.pending) >= c.cfg.MaxPendingBytes {
		if c.mu.room == nil {
			c.mu.room = make(chan struct{})
		}
		space := c.mu.room
		c.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		c.mu.Lock()
	}
	err := c.mu.err
	if err == nil && c.mu.draining != nil {
		err = &ConnectionError{Endpoint: c.endpoint, Err: c.mu.draining}
	}
	if err != nil {
		c.mu.Unlock()
	}
	return err
}

func (c *Conn) appendFrameLocked(req Request, id esproto.CorrelationID, creds *esproto.Credentials) {
	start := len(c.mu.pending)
	c.mu.pending = esproto.AppendHeader(c.mu.pending, req.Command(), id, creds)
	c.mu.pending = req.AppendPayload(c.mu.pending)
	esproto.EndFrame(c.mu.pending, start)
	size := len(c.mu.pending) - start
	c.mu.appended += int64(size)
	if size >= largeFrame {
		c.mu.largeFrames.note(size, c.mu.appended)
	}
}

func (c *Conn) unlockAndKick() {
	wake := !c.mu.writing
	c.mu.writing = true
	c.mu.Unlock()
	if wake {
		c.kick <- struct{}{} // has room: only the one who has the turn sends
	}
}

// takeTurn takes the turn to write, if nobody has it.
func (c *Conn) takeTurn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.writing || c.mu.err != nil {
		return false
	}
	c.mu.writing = true
	return true
}

// writeAtOnce is how many bytes may be under way that the peer has not read for sure, if a write is never to block: the
// sockets of two peers hold more.
const writeAtOnce = 32 << 10

func (c *Conn) unreadLocked() int64 { return c.mu.appended - c.mu.peerRead }

// writeNow writes what was appended, as far as that cannot block, and leaves everything else to the writer. The caller
// has the turn, and gives it up.
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

// sendControl sends a frame without payload from the reader. It does not wait for room, so that heartbeats are never late.
func (c *Conn) sendControl(cmd esproto.Command, id esproto.CorrelationID) {
	c.mu.Lock()
	if c.mu.err != nil {
		c.mu.Unlock()
		return
	}
	n := len(c.mu.pending)
	c.mu.pending = esproto.AppendFrame(c.mu.pending, cmd, id, nil)
	c.mu.appended += int64(len(c.mu.pending) - n)
	c.unlockAndKick()
}

func (c *Conn) writeLoop() {
	defer c.wg.Done()
	for {
		select {
		case <-c.kick: // and with it comes the turn
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

// gatherBelow is the number of pending bytes from which waiting for more saves no write worth having.
const yieldBelow = 16 << 10

// yieldForMore lets other callers run once, so that their frames go into the same write. A lone call is not delayed.
func (c *Conn) yieldForMore() {
	c.mu.Lock()
	yield := c.mu.receivers.n > 1 && len(c.mu.pending) < yieldBelow
	c.mu.Unlock()
	if yield {
		runtime.Gosched()
	}
}

// nextBuffer is take for the writer. It returns nil and gives up the turn if there is nothing to write.
func (c *Conn) nextBuffer() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.pending) == 0 {
		c.mu.writing = false
		return nil
	}
	return c.swapBuffersLocked()
}

// swapBuffersLocked swaps the buffers.
func (c *Conn) swapBuffersLocked() []byte {
	buf := c.mu.pending
	c.mu.pending, c.mu.spare = c.mu.spare, nil
	c.signalRoomLocked()
	return buf
}

// returnBuffer keeps a buffer for the frames after next.
func (c *Conn) returnBuffer(buf []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.peakWrite = max(c.mu.peakWrite, len(buf))
	if c.mu.err == nil {
		c.mu.spare = buf[:0]
	}
}

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

// setWriteDeadline gives the next write its time, or up to an eighth more: so the deadline need not be set for each.
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
