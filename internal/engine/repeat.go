package engine

import (
	"context"
	"errors"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// TimedOutError is an [ErrOperationTimeout] with the handle of the call that timed out. Its text is that of its cause.
type TimedOutError struct {
	handle Handle
	err    error
}

func (e *TimedOutError) Error() string { return e.err.Error() }
func (e *TimedOutError) Unwrap() error { return e.err }

// repetition is a call that also takes the reply to an earlier attempt.
type repetition struct {
	seq   uint64
	until int64 // the tick at which it expires, unless the call still waits or is repeated in turn
}

// maxRepetitions bounds the earlier attempts whose late replies are recognised.
const maxRepetitions = 1 << 10

// Repeat is [Conn.Do] for another attempt of an operation. earlier is the error of the attempt before. If that attempt
// timed out on this connection, and its reply comes late and reports success, the reply also ends this attempt.
func (c *Conn) Repeat(
	ctx context.Context, op Operation, creds *esproto.Credentials, earlier error,
) (sent bool, err error) {
	p, err := c.begin(ctx, op, creds, c.timedOutSeq(earlier))
	if err != nil {
		return false, err
	}
	return p.Wait(ctx)
}

// timedOutSeq returns the number of the call that ended with err; 0 if it did not time out, or not on this connection.
func (c *Conn) timedOutSeq(err error) uint64 {
	if err == nil {
		return 0
	}
	if late := (*TimedOutError)(nil); errors.As(err, &late) && late.handle.c == c {
		return late.handle.seq
	}
	return 0
}

// addRepetitionLocked makes later take the replies to earlier, and to all attempts that earlier took replies to.
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

// expireRepetitionsLocked runs at each tick. It removes the repetitions that have expired.
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

// deliverLate passes the reply to an earlier attempt to its repetition, the call with the number seq. The repetition
// only takes success: after a refusal of the earlier attempt it may itself still succeed. The call decodes the reply
// under the lock, so that it cannot end meanwhile.
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

// receiveLate is [Receiver.Receive] for the reply to an earlier attempt. It returns whether the call took the reply.
func (c *call) receiveLate(cmd esproto.Command, payload []byte) bool {
	if DecodeReply(c.op, cmd, payload) != nil {
		return false
	}
	c.sent = true
	return true
}
