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
	return d.err
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
	if d.cancelable == nil && (wait || d.err != nil) {
		d.cancelable, d.cancel = context.WithCancelCause(d.s.values)
		if d.err != nil {
			d.cancel(context.Cause(d.s.ctx))
		}
	}
	if d.cancelable == nil {
		return d.s.values
	}
	return d.cancelable
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
	d.sawEnd = d.sawEnd || d.err == nil && !nackedBefore
	d.mu.Unlock()
	d.end(d.s.ctx.Err())
}

// end ends the context. Only the first call has an effect.
func (d *delivery) end(err error) {
	d.mu.Lock()
	cancel := d.endLocked(err)
	d.mu.Unlock()
	if cancel {
		d.cancel(context.Cause(d.s.ctx))
	}
}

// endLocked records the end of the context. If it returns true, the caller must call d.cancel after it has released
// d.mu, which it holds.
func (d *delivery) endLocked(err error) (cancel bool) {
	if d.err != nil {
		return false
	}
	d.err = err
	return d.cancel != nil
}
