package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func (c *Conn) readLoop() {
	defer c.wg.Done()
	pulse := &pulse{c: c, greeting: make([]byte, 0, greetingSize)}
	frames := esproto.NewFrameReader(pulse, readBufferSize, c.cfg.MaxFrameSize)
	for {
		h, n, err := frames.Next()
		if err == nil {
			err = c.dispatch(frames, h, n)
		} else {
			err = c.tooLarge(err)
		}
		if err != nil {
			c.wakeReceivers()
			c.die(describe(err, pulse.greeting))
			return
		}
		if !c.spoken.Load() {
			c.spoken.Store(true)
			pulse.greeting = nil
			frames.SkipTooLarge()
		}
	}
}

// dispatch hands one frame to whom it belongs. An error ends the connection.
func (c *Conn) dispatch(frames *esproto.FrameReader, h esproto.Header, n int) error {
	switch h.Command {
	case esproto.CmdHeartbeatRequest:
		c.control(esproto.CmdHeartbeatResponse, h.CorrelationID)
		return nil
	case esproto.CmdHeartbeatResponse:
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

// flow is what the latest frame belongs to that others may follow. It is the next one's, too, mostly, and found without
// the lock while no such Receiver has been removed.
type flow struct {
	seq  uint64
	r    Receiver
	gone int64 // what table.streamsGone was
}

// deliver finds the Receiver of a frame. The payload is read before the Receiver is called, so that a caller whose
// context ends does not wait for a frame that is still on its way.
func (c *Conn) deliver(frames *esproto.FrameReader, h esproto.Header, n int) error {
	seq := binary.LittleEndian.Uint64(h.CorrelationID[8:])
	if c.flow.seq == seq && c.flow.r != nil && c.flow.gone == c.calls.streamsGone.Load() {
		return c.flowOn(frames, h, n)
	}
	c.mu.Lock()
	e := c.calls.get(seq)
	if e == nil {
		c.mu.Unlock()
		return nil // given up by its caller
	}
	c.heard = max(c.heard, e.start)
	if !e.once {
		c.flow = flow{seq: seq, r: e.r, gone: c.calls.streamsGone.Load()}
		c.mu.Unlock()
		return c.flowOn(frames, h, n)
	}
	r := e.r
	// Asked under the lock: a call that is removed right after may be in use again for another operation.
	keeps := n > 0 && r.Keeps(h.Command, n)
	mine := frames.Buffered() >= n
	if mine {
		c.calls.remove(e)
	}
	c.unlockAndLeave()
	payload, err := payloadOf(frames, keeps)
	if err != nil { // never of a payload that is there already
		return err
	}
	if !mine && !c.forget(seq) {
		return nil // given up while its reply was on its way
	}
	r.Receive(h.Command, payload)
	c.wakeSoon(r)
	c.answered = true
	return nil
}

// flowOn hands a frame to the Receiver of c.flow.
func (c *Conn) flowOn(frames *esproto.FrameReader, h esproto.Header, n int) error {
	r := c.flow.r
	payload, err := payloadOf(frames, n > 0 && r.Keeps(h.Command, n))
	if err != nil {
		return err
	}
	if more := r.Receive(h.Command, payload); !more {
		c.forget(c.flow.seq)
	}
	c.wakeSoon(r)
	return nil
}

func payloadOf(frames *esproto.FrameReader, keeps bool) ([]byte, error) {
	if keeps {
		return frames.Take()
	}
	return frames.Borrow()
}

// tooLarge tells whoever waits for a frame that it was too large. What it returns ends the connection: errors of other
// kinds, and one for a frame that nobody can have asked for.
func (c *Conn) tooLarge(err error) error {
	var e *esproto.FrameTooLargeError
	if !errors.As(err, &e) {
		return err
	}
	cmd, id := e.Header.Command, e.Header.CorrelationID
	if !cmd.Known() || [8]byte(id[:8]) != c.prefix {
		return fmt.Errorf("%w: %v of %d bytes that answers nothing", esproto.ErrFrame, cmd, e.Length)
	}
	seq := binary.LittleEndian.Uint64(id[8:])
	c.mu.Lock()
	waiting := c.calls.get(seq)
	if waiting == nil {
		c.mu.Unlock()
		return nil // given up by its caller
	}
	c.heard = max(c.heard, waiting.start)
	r, once := waiting.r, waiting.once
	if once {
		c.calls.remove(waiting)
	}
	c.unlockAndLeave()
	err = fmt.Errorf("%w; Config.MaxFrameSize is the limit: raise it, or ask for less at a time", err)
	if more := r.TooLarge(cmd, err); !more && !once {
		c.forget(seq)
	}
	c.wakeSoon(r)
	c.answered = c.answered || once
	return nil
}

// wakeSoon notes a Receiver that is to be woken before the reader next waits for bytes.
func (c *Conn) wakeSoon(r Receiver) {
	if n := len(c.received); n == 0 || c.received[n-1] != r {
		c.received = append(c.received, r)
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
	n := len(c.received)
	if n == 0 {
		return
	}
	parts := 1
	if c.answered && n >= 2*wakePart && c.waiting() < fewRequests {
		parts = min(n/wakePart, wakeParts)
	}
	for part := range slices.Chunk(c.received, (n+parts-1)/parts) {
		turn := c.answered && n > 1 && c.takeTurn()
		for _, r := range part {
			r.Wake()
		}
		if turn {
			runtime.Gosched()
			c.writeNow()
		}
	}
	clear(c.received)
	c.received, c.answered = c.received[:0], false
}

// waiting returns how many calls wait for their reply.
func (c *Conn) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls.once
}

// pulse reads from the connection and watches over it: bytes are a sign of life, silence makes it send a heartbeat,
// further silence is an error. It also ends calls whose time is up. Partly received frames count as life, as they do
// for the server, and so does a large write that gets on: a heartbeat would wait behind it.
type pulse struct {
	c       *Conn
	armed   bool
	active  bool      // bytes came since the last beat
	since   time.Time // when the silence began
	waiting bool      // a heartbeat was sent in this silence
	told    bool      // ... and the reader of frames was told of the silence
	chunks  int64     // what Conn.chunks was at the last beat

	greeting []byte // how the peer began; nil once it has sent a frame
}

func (p *pulse) Read(b []byte) (int, error) {
	if !p.armed {
		p.armed, p.since = true, time.Now()
		if err := p.arm(); err != nil {
			return 0, err
		}
	}
	p.c.wakeReceivers()
	for {
		n, err := p.c.nc.Read(b)
		if n > 0 {
			p.active, p.told = true, false
			if p.greeting != nil {
				p.greeting = append(p.greeting, b[:min(n, greetingSize-len(p.greeting))]...)
			}
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		silent := !p.active
		if err := p.beat(time.Now()); err != nil {
			return 0, err
		}
		if silent && !p.told {
			p.told = true
			return 0, nil // so that the buffer shrinks
		}
	}
}

// arm sets when Read is interrupted next. Doing this once a beat instead of once a read keeps it off the fast path.
func (p *pulse) arm() error {
	return p.c.nc.SetReadDeadline(time.Now().Add(p.c.cfg.beatPeriod()))
}

func (p *pulse) beat(now time.Time) error {
	p.c.expire()
	if n := p.c.chunks.Load(); n != p.chunks {
		p.chunks, p.active = n, true
	}
	p.c.shrink(!p.active)
	cfg := &p.c.cfg
	switch silence := now.Sub(p.since); {
	case p.active:
		p.active, p.waiting, p.since = false, false, now
	case cfg.HeartbeatInterval <= 0:
	case p.waiting && silence >= cfg.HeartbeatInterval+cfg.HeartbeatTimeout:
		return fmt.Errorf("%w within %v", ErrHeartbeatTimeout, cfg.HeartbeatTimeout)
	case !p.waiting && silence >= cfg.HeartbeatInterval:
		p.waiting = true
		p.c.sendHeartbeat()
	}
	return p.arm()
}

const (
	minBeat = 5 * time.Millisecond
	maxBeat = 250 * time.Millisecond
)

// beatPeriod is how often silence and time limits are looked at: a fraction of the shortest of them.
func (cfg *ConnConfig) beatPeriod() time.Duration {
	d := maxBeat
	for _, limit := range [...]time.Duration{cfg.HeartbeatInterval, cfg.HeartbeatTimeout, cfg.OperationTimeout} {
		if limit > 0 {
			d = min(d, limit/4)
		}
	}
	return max(d, minBeat)
}

func (c *Conn) sendHeartbeat() {
	c.mu.Lock()
	id := c.correlationID(c.calls.reserve())
	c.mu.Unlock()
	c.control(esproto.CmdHeartbeatRequest, id)
}

// expire fails the calls that got no reply in time.
func (c *Conn) expire() {
	c.mu.Lock()
	c.beats++
	late := c.calls.takeOut(func(e *entry) bool { return e.due > 0 && e.due <= c.beats })
	c.mu.Unlock()
	for _, e := range late {
		e.r.Fail(ErrOperationTimeout, true) // what is not sent yet still will be
	}
}
