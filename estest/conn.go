package estest

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// Limits of a connection.
const (
	readBuffer     = 64 << 10
	resumeReading  = 512 << 10 // the reader waits while more is unsent, so that replies make no slow consumer
	keptBuffer     = 64 << 10  // a larger buffer is kept only while it is used
	writeAtOnce    = 64 << 10  // so much is written even while the reader may add to it
	lingerOnReject = 50 * time.Millisecond
)

// conn is the connection of one client.
type conn struct {
	caller
	srv    *Server
	nc     net.Conn
	socket net.Conn // below TLS, or nc itself

	// core.mu guards these.
	user    *eventlog.User       // of frames without credentials; nil without a user
	refused *esproto.Credentials // of an Authenticate that failed or is not answered yet; else nil
	lookups int                  // requests that wait for rights

	pending atomic.Pointer[pendingLogin] // changed with core.mu held

	writing sync.Mutex // guards writes to nc; locked before mu

	mu      sync.Mutex
	mute    bool // the server has no replies for the version of IdentifyClient
	out     []byte
	spare   []byte
	begun   int           // start of the open frame in out
	busy    bool          // the reader serves frames that came together; their replies are written together
	closing bool          // the connection closes when out is written
	room    chan struct{} // closed when out has shrunk; nil while no goroutine waits for it
	kick    chan struct{}
	ended   chan struct{}
	endOnce sync.Once

	silenced   bool // nothing is sent under silencedID
	silencedID esproto.CorrelationID

	over       bool   // no further alarms are to be set
	beatAlarm  *alarm // the next look at the pulse
	judgeAlarm *alarm // the end of the wait for a sign of life

	pulse pulse
}

// frame is a request.
type frame struct {
	cmd     esproto.Command
	id      esproto.CorrelationID
	user    *eventlog.User       // for whom the server acts
	creds   *esproto.Credentials // of the frame itself; nil without any
	denied  bool                 // the user counts as one without rights
	silent  bool                 // nothing answers it, whenever it is served
	payload []byte
}

var (
	errRejected = errors.New("the client broke the protocol")
	errCut      = errors.New("the connection was to be cut")
)

func newConn(s *Server, socket, nc net.Conn) *conn {
	c := &conn{
		srv: s, socket: socket, nc: nc, kick: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	c.caller = caller{
		core: s.core, to: c, scratch: new(scratch), id: uuid.NewString(), addr: nc.RemoteAddr().String(),
	}
	return c
}

// run serves the connection until it ends.
func (c *conn) run() {
	var wg sync.WaitGroup
	wg.Go(c.write)
	if c.srv.beats() {
		c.callAfter(&c.beatAlarm, c.srv.cfg.heartbeatInterval, c.beat)
	}
	err := c.read()
	if errors.Is(err, errRejected) {
		c.finishWriting()
	}
	c.end()
	c.stopBeating()
	wg.Wait()
	c.core.mu.Lock()
	delete(c.core.conns, c)
	c.forget()
	c.core.mu.Unlock()
	c.core.logger.Debug("connection closed", "peer", c.addr, "error", err)
}

// forget ends the subscriptions of the connection. core.mu is held.
func (c *conn) forget() {
	c.core.volatile.lost(&c.caller)
	c.core.groups.Lost(c.caller.id)
}

// end closes the connection. Any goroutine may call it, any number of times.
func (c *conn) end() {
	c.endOnce.Do(func() {
		close(c.ended)
		c.socket.Close() // without a farewell, which TLS would wait to send
	})
}

func (c *conn) read() error {
	frames := esproto.NewFrameReader(&watched{c: c}, readBuffer, esproto.MaxFrameSize)
	for {
		h, _, err := frames.Next()
		if errors.Is(err, esproto.ErrFrame) {
			return c.reject(esproto.CorrelationID{}, "Invalid TCP frame received: "+err.Error())
		}
		if err != nil {
			return err
		}
		payload, err := frames.Borrow()
		if err != nil {
			return err
		}
		c.srv.gate.wait(c.ended)
		if err := c.handle(h, payload); err != nil {
			return err
		}
		c.waitForRoom()
	}
}

// reject answers with a BadRequest and has the connection closed.
func (c *conn) reject(id esproto.CorrelationID, text string) error {
	c.badRequest(id, text)
	return errRejected
}

// open begins a frame, and keeps c.mu locked until seal ends it. It cuts off a client that does not read when a pushed
// frame is to join too many unsent bytes.
func (c *conn) open(cmd esproto.Command, id esproto.CorrelationID, pushed bool) (b []byte, ok bool) {
	c.mu.Lock()
	if pushed && !c.closing && len(c.out) > c.srv.cfg.maxPending {
		c.mu.Unlock()
		c.cutOffSlow()
		return nil, false
	}
	if c.closing || c.mute && needsVersion(cmd) || c.silenced && id == c.silencedID {
		c.mu.Unlock()
		return nil, false
	}
	c.srv.traffic.framesOut[cmd].Add(1)
	c.begun = len(c.out)
	return esproto.AppendHeader(c.out, cmd, id, nil), true
}

func (c *conn) seal(b []byte) {
	defer c.mu.Unlock()
	start := c.begun
	c.out = b
	esproto.EndFrame(b, start)
	if start == 0 && !c.busy || start < writeAtOnce && len(b) >= writeAtOnce {
		c.wake()
	}
}

func (c *conn) cutOffSlow() {
	c.core.logger.Warn("slow consumer cut off", "peer", c.addr)
	c.badRequest(esproto.CorrelationID{}, "Connection pending send bytes is too big.")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
}

// begin says that the reader has bytes.
func (c *conn) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = true
}

// rest says that the reader is going to wait for bytes. It writes a few replies itself, as that is faster than to wake
// the writer, and leaves many to the writer.
func (c *conn) rest() {
	c.mu.Lock()
	c.busy = false
	n := len(c.out)
	c.mu.Unlock()
	switch {
	case n == 0:
	case n < writeAtOnce && c.writing.TryLock():
		c.writeOut()
		c.writing.Unlock()
	default:
		c.wake()
	}
}

func (c *conn) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// waitForRoom holds the reader back while the client does not read its replies.
func (c *conn) waitForRoom() {
	c.mu.Lock()
	if len(c.out) <= resumeReading {
		c.mu.Unlock()
		return
	}
	if c.room == nil {
		c.room = make(chan struct{})
	}
	room := c.room
	c.mu.Unlock()
	select {
	case <-room:
	case <-c.ended:
	}
}

func (c *conn) write() {
	for {
		select {
		case <-c.kick:
		case <-c.ended:
			return
		}
		runtime.Gosched() // so that more replies share the write
		c.writing.Lock()
		for c.writeOut() {
		}
		c.writing.Unlock()
	}
}

// writeOut writes the unsent frames. It returns false if there were none, or if the connection has ended. c.writing is
// held.
func (c *conn) writeOut() bool {
	c.srv.gate.wait(c.ended)
	buf, closing := c.take()
	if len(buf) == 0 {
		if closing {
			c.end()
		}
		return false
	}
	n, cut := c.srv.cutSent.pass(len(buf))
	c.pulse.sent(n) // before the write, so that a client with an answer finds it counted
	c.srv.traffic.bytesOut.Add(int64(n))
	if _, err := c.nc.Write(buf[:n]); err != nil || cut {
		c.end()
		return false
	}
	c.giveBack(buf)
	return true
}

func (c *conn) take() (buf []byte, closing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) > 0 { // an empty buffer stays: the next frames use its memory
		buf = c.out
		c.out, c.spare = c.spare, nil
	}
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
	return buf, c.closing
}

func (c *conn) giveBack(buf []byte) {
	if cap(buf) > keptBuffer && len(buf) < cap(buf)/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spare = buf[:0]
}

// finishWriting waits a moment for the frames before a rejection to be written.
func (c *conn) finishWriting() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.wake()
	select {
	case <-c.ended:
	case <-time.After(lingerOnReject):
	}
}
