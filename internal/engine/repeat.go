package engine

import (
	"context"
	"errors"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// timedOutError is an ErrOperationTimeout that remembers which call it ended.
type timedOutError struct {
	handle Handle
	err    error
}

func (e *timedOutError) Error() string { return e.err.Error() }
func (e *timedOutError) Unwrap() error { return e.err }

// repetition is a call that also takes the reply to an earlier attempt.
type repetition struct {
	seq   uint64
	until int64 // in beats: when it is forgotten if it does not wait, and is not repeated itself
}

// maxLate is how many calls are remembered that were given up and are repeated.
const maxRepetitions = 1 << 10

// Repeat is Do for an operation of which an attempt has ended with before. If that got no reply in time, on this
// connection, and a reply comes after all that tells of success, it ends this attempt, too.
func (c *Conn) Repeat(
	ctx context.Context, op Operation, creds *esproto.Credentials, before error,
) (sent bool, err error) {
	p, err := c.begin(ctx, op, creds, c.timedOutSeq(before))
	if err != nil {
		return false, err
	}
	return p.Wait(ctx)
}

// timedOutSeq returns which call of the connection ended with an error that it got no reply in time; 0 for none.
func (c *Conn) timedOutSeq(err error) uint64 {
	if err == nil {
		return 0
	}
	if late := (*timedOutError)(nil); errors.As(err, &late) && late.handle.c == c {
		return late.handle.seq
	}
	return 0
}

// addRepetitionLocked lets the reply to an earlier call count as that to a later one.
func (c *Conn) addRepetitionLocked(earlier, later uint64) {
	if c.mu.repetitions == nil {
		c.mu.repetitions = make(map[uint64]repetition)
	}
	r := repetition{seq: later, until: c.deadlineLocked()}
	for seq, old := range c.mu.repetitions {
		if old.seq == earlier {
			c.mu.repetitions[seq] = r
		}
	}
	if len(c.mu.repetitions) < maxRepetitions {
		c.mu.repetitions[earlier] = r
	}
}

// expireRepetitionsLocked forgets what was given up and is not waited for any more.
func (c *Conn) expireRepetitionsLocked() {
	for earlier, r := range c.mu.repetitions {
		switch {
		case c.mu.receivers.get(r.seq) != nil:
			r.until = c.deadlineLocked()
			c.mu.repetitions[earlier] = r
		case r.until <= c.mu.ticks:
			delete(c.mu.repetitions, earlier)
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
	if e := c.mu.receivers.get(seq); e != nil {
		if cl, ok := e.r.(*call); ok && cl.receiveLate(h.Command, payload) {
			answered = cl
			c.mu.receivers.remove(e)
		}
	}
	c.unlockAndFinishDrain()
	if answered != nil {
		c.wakeLater(answered)
		c.reader.wakesCalls = true
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
