package engine

import (
	"context"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Start sends a request whose single reply goes to r. It blocks while the write buffer is full, until ctx ends. If it
// returns an error, nothing was sent and no method of r is called.
//
// If the Handle is watched, the caller need not wait for the end of ctx: ctx never ends, or its end fails r with its
// cause.
func (c *Conn) Start(ctx context.Context, req Request, creds *esproto.Credentials, r Receiver) (Handle, error) {
	return c.start(ctx, req, creds, r, 0)
}

// start is [Conn.Start] for a call that repeats the call with the number earlier; 0 for none.
func (c *Conn) start(
	ctx context.Context, req Request, creds *esproto.Credentials, r Receiver, earlier uint64,
) (Handle, error) {
	done := ctx.Done() // outside the lock: it may take the lock of the context
	if err := c.lockForAppend(ctx); err != nil {
		return Handle{}, err
	}
	w := c.watchLocked(ctx, done)
	h := c.addReceiverLocked(req, creds, entry{r: r, deadline: c.deadlineLocked(), single: true, watcher: w})
	h.watched = w != nil || done == nil
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

// StartSubscription is [Conn.Start] for a subscription: any number of frames may go to r, and there is no operation
// timeout. It calls attach with the Handle before r can get a frame. attach runs under the connection's lock and must
// not block.
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

// addReceiverLocked adds the Receiver of e and appends its request to the write buffer.
func (c *Conn) addReceiverLocked(req Request, creds *esproto.Credentials, e entry) Handle {
	seq := c.mu.receivers.add(e)
	c.appendFrameLocked(req, c.correlationID(seq), creds)
	c.mu.receivers.slot(seq).end = c.mu.appended
	return Handle{c: c, seq: seq}
}

// Post sends a request that has no reply of its own, such as an ack, on the correlation id of h. It does not wait for
// room in the write buffer, so the caller must bound the bytes that it posts. On a dead connection it does nothing.
func (h Handle) Post(req Request, creds *esproto.Credentials) {
	h.c.mu.Lock()
	if h.c.mu.err != nil {
		h.c.mu.Unlock()
		return
	}
	h.c.appendFrameLocked(req, h.ID(), creds)
	h.c.unlockAndKick()
}

// lockForAppend waits for room in the write buffer and takes the lock. If it returns an error, the lock is not held.
func (c *Conn) lockForAppend(ctx context.Context) error {
	c.mu.Lock()
	for c.mu.err == nil && c.mu.draining == nil && len(c.mu.pending) >= c.cfg.MaxPendingBytes {
		if c.mu.room == nil {
			c.mu.room = make(chan struct{})
		}
		room := c.mu.room
		c.mu.Unlock()
		select {
		case <-room:
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

// appendFrameLocked appends the frame of req to the write buffer.
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

// sendControl sends a frame without payload. It runs on the reader goroutine and does not wait for room in the write
// buffer, so that the reader never blocks and heartbeats are never late.
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
