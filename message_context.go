package eventstore

import (
	"context"
	"time"
)

var _ context.Context = (*delivery)(nil)

// end ends the context, with the subscription or because the message was judged. The first call counts.
func (d *delivery) end(err error) {
	d.mu.Lock()
	waits := d.endLocked(err)
	d.mu.Unlock()
	if waits {
		d.cancel(context.Cause(d.s.ctx))
	}
}

// endLocked does what end does but for telling those who wait, if there are any: cancel does that. d.mu is held.
func (d *delivery) endLocked(err error) (waits bool) {
	if d.err != nil {
		return false
	}
	d.err = err
	return d.cancel != nil
}

// endWithSubscription lets the handler know that the subscription ends. A plain nack that was there before is the
// handler's word on the message all the same.
func (d *delivery) endWithSubscription(nackedBefore bool) {
	d.mu.Lock()
	d.told = d.told || d.err == nil && !nackedBefore
	d.mu.Unlock()
	d.end(d.s.ctx.Err())
}

// look notices the end of the subscription before the handler can.
func (d *delivery) look() {
	if isClosed(d.s.done) {
		d.endWithSubscription(d.msg != nil && isClosed(d.msg.Nacked()))
	}
}

func (d *delivery) Deadline() (time.Time, bool) { return d.s.ctx.Deadline() }

func (d *delivery) Done() <-chan struct{} {
	d.look()
	return d.context(true).Done()
}

func (d *delivery) Err() error {
	d.look()
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

// context returns the context that stands for this one. That has only the values of the subscription's as long as
// nobody needs more: the handler must not know of its end before the subscription has noted what was said until then.
func (d *delivery) context(wait bool) context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.real == nil && (wait || d.err != nil) {
		d.real, d.cancel = context.WithCancelCause(d.s.values)
		if d.err != nil {
			d.cancel(context.Cause(d.s.ctx))
		}
	}
	if d.real == nil {
		return d.s.values
	}
	return d.real
}
