package engine

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Request is what a call or a subscription sends.
type Request interface {
	Command() esproto.Command
	// AppendPayload appends the payload to b. It runs under the connection's lock, once for each time the request
	// is sent, and must not block.
	AppendPayload(b []byte) []byte
}

// Receiver takes the frames that carry one correlation id. Its methods run on the reader goroutine, Fail also on
// whichever goroutine lets the connection die; none may block, or call back into the Conn with its own lock held.
type Receiver interface {
	// Keeps reports whether Receive will keep the payload of cmd, n bytes; it then gets memory of its own. It may run
	// under the connection's lock.
	Keeps(cmd esproto.Command, n int) bool
	// Receive takes a frame. It returns whether further frames may follow on the same correlation id. Who waits for it
	// need not be told before Wake.
	Receive(cmd esproto.Command, payload []byte) (more bool)
	// TooLarge stands for Receive where a frame is larger than allowed and is skipped. err says so, and what to do.
	TooLarge(cmd esproto.Command, err error) (more bool)
	// Wake follows both, once for all frames that came together: what they wake then finds all of its work.
	Wake()
	// Fail tells that no further frame will come. sent is false if the peer cannot have got all of the request.
	Fail(err error, sent bool)
}

// ConnConfig holds what a Conn needs to know.
type ConnConfig struct {
	HeartbeatInterval time.Duration // silence after which a heartbeat is sent
	HeartbeatTimeout  time.Duration // further silence after which the connection is given up
	OperationTimeout  time.Duration // from the last sign that a call gets on to its reply, see limit.go; 0 is none
	WriteTimeout      time.Duration // for what is written to get on
	MaxFrameSize      int           // of received frames, in bytes
	MaxPendingBytes   int           // unsent bytes above which callers wait
}

const (
	readBufferSize  = 128 << 10 // which a busy connection has
	keepWriteBuffer = 64 << 10  // a larger write buffer is kept from beat to beat only if it was of use
	writeChunk      = 256 << 10 // the most that is written at a time: what a write takes is seen when it is over
)

// Conn is one TCP connection.
type Conn struct {
	nc       net.Conn
	endpoint string
	cfg      ConnConfig
	prefix   [8]byte // of every correlation id of this connection; random, since servers compare ids across connections

	mu       sync.Mutex
	calls    table
	late     map[uint64]repetition // of calls that were given up, see late.go
	beats    int64                 // how often the reader has looked at the time limits
	out      []byte                // frames that are to be written
	spare    []byte                // the other buffer, empty
	need     int                   // the most that was written at a time since the last beat
	appended int64                 // bytes that were ever appended to out
	heard    int64                 // bytes that the peer has read for sure, as its replies show
	large    largeFrames           // among the appended ones
	writing  bool                  // somebody has the turn to write, see writer.go
	space    chan struct{}         // closed when out has shrunk; nil while nobody waits for that
	leaving  error                 // why nothing new is started on it; nil if anything may be
	err      error                 // why the connection died

	leaveTimer *time.Timer // runs while the connection is left

	farewells map[uint64]farewell // the latest subscriptions that were given up, see unwanted.go

	watcher   *watcher        // of the context that calls share; nil for none
	lastEnded <-chan struct{} // of the context of the latest call that is not watched

	received []Receiver // to be woken; the reader's own
	answered bool       // calls are among them
	flow     flow       // ... and this
	memory   Memory     // ... and this

	armed time.Time // when the write deadline was set; belongs to who has the turn

	kick    chan struct{}
	dead    chan struct{}
	spoken  atomic.Bool  // the peer has sent a frame
	handed  atomic.Int64 // bytes that the socket was given to write
	written atomic.Int64 // bytes that it has taken
	queue   *sendQueue   // how many of them the kernel still holds; nil if it cannot be asked
	wg      sync.WaitGroup
}

// NewConn starts the two goroutines of a connection. Whoever calls it must call Close, also after the connection died.
func NewConn(nc net.Conn, endpoint string, cfg ConnConfig) *Conn {
	c := &Conn{
		nc: nc, endpoint: endpoint, cfg: cfg,
		kick:  make(chan struct{}, 1),
		dead:  make(chan struct{}),
		queue: newSendQueue(nc),
	}
	rand.Read(c.prefix[:]) // never fails: see crypto/rand
	c.wg.Add(2)
	go c.readLoop()
	go c.writeLoop()
	return c
}

// Endpoint returns the host:port of the peer.
func (c *Conn) Endpoint() string { return c.endpoint }

// Dead is closed when the connection has died.
func (c *Conn) Dead() <-chan struct{} { return c.dead }

// Err returns why the connection died, or nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close lets the connection die with err and waits for its goroutines.
func (c *Conn) Close(err error) {
	c.die(err)
	c.wg.Wait()
}

// die is the one place where a connection ends. The first call counts.
func (c *Conn) die(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = &ConnectionError{Endpoint: c.endpoint, Err: err}
	waiting := c.calls.takeOut(func(*entry) bool { return true })
	c.out, c.spare = nil, nil
	c.makeSpace()
	c.retireWatcher()
	if c.leaveTimer != nil {
		c.leaveTimer.Stop()
	}
	close(c.dead) // under the lock: who meets the error must not be given the connection once more
	c.mu.Unlock()

	c.nc.Close()
	handed := c.handed.Load() // after which nothing more can be written
	for _, e := range waiting {
		e.r.Fail(c.err, e.end <= handed) // a part of a frame is nothing to the peer
	}
}

// leaveTimeout is how long a connection that is left may still take to answer.
const leaveTimeout = 250 * time.Millisecond

// Leave lets the connection die with err once the calls that wait are answered, for which it has a moment. What would
// be started on it fails at once, and so do those who get any number of frames.
func (c *Conn) Leave(err error) {
	c.mu.Lock()
	if c.err != nil || c.leaving != nil {
		c.mu.Unlock()
		return
	}
	c.leaving = err
	c.leaveTimer = time.AfterFunc(leaveTimeout, func() { c.die(err) })
	streams := c.calls.takeOut(func(e *entry) bool { return !e.once })
	c.makeSpace()
	left := c.calls.n == 0
	c.mu.Unlock()
	for _, e := range streams {
		e.r.Fail(&ConnectionError{Endpoint: c.endpoint, Err: err}, true)
	}
	if left {
		c.die(err)
	}
}

// forget removes a Receiver. It returns false if it was removed before.
func (c *Conn) forget(seq uint64) bool {
	c.mu.Lock()
	e := c.calls.get(seq)
	if e != nil {
		c.calls.remove(e)
	}
	c.unlockAndLeave()
	return e != nil
}

// unlockAndLeave lets a connection die that is left, once nobody waits.
func (c *Conn) unlockAndLeave() {
	left, leaving := c.calls.n == 0, c.leaving
	c.mu.Unlock()
	if leaving != nil && left {
		c.die(leaving)
	}
}

// makeSpace wakes those who wait for room in the write buffer. c.mu is held.
func (c *Conn) makeSpace() {
	if c.space != nil {
		close(c.space)
		c.space = nil
	}
}

// Handle names a Receiver that waits on a connection. The zero Handle names none.
type Handle struct {
	c       *Conn
	seq     uint64
	watched bool // the end of the call's context is seen to
}

// Conn returns the connection that h belongs to; nil for the zero Handle.
func (h Handle) Conn() *Conn { return h.c }

// ID returns the correlation id.
func (h Handle) ID() esproto.CorrelationID { return h.c.correlationID(h.seq) }

func (c *Conn) correlationID(seq uint64) (id esproto.CorrelationID) {
	copy(id[:], c.prefix[:])
	binary.LittleEndian.PutUint64(id[8:], seq)
	return id
}

// Remove forgets the Receiver: it gets nothing any more, not even Fail. It returns false if the Receiver is gone
// already: its last frame, or Fail, has been or is just being handed to it.
func (h Handle) Remove() bool {
	return h.c != nil && h.c.forget(h.seq)
}

// shrink gives memory back at each beat: large buffers that were of little use, and all that a silent connection has.
func (c *Conn) shrink(silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := max(keepWriteBuffer, 4*c.need)
	c.need = 0
	if silent {
		limit = 0
		c.calls.shrink()
		c.flow, c.memory = flow{}, Memory{}
		c.retireWatcher()
		c.lastEnded = nil
	}
	if cap(c.spare) > limit {
		c.spare = nil
	}
	if len(c.out) == 0 && cap(c.out) > limit {
		c.out = nil
	}
}
