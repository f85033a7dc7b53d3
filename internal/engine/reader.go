package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func (c *Conn) readLoop() {
	defer c.wg.Done()
	p := &monitor{c: c, greeting: make([]byte, 0, greetingSize)}
	frames := esproto.NewFrameReader(p, readBufferSize, c.cfg.MaxFrameSize)
	for {
		h, n, err := frames.Next()
		if err == nil {
			p.frameStarted(n - frames.Buffered())
			err = c.dispatch(frames, h, n)
		} else if large := (*esproto.FrameTooLargeError)(nil); errors.As(err, &large) {
			p.frameStarted(large.Length - esproto.HeaderSize - frames.Buffered())
			err = c.deliverTooLarge(large)
		}
		if err != nil {
			c.wakeReceivers()
			c.die(describe(err, p.greeting))
			return
		}
		if !c.peerSpoke.Load() {
			c.peerSpoke.Store(true)
			p.greeting = nil
			frames.SkipTooLarge()
		}
	}
}

// dispatch hands one frame to whom it belongs. An error ends the connection.
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
		return nil // not ours: nobody waits for it
	}
	return c.deliver(frames, h, n)
}

// cachedSubscription is what the latest frame belongs to that others may follow. It is the next one's, too, mostly, and found without
// the lock while no such Receiver has been removed.
type cachedSubscription struct {
	seq      uint64
	r        Receiver
	removals int64 // what table.streamsGone was
}

// deliver finds the Receiver of a frame. The payload is read before the Receiver is called, so that a caller whose
// context ends does not wait for a frame that is still on its way.
func (c *Conn) deliver(frames *esproto.FrameReader, h esproto.Header, n int) error {
	seq := binary.LittleEndian.Uint64(h.CorrelationID[8:])
	if c.reader.cached.seq == seq && c.reader.cached.r != nil && c.reader.cached.removals == c.mu.receivers.subscriptionsRemoved.Load() {
		return c.deliverToSubscription(frames, h, n)
	}
	c.mu.Lock()
	e := c.mu.receivers.get(seq)
	if e == nil {
		late, repeated := c.mu.repetitions[seq]
		c.mu.Unlock()
		if !repeated {
			c.answerOrphan(h.Command, seq)
			return nil // given up by its caller
		}
		return c.deliverLate(frames, h, late.seq)
	}
	c.mu.peerRead = max(c.mu.peerRead, e.end)
	if !e.single {
		c.reader.cached = cachedSubscription{seq: seq, r: e.r, removals: c.mu.receivers.subscriptionsRemoved.Load()}
		c.mu.Unlock()
		return c.deliverToSubscription(frames, h, n)
	}
	r := e.r
	// Asked under the lock: a call that is removed right after may be in use again for another operation.
	keeps := n > 0 && r.Keeps(h.Command, n)
	mine := frames.Buffered() >= n
	if mine {
		c.mu.receivers.remove(e)
	}
	c.unlockAndFinishDrain()
	payload, err := payloadOf(frames, keeps)
	if err != nil { // never of a payload that is there already
		return err
	}
	if !mine && !c.remove(seq) {
		return nil // given up while its reply was on its way
	}
	r.Receive(h.Command, payload)
	c.wakeLater(r)
	c.reader.wakesCalls = true
	return nil
}

// deliverToSubscription hands a frame to the Receiver of c.flow.
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

func payloadOf(frames *esproto.FrameReader, keeps bool) ([]byte, error) {
	if keeps {
		return frames.Take()
	}
	return frames.Borrow()
}

// deliverTooLarge tells whoever waits for a frame that it was too large. What it returns ends the connection: the error for a
// frame that nobody can have asked for.
func (c *Conn) deliverTooLarge(e *esproto.FrameTooLargeError) error {
	cmd, id := e.Header.Command, e.Header.CorrelationID
	if !cmd.Known() || [8]byte(id[:8]) != c.prefix {
		return fmt.Errorf("%w: %v of %d bytes that answers nothing", esproto.ErrFrame, cmd, e.Length)
	}
	seq := binary.LittleEndian.Uint64(id[8:])
	c.mu.Lock()
	waiting := c.mu.receivers.get(seq)
	if waiting == nil {
		c.mu.Unlock()
		c.answerOrphan(cmd, seq)
		return nil // given up by its caller
	}
	c.mu.peerRead = max(c.mu.peerRead, waiting.end)
	r, once := waiting.r, waiting.single
	if once {
		c.mu.receivers.remove(waiting)
	}
	c.unlockAndFinishDrain()
	err := fmt.Errorf("%w; Config.MaxFrameSize is the limit: raise it, or ask for less at a time", e)
	if more := r.TooLarge(cmd, err); !more && !once {
		c.remove(seq)
	}
	c.wakeLater(r)
	c.reader.wakesCalls = c.reader.wakesCalls || once
	return nil
}

// wakeLater notes a Receiver that is to be woken before the reader next waits for bytes.
func (c *Conn) wakeLater(r Receiver) {
	if n := len(c.reader.toWake); n == 0 || c.reader.toWake[n-1] != r {
		c.reader.toWake = append(c.reader.toWake, r)
	}
}

// Where the peer has few requests left, callers are woken in so many parts, of so many at least: it gets the first
// requests while the last ones are being made, and has no rest in between.
const (
	fewRequests = 64
	wakeParts   = 4
	wakePart    = 14
)

// wakeReceivers wakes those who got frames. Callers mostly have a next request: it lets them run, and writes what they
// have.
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
