package eventstore

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// delivery is a message on its way to the consumer, and its context. It is one value with all that is known of the
// message, and what can be cancelled is made when somebody asks for it, since most handlers do not.
type delivery struct {
	s      *subscription
	event  *esclient.Event
	msg    *message.Message            // nil until it is made of the event
	delays *backoff.ExponentialBackOff // between its attempts; nil before the first nack

	mu       sync.Mutex
	decision *decision       // of NackWith; nil if it was not called
	real     context.Context // nil until somebody waits
	cancel   context.CancelCauseFunc
	err      error // of the context, once it has ended
	nacks    int32 // how often the event was nacked here before
	told     bool  // the handler could know of the subscription's end when it gave its word
	judged   bool  // what the handler says now no longer counts
}

// decision is what NackWith asked for.
type decision struct {
	action Action
	reason string
}

var _ context.Context = (*delivery)(nil)

// again is the delivery of the event after a nack.
func (d *delivery) again() *delivery {
	nacks := d.nacks
	if nacks < math.MaxInt32 {
		nacks++
	}
	delays := d.delays
	if delays == nil {
		delays = d.s.cfg.nackDelays()
	}
	return &delivery{s: d.s, event: d.event, delays: delays, nacks: nacks}
}

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

// NackWith nacks a received message and decides what becomes of it, instead of SubscriberConfig.MaxNacks and
// NackAction; the reason is kept with parked messages and logged. In ModePersistent it counts, as an ack does, until
// SubscriberConfig.AckGrace after the subscription's end.
//
// It returns whether it counts. It does not, like Nack, if the message was acked, nor if another decision came before,
// nor if the message was not handed out by a Subscriber of this package. It does not, and the log is told, if it comes
// after the grace or after a Nack that was heeded. Where the action needs a consumer group and there is none, the
// message is handed out again, as after Nack; so it is with ActionDefault.
func NackWith(msg *message.Message, action Action, reason string) bool {
	d := deliveryFromCtx(msg.Context())
	if d == nil {
		return false
	}
	counts, late := d.decide(action, reason)
	if msg != d.msg {
		msg.Nack() // a copy, as a middleware may make one
	}
	if late {
		d.s.tooLate(d, "NackWith", errJudged)
	}
	return counts
}

// decide takes the word of NackWith. late is true if there is no other word of the handler that stands.
func (d *delivery) decide(action Action, reason string) (counts, late bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch nacked := d.msg.Nack(); {
	case !nacked:
		return false, false
	case d.decision != nil:
		return d.decision.action == action, false
	case d.judged:
		return false, true
	}
	if action != ActionDefault {
		d.decision = &decision{action, reason}
	}
	return true, false
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
