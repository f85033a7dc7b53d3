package eventstore

import (
	"context"
	"time"
)

// A delivery is the context of its message.
var _ context.Context = (*delivery)(nil)

func (d *delivery) Deadline() (time.Time, bool) { return d.s.ctx.Deadline() }

func (d *delivery) Done() <-chan struct{} {
	d.noticeEnd()
	return d.context(true).Done()
}

func (d *delivery) Err() error {
	d.noticeEnd()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.errLocked()
}

// contextEnd tells how the context of a message has ended.
type contextEnd uint8

const (
	notEnded contextEnd = iota
	endedByOutcome
	endedBySubscription
)

// errLocked returns the error of the context; nil until it has ended. The caller holds d.mu.
func (d *delivery) errLocked() error {
	switch d.end {
	case endedByOutcome:
		return context.Canceled
	case endedBySubscription:
		return d.s.ctx.Err()
	default:
		return nil
	}
}

func (d *delivery) Value(key any) any {
	if key == (deliveryKey{}) {
		return d
	}
	return d.context(false).Value(key)
}

// context returns the context that d delegates to. It is not a child of the subscription's context: the handler must
// not see the end of the subscription before the subscription has recorded the handler's answer. Until a handler waits
// or the context ends, the values of the subscription's context are enough.
func (d *delivery) context(wait bool) context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !wait && d.end == notEnded && d.onDemand == nil {
		return d.s.values
	}
	o := d.demandLocked()
	if o.cancelable == nil && (wait || d.end != notEnded) {
		o.cancelable, o.cancel = context.WithCancelCause(d.s.values)
		if d.end != notEnded {
			o.cancel(context.Cause(d.s.ctx))
		}
	}
	if o.cancelable == nil {
		return d.s.values
	}
	return o.cancelable
}

// noticeEnd ends the context if the subscription has ended, before the handler can see that.
func (d *delivery) noticeEnd() {
	if isClosed(d.s.done) {
		d.endWithSubscription(d.msg != nil && isClosed(d.msg.Nacked()))
	}
}

// endWithSubscription ends the context because the subscription ends. An earlier plain nack still counts.
func (d *delivery) endWithSubscription(nackedBefore bool) {
	d.mu.Lock()
	d.sawEnd = d.sawEnd || d.end == notEnded && !nackedBefore
	cancel := d.endLocked(endedBySubscription)
	d.mu.Unlock()
	if cancel != nil {
		cancel(context.Cause(d.s.ctx))
	}
}

// endLocked records the end of the context. Only the first call has an effect. The caller, which holds d.mu, must call
// cancel after it has released d.mu, unless cancel is nil.
func (d *delivery) endLocked(how contextEnd) (cancel context.CancelCauseFunc) {
	if d.end != notEnded {
		return nil
	}
	d.end = how
	if d.onDemand == nil {
		return nil
	}
	return d.onDemand.cancel
}
