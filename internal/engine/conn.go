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

// Conn is one TCP connection. Its fields are grouped by owner: constants, the fields under the lock, those of the reader
// goroutine, those of the turn to write, and atomics.
//
// Functions that expect the caller to hold the lock end in Locked. Those that begin with unlock expect it, too, and
// release it. The types inside mu, such as the table of Receivers, have no lock of their own.
type Conn struct {
	// Set by NewConn and never changed.
	nc       net.Conn
	endpoint string
	cfg      ConnConfig
	prefix   [8]byte       // of every correlation id; random, since servers compare ids across connections
	kick     chan struct{} // hands the turn to write to the writer goroutine; has room for one
	dead     chan struct{} // closed by die

	mu struct {
		sync.Mutex

		// The requests that wait for frames.
		receivers    receiverTable
		ticks        int64                      // how often the reader has checked the time limits
		repetitions  map[uint64]repetition      // by the number of the earlier attempt, see late.go
		unsubscribed map[uint64]sentUnsubscribe // the latest subscriptions that were given up, see unwanted.go
		watcher      *contextWatcher            // of a context that several calls share; nil for none
		lastDone     <-chan struct{}            // of the context of the latest call without a watcher

		// The write buffer.
		pending   []byte        // frames to be written
		spare     []byte        // the other buffer, empty
		peakWrite int           // the most bytes in one write since the last tick
		writing   bool          // the turn to write is taken, see writer.go
		room      chan struct{} // closed when pending has shrunk; nil while no caller waits for that

		// Positions, counted in bytes since the connection was made.
		appended    int64 // end of the last frame in pending
		peerRead    int64 // the peer has read up to here, as its replies show
		largeFrames largeFrames

		// The end of the connection.
		draining   error       // why it takes no new requests; nil if it does
		drainTimer *time.Timer // limits the draining
		err        error       // why it died; nil while it lives
	}

	// reader belongs to the reader goroutine.
	reader struct {
		cached     cachedSubscription // the subscription of the latest frame
		toWake     []Receiver         // got frames and are not woken yet
		wakesCalls bool               // calls are among them
		memory     Memory
		sendQueue  *sendQueue // the bytes that the kernel holds; nil if it cannot be asked
	}

	// turn belongs to the goroutine that has the turn to write.
	turn struct {
		deadlineSet time.Time // when the write deadline was set
	}

	handed    atomic.Int64 // bytes that were passed to the socket
	written   atomic.Int64 // bytes that the socket has accepted
	peerSpoke atomic.Bool  // the peer has sent a frame

	wg sync.WaitGroup
}

// NewConn starts the two goroutines of a connection. Whoever calls it must call Close, also after the connection died.
func NewConn(nc net.Conn, endpoint string, cfg ConnConfig) *Conn {
	c := &Conn{
		nc: nc, endpoint: endpoint, cfg: cfg,
		kick: make(chan struct{}, 1),
		dead: make(chan struct{}),
	}
	c.reader.sendQueue = newSendQueue(nc)
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
	return c.mu.err
}

// Close lets the connection die with err and waits for its goroutines.
func (c *Conn) Close(err error) {
	c.die(err)
	c.wg.Wait()
}

// die is the one place where a connection ends. The first call counts.
func (c *Conn) die(err error) {
	c.mu.Lock()
	if c.mu.err != nil {
		c.mu.Unlock()
		return
	}
	c.mu.err = &ConnectionError{Endpoint: c.endpoint, Err: err}
	waiting := c.mu.receivers.removeIf(func(*entry) bool { return true })
	c.mu.pending, c.mu.spare = nil, nil
	c.signalRoomLocked()
	c.retireWatcherLocked()
	if c.mu.drainTimer != nil {
		c.mu.drainTimer.Stop()
	}
	close(c.dead) // under the lock: who meets the error must not be given the connection once more
	c.mu.Unlock()

	c.nc.Close()
	handed := c.handed.Load() // after which nothing more can be written
	for _, e := range waiting {
		e.r.Fail(c.mu.err, e.end <= handed) // a part of a frame is nothing to the peer
	}
}

// leaveTimeout is how long a connection that is left may still take to answer.
const drainTimeout = 250 * time.Millisecond

// Drain lets the connection die with err once the calls that wait are answered, for which it has a moment. What would
// be started on it fails at once, and so do those who get any number of frames.
func (c *Conn) Drain(err error) {
	c.mu.Lock()
	if c.mu.err != nil || c.mu.draining != nil {
		c.mu.Unlock()
		return
	}
	c.mu.draining = err
	c.mu.drainTimer = time.AfterFunc(drainTimeout, func() { c.die(err) })
	subscriptions := c.mu.receivers.removeIf(func(e *entry) bool { return !e.single })
	c.signalRoomLocked()
	left := c.mu.receivers.n == 0
	c.mu.Unlock()
	for _, e := range subscriptions {
		e.r.Fail(&ConnectionError{Endpoint: c.endpoint, Err: err}, true)
	}
	if left {
		c.die(err)
	}
}

// remove removes a Receiver. It returns false if it was removed before.
func (c *Conn) remove(seq uint64) bool {
	c.mu.Lock()
	e := c.mu.receivers.get(seq)
	if e != nil {
		c.mu.receivers.remove(e)
	}
	c.unlockAndFinishDrain()
	return e != nil
}

// unlockAndFinishDrain lets a connection die that is left, once nobody waits.
func (c *Conn) unlockAndFinishDrain() {
	left, leaving := c.mu.receivers.n == 0, c.mu.draining
	c.mu.Unlock()
	if leaving != nil && left {
		c.die(leaving)
	}
}

// signalRoomLocked wakes those who wait for room in the write buffer.
func (c *Conn) signalRoomLocked() {
	if c.mu.room != nil {
		close(c.mu.room)
		c.mu.room = nil
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
	return h.c != nil && h.c.remove(h.seq)
}

// freeMemory gives memory back at each beat: large buffers that were of little use, and all that a silent connection has.
func (c *Conn) freeMemory(silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := max(keepWriteBuffer, 4*c.mu.peakWrite)
	c.mu.peakWrite = 0
	if silent {
		limit = 0
		c.mu.receivers.shrink()
		c.reader.cached, c.reader.memory = cachedSubscription{}, Memory{}
		c.retireWatcherLocked()
		c.mu.lastDone = nil
	}
	if cap(c.mu.spare) > limit {
		c.mu.spare = nil
	}
	if len(c.mu.pending) == 0 && cap(c.mu.pending) > limit {
		c.mu.pending = nil
	}
}
