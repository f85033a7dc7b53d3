package engine

import (
	"context"
	"errors"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// lateError is an ErrOperationTimeout that remembers which call it ended.
type lateError struct {
	handle Handle
	err    error
}

func (e *lateError) Error() string { return e.err.Error() }
func (e *lateError) Unwrap() error { return e.err }

// repetition is a call that also takes the reply to an earlier attempt.
type repetition struct {
	seq   uint64
	until int64 // in beats: when it is forgotten if it does not wait, and is not repeated itself
}

// maxLate is how many calls are remembered that were given up and are repeated.
const maxLate = 1 << 10

// Repeat is Do for an operation of which an attempt has ended with before. If that got no reply in time, on this
// connection, and a reply comes after all that tells of success, it ends this attempt, too.
func (c *Conn) Repeat(
	ctx context.Context, op Operation, creds *esproto.Credentials, before error,
) (sent bool, err error) {
	p, err := c.begin(ctx, op, creds, c.earlier(before))
	if err != nil {
		return false, err
	}
	return p.Wait(ctx)
}

// earlier returns which call of the connection ended with an error that it got no reply in time; 0 for none.
func (c *Conn) earlier(err error) uint64 {
	if err == nil {
		return 0
	}
	if late := (*lateError)(nil); errors.As(err, &late) && late.handle.c == c {
		return late.handle.seq
	}
	return 0
}

// expectLate lets the reply to an earlier call count as that to a later one. c.mu is held.
func (c *Conn) expectLate(earlier, later uint64) {
	if c.late == nil {
		c.late = make(map[uint64]repetition)
	}
	r := repetition{seq: later, until: c.due()}
	for seq, old := range c.late {
		if old.seq == earlier {
			c.late[seq] = r
		}
	}
	if len(c.late) < maxLate {
		c.late[earlier] = r
	}
}

// forgetLate forgets what was given up and is not waited for any more. c.mu is held.
func (c *Conn) forgetLate() {
	for earlier, r := range c.late {
		switch {
		case c.calls.get(r.seq) != nil:
			r.until = c.due()
			c.late[earlier] = r
		case r.until <= c.beats:
			delete(c.late, earlier)
		}
	}
}

// deliverLate hands the reply to an earlier attempt to the call that waits now. A refusal is not taken: what becomes of
// the repetition is another question. It is decoded under the lock, so that the call cannot end meanwhile.
func (c *Conn) deliverLate(frames *esproto.FrameReader, h esproto.Header, seq uint64) error {
	payload, err := frames.Take()
	if err != nil {
		return err
	}
	c.mu.Lock()
	var answered *call
	if e := c.calls.get(seq); e != nil {
		if cl, ok := e.r.(*call); ok && cl.receiveLate(h.Command, payload) {
			answered = cl
			c.calls.remove(e)
		}
	}
	c.unlockAndLeave()
	if answered != nil {
		c.wakeSoon(answered)
		c.answered = true
	}
	return nil
}

// receiveLate is Receive for a reply that is taken only if it tells of success.
func (c *call) receiveLate(cmd esproto.Command, payload []byte) bool {
	if CommonReply(cmd, payload) != nil || c.op.Decode(cmd, payload) != nil {
		return false
	}
	c.sent = true
	return true
}
