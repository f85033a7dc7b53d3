package engine

import (
	"encoding/binary"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Request is the frame that starts a call or a subscription.
type Request interface {
	Command() esproto.Command
	// AppendPayload appends the payload to b. It runs under the connection's lock, once each time the request is sent,
	// and must not block.
	AppendPayload(b []byte) []byte
}

// Receiver takes the frames that carry one correlation id. The reader goroutine calls its methods. Fail may run on any
// goroutine. No method may block. Keeps may run under the connection's lock, so it must not take a lock under which
// the [Conn] is called; the other methods run without the connection's lock.
type Receiver interface {
	// Keeps reports whether Receive will keep the payload of cmd, which has n bytes. If so, the payload gets memory of
	// its own. Keeps may run under the connection's lock.
	Keeps(cmd esproto.Command, n int) bool
	// Receive takes a frame. It returns whether more frames may follow on the same correlation id. It need not wake
	// any goroutine: Wake does.
	Receive(cmd esproto.Command, payload []byte) (more bool)
	// TooLarge replaces Receive for a frame above the limit, which is skipped. err is an *esproto.FrameTooLargeError.
	TooLarge(cmd esproto.Command, err error) (more bool)
	// Wake wakes the goroutines that wait for the Receiver. It runs once for all frames that came together, after
	// Receive or TooLarge has taken each of them.
	Wake()
	// Fail ends the Receiver: no frame will follow. sent is false if the peer cannot have the whole request.
	Fail(err error, sent bool)
}

// Handle identifies a [Receiver] on a connection. The zero Handle identifies none.
type Handle struct {
	c       *Conn
	seq     uint64
	watched bool // the context never ends, or a contextWatcher fails the call when it ends
}

// Conn returns the connection of the Receiver; nil for the zero Handle.
func (h Handle) Conn() *Conn { return h.c }

// ID returns the correlation id.
func (h Handle) ID() esproto.CorrelationID { return h.c.correlationID(h.seq) }

func (c *Conn) correlationID(seq uint64) (id esproto.CorrelationID) {
	copy(id[:], c.prefix[:])
	binary.LittleEndian.PutUint64(id[8:], seq)
	return id
}

// Remove removes the Receiver from the connection, so that no method of it is called again, not even Fail. It returns
// false if the Receiver was removed before: then its last frame, or Fail, has arrived or is about to.
func (h Handle) Remove() bool {
	return h.c != nil && h.c.remove(h.seq)
}
