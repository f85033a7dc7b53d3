package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// readLoop is the reader goroutine. It ends when the connection dies.
func (c *Conn) readLoop() {
	defer c.wg.Done()
	m := &monitor{c: c, greeting: make([]byte, 0, greetingSize)}
	frames := esproto.NewFrameReader(m, readBufferSize, c.cfg.MaxFrameSize)
	for {
		h, n, err := frames.Next()
		if err == nil {
			m.frameStarted(n - frames.Buffered())
			err = c.dispatch(frames, h, n)
		} else if large := (*esproto.FrameTooLargeError)(nil); errors.As(err, &large) {
			m.frameStarted(large.Length - esproto.HeaderSize - frames.Buffered())
			err = c.deliverTooLarge(large)
		}
		if err != nil {
			c.wakeReceivers()
			c.die(explainReadError(err, m.greeting))
			return
		}
		if !c.peerSpoke.Load() {
			c.peerSpoke.Store(true)
			m.greeting = nil
			frames.SkipTooLarge()
		}
	}
}

// dispatch handles one frame: it answers or notes heartbeats, and delivers other frames to their Receivers. Its error
// ends the connection.
func (c *Conn) dispatch(frames *esproto.FrameReader, h esproto.Header, n int) error {
	switch h.Command {
	case esproto.CmdHeartbeatRequest:
		c.sendControl(esproto.CmdHeartbeatResponse, h.CorrelationID)
		return nil
	case esproto.CmdHeartbeatResponse:
		c.heartbeatAnswered(h.CorrelationID)
		return nil
	}
	if !h.Command.Known() {
		return fmt.Errorf("%w: a frame with the unknown command %v", esproto.ErrFrame, h.Command)
	}
	if h.Command == esproto.CmdBadRequest && h.CorrelationID.IsZero() {
		text, err := frames.Borrow()
		if err != nil {
			return err
		}
		return &BadRequestError{Text: string(text)}
	}
	if [8]byte(h.CorrelationID[:8]) != c.prefix {
		return nil // not an id of this connection, so it has no Receiver
	}
	return c.deliver(frames, h, n)
}

// cachedSubscription is the subscription that got the latest pushed frame. The next frame mostly belongs to it, too,
// and then the reader finds the Receiver without the lock. It is valid as long as no subscription has been removed.
type cachedSubscription struct {
	seq      uint64
	r        Receiver
	removals int64 // receiverTable.subscriptionsRemoved when it was cached
}

// deliver passes a frame to its Receiver. A call stays in the table until its whole payload has come: until then its
// context can still remove it, so that a caller never waits for the rest of a frame.
func (c *Conn) deliver(frames *esproto.FrameReader, h esproto.Header, n int) error {
	seq := binary.LittleEndian.Uint64(h.CorrelationID[8:])
	cached := &c.reader.cached
	if cached.seq == seq && cached.r != nil && cached.removals == c.mu.receivers.subscriptionsRemoved.Load() {
		return c.deliverToSubscription(frames, h, n)
	}
	c.mu.Lock()
	e := c.mu.receivers.get(seq)
	if e == nil {
		late, repeated := c.mu.repetitions[seq]
		c.mu.Unlock()
		if !repeated {
			c.answerOrphan(h.Command, seq)
			return nil // the Receiver was removed
		}
		return c.deliverLate(frames, h, late.seq)
	}
	c.mu.peerRead = max(c.mu.peerRead, e.end)
	if !e.single {
		*cached = cachedSubscription{seq: seq, r: e.r, removals: c.mu.receivers.subscriptionsRemoved.Load()}
		c.mu.Unlock()
		return c.deliverToSubscription(frames, h, n)
	}
	r := e.r
	// Under the lock: as soon as it is released, the call may be removed and reused for another operation.
	keeps := n > 0 && r.Keeps(h.Command, n)
	complete := frames.Buffered() >= n
	if complete {
		c.mu.receivers.remove(e)
	}
	c.unlockAndFinishDrain()
	payload, err := payloadOf(frames, keeps)
	if err != nil { // only if the payload was not complete: the call is still in the table, and die fails it
		return err
	}
	if !complete && !c.remove(seq) {
		return nil // the call was removed while its payload came
	}
	r.Receive(h.Command, payload)
	c.wakeLater(r)
	c.reader.wakesCalls = true
	return nil
}

// deliverToSubscription passes a frame to the cached subscription.
func (c *Conn) deliverToSubscription(frames *esproto.FrameReader, h esproto.Header, n int) error {
	r := c.reader.cached.r
	payload, err := payloadOf(frames, n > 0 && r.Keeps(h.Command, n))
	if err != nil {
		return err
	}
	if more := r.Receive(h.Command, payload); !more {
		c.remove(c.reader.cached.seq)
	}
	c.wakeLater(r)
	return nil
}

// payloadOf reads the payload of the current frame. If the Receiver keeps the payload, it gets memory of its own. Else
// it is part of the read buffer and valid until the next frame.
func payloadOf(frames *esproto.FrameReader, keeps bool) ([]byte, error) {
	if keeps {
		return frames.Take()
	}
	return frames.Borrow()
}

// deliverTooLarge tells the Receiver of a frame that the frame was above the limit. Its error ends the connection: the
// frame cannot belong to a request, so the bytes are out of step or the peer is no EventStore.
func (c *Conn) deliverTooLarge(large *esproto.FrameTooLargeError) error {
	cmd, id := large.Header.Command, large.Header.CorrelationID
	if !cmd.Known() || [8]byte(id[:8]) != c.prefix {
		return fmt.Errorf("%w: %v of %d bytes that answers nothing", esproto.ErrFrame, cmd, large.Length)
	}
	seq := binary.LittleEndian.Uint64(id[8:])
	c.mu.Lock()
	e := c.mu.receivers.get(seq)
	if e == nil {
		c.mu.Unlock()
		c.answerOrphan(cmd, seq)
		return nil // the Receiver was removed
	}
	c.mu.peerRead = max(c.mu.peerRead, e.end)
	r, single := e.r, e.single
	if single {
		c.mu.receivers.remove(e)
	}
	c.unlockAndFinishDrain()
	if more := r.TooLarge(cmd, large); !more && !single {
		c.remove(seq)
	}
	c.wakeLater(r)
	c.reader.wakesCalls = c.reader.wakesCalls || single
	return nil
}
