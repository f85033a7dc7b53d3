package engine

import (
	"crypto/rand"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ConnConfig configures a [Conn].
type ConnConfig struct {
	HeartbeatInterval time.Duration // silence of the peer before a heartbeat is sent; 0 for no heartbeats
	HeartbeatTimeout  time.Duration // silence after the heartbeat before the connection dies
	OperationTimeout  time.Duration // for the reply, since the last progress of the call, see timeout.go; 0 for none
	WriteTimeout      time.Duration // for written bytes to make progress; 0 for none
	MaxFrameSize      int           // of received frames, in bytes
	MaxPendingBytes   int           // unsent bytes from which on callers wait
}

const (
	readBufferSize  = 128 << 10 // of a busy connection
	keepWriteBuffer = 64 << 10  // a tick frees a larger write buffer if it was not needed
	writeChunk      = 256 << 10 // the largest single write: progress shows only when a write returns
)

// Conn is one TCP connection. Its fields are grouped by owner: constants, the fields under the lock, those of the
// reader goroutine, those of the turn to write, and atomics.
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
		repetitions  map[uint64]repetition      // by the number of the earlier attempt, see repeat.go
		unsubscribed map[uint64]sentUnsubscribe // the latest Unsubscribes, by number, see unsubscribe.go
		watcher      *contextWatcher            // of a context that several calls share; nil for none
		lastDone     <-chan struct{}            // of the context of the latest call without a watcher

		// The write buffer.
		pending   []byte        // frames to be written
		spare     []byte        // the other buffer, empty
		peakWrite int           // the most bytes in one write since the last tick
		writing   bool          // the turn to write is taken, see writer.go
		room      chan struct{} // closed when pending has shrunk; nil while no caller waits for that

		// Positions, counted in bytes since the connection was made.
		appended    int64       // end of the last frame in the write buffer
		peerRead    int64       // the peer has read up to here, as its replies show
		largeFrames largeFrames // ends of the last large frames, see progress.go

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

// NewConn starts the two goroutines of a connection. The caller must call [Conn.Close], even if the connection has
// died.
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

// Dead returns a channel that is closed when the connection dies.
func (c *Conn) Dead() <-chan struct{} { return c.dead }

// Err returns why the connection died; nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.err
}

// Close ends the connection with err, if it still lives, and waits for its goroutines.
func (c *Conn) Close(err error) {
	c.die(err)
	c.wg.Wait()
}

// die ends the connection: it closes the socket and fails all Receivers. Nothing else does. The first call counts.
func (c *Conn) die(err error) {
	c.mu.Lock()
	if c.mu.err != nil {
		c.mu.Unlock()
		return
	}
	lost := &ConnectionError{Endpoint: c.endpoint, Err: err}
	c.mu.err = lost
	waiting := c.mu.receivers.removeIf(func(*entry) bool { return true })
	c.mu.pending, c.mu.spare = nil, nil
	c.signalRoomLocked()
	c.retireWatcherLocked()
	if c.mu.drainTimer != nil {
		c.mu.drainTimer.Stop()
	}
	close(c.dead) // under the lock: a caller that gets the error must not get this connection from the Manager again
	c.mu.Unlock()

	c.nc.Close()
	handed := c.handed.Load() // final: the socket is closed
	for _, e := range waiting {
		e.r.Fail(lost, e.end <= handed) // the peer ignores a partial frame
	}
}

// drainTimeout limits the time for the replies to the calls of a draining connection.
const drainTimeout = 250 * time.Millisecond

// Drain ends the connection with err as soon as its calls have their replies, or after drainTimeout. New requests and
// all subscriptions fail at once.
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
	drained := c.mu.receivers.n == 0
	c.mu.Unlock()
	for _, e := range subscriptions {
		e.r.Fail(&ConnectionError{Endpoint: c.endpoint, Err: err}, true)
	}
	if drained {
		c.die(err)
	}
}

// remove removes the Receiver with the number seq. It returns false if the Receiver was removed before.
func (c *Conn) remove(seq uint64) bool {
	c.mu.Lock()
	e := c.mu.receivers.get(seq)
	if e != nil {
		c.mu.receivers.remove(e)
	}
	c.unlockAndFinishDrain()
	return e != nil
}

// unlockAndFinishDrain releases the lock. It ends a draining connection if no Receiver waits.
func (c *Conn) unlockAndFinishDrain() {
	drained, reason := c.mu.receivers.n == 0, c.mu.draining
	c.mu.Unlock()
	if reason != nil && drained {
		c.die(reason)
	}
}

// signalRoomLocked wakes the callers that wait for room in the write buffer.
func (c *Conn) signalRoomLocked() {
	if c.mu.room != nil {
		close(c.mu.room)
		c.mu.room = nil
	}
}

// freeMemory runs on the reader goroutine at each tick. It frees large write buffers that were hardly used, and all
// buffers of a silent connection.
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
