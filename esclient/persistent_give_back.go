package esclient

import (
	"context"
	"errors"
	"time"
)

// errRoom is why a subscription is replaced by one with a larger window.
var errRoom = errors.New("esclient: the consumer has room for more events at a time")

var epoch = time.Now().Add(-2)

// sinceEpoch is the time by which events wait. It takes less memory than a time.Time, and is never 0 nor untimed.
func sinceEpoch() time.Duration { return time.Since(epoch) }

// untimed stands for a time that nobody needs to know.
const untimed time.Duration = 1

// now is the time to be noted of an event: untimed where nothing depends on it, since to look at the clock for each
// event costs more than all else that is noted. p.mu is held.
func (p *PersistentSubscription) now() time.Duration {
	if p.pace.needsTimes() {
		return sinceEpoch()
	}
	return untimed
}

// Offer tells whether a consumer with PersistentOptions.Concurrency may begin with an event that Next has returned. If
// ok is false, the consumer must neither begin with the event nor settle it. The subscription has given it back to the
// server, since the event has waited for too long or the connection was lost, and the server delivers it again, here or
// to another subscriber. If ok is true, revoked is closed when the subscription gives events back the next time. A
// consumer that has not begun by then calls Offer again.
func (p *PersistentSubscription) Offer(e *Event) (revoked <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.ledger.flight(e.Original())
	if f == nil || f.e != e {
		return nil, false
	}
	if f.begun == 0 && p.pace.limits() && p.pace.tooLate(sinceEpoch()-f.pushed, int(p.ledger.begun)) {
		p.giveBackLate()
		return nil, false
	}
	return p.revoked, true
}

// Begin tells that a consumer with PersistentOptions.Concurrency begins with an event that was offered, or begins with
// it once more. From then on the subscription does not give the event back, until the consumer settles it.
func (p *PersistentSubscription) Begin(e *Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := e.Original()
	f, now := p.ledger.flight(o), p.now()
	if f == nil && p.ledger.of(o) != unknown {
		return
	}
	if f == nil { // it was given back in this moment
		f = p.ledger.hold(e, nil, now)
	}
	p.ledger.begin(f, e, now)
	p.pace.futile = 0
	p.nudgeOn()
}

// gotOn notes that the consumer settles an event. p.mu is held.
func (p *PersistentSubscription) gotOn(f *flight) {
	if p.pace.timeout == 0 && p.pace.window == p.pace.most {
		return
	}
	now := sinceEpoch()
	if f.begun > 0 {
		p.pace.took(now - f.begun)
	}
	if p.pace.timeout > 0 && now-f.pushed > p.pace.timeout {
		p.tellSlow()
	}
	p.nudgeOn()
}

// timePushes has Next look at the times at which events were pushed, if that has a meaning and nothing else does. p.mu
// is held.
func (p *PersistentSubscription) timePushes() {
	p.timed.Store(p.pace.timeout > 0 && p.pace.workers == 0)
}

// timeOn follows what somebody told of the message timeout, or that it may have been changed. Events without times get
// some if these have a meaning now. p.mu is held.
func (p *PersistentSubscription) timeOn() {
	p.timePushes()
	if p.pace.needsTimes() {
		p.ledger.timeFrom(sinceEpoch())
	}
}

func (p *PersistentSubscription) nudgeOn() {
	select {
	case p.nudge <- struct{}{}:
	default:
	}
}

// cameAgain follows an event that the server delivers again while it is held. On the same session it has timed out.
// p.mu is held.
func (p *PersistentSubscription) cameAgain(s *session, o *Event, now time.Duration) {
	f := p.ledger.flight(o)
	if f.on == s {
		s.freeSlot(-1) // by the server itself
		p.pace.learn(now - f.pushed)
		p.timePushes()
		p.tellSlow()
	}
	f.on, f.pushed = s, now
	p.watchWaiting()
}

// watchWaiting has it noticed when an event waits for the consumer for long. p.mu is held.
func (p *PersistentSubscription) watchWaiting() {
	if p.pace.limits() && !p.watching {
		p.watchFor(p.pace.patience())
	}
}

func (p *PersistentSubscription) watchFor(d time.Duration) {
	p.watching = true
	if p.watch == nil {
		p.watch = time.AfterFunc(d, p.look)
	} else {
		p.watch.Reset(d)
	}
}

// look looks for events that have waited for long, and gives back all that wait if there is one.
func (p *PersistentSubscription) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watching = false
	if p.ended != nil || p.session == nil || !p.pace.limits() {
		return
	}
	now := sinceEpoch()
	oldest := now
	for f := range p.ledger.waiting {
		oldest = min(oldest, f.pushed)
	}
	switch left := p.pace.patience() - (now - oldest); {
	case oldest == now:
	case left > 0:
		p.watchFor(left)
	default:
		p.giveBackLate()
	}
}

// waitedTooLong reports whether an event that was queued has timed out meanwhile. It is then given back with the
// others.
func (p *PersistentSubscription) waitedTooLong(e *Event) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.ledger.flight(e.Original())
	if f == nil || f.e != e || p.session == nil || sinceEpoch()-f.pushed < p.pace.timeout {
		return false
	}
	p.ledger.release(f)
	p.tellSlow()
	p.giveBack(ErrMessageTimeout, []*Event{e})
	return true
}

// giveBackLate gives back what waits, since the consumer does not get round to it in time. p.mu is held.
func (p *PersistentSubscription) giveBackLate() {
	if p.session == nil {
		return
	}
	p.tellSlow()
	rest := p.pace.shrink(int(p.ledger.begun))
	p.unsubscribe(ErrMessageTimeout, nil, rest)
}

// giveBack gives back what waits, with events that are not held. p.mu is held.
func (p *PersistentSubscription) giveBack(reason error, more []*Event) {
	p.unsubscribe(reason, more, 0)
}

// growIfIdle has more events pushed at a time, if the consumer is quick enough and nothing is lost by it. p.mu is held.
func (p *PersistentSubscription) growIfIdle() {
	idle := p.session != nil && p.session.judged && !p.draining && p.ledger.holding == 0 && p.queue.len() == 0
	if idle && p.pace.mayGrow() {
		p.pace.grow()
		p.unsubscribe(errRoom, nil, 0)
	}
}

// comeBack makes the session that follows one that unsubscribe has ended: after a rest, unless the consumer gets on.
func (p *PersistentSubscription) comeBack(s *session, reason error, back []*Event, rest time.Duration) {
	p.report.gaveBack(reason, back)
	confirmation := time.NewTimer(p.c.cfg.OperationTimeout)
	defer confirmation.Stop()
	select {
	case <-s.gone:
		p.heard(s)
	case <-confirmation.C:
		s.close(ErrOperationTimeout)
	case <-p.ctx.Done():
		return
	}
	away := time.NewTimer(rest)
	defer away.Stop()
	select {
	case <-away.C:
	case <-p.nudge:
	case <-p.ctx.Done():
		return
	}
	if !p.endIfDrained() {
		p.rejoin(reason)
	}
}

// pay notes that an event has come again that was settled while the subscription was away. p.mu is held.
func (p *PersistentSubscription) pay() {
	if p.owed == 0 {
		return
	}
	if p.owed--; p.owed == 0 && p.paid != nil {
		close(p.paid)
		p.paid = nil
	}
}

// payBack has a subscription that is away come back before it is stopped, if the server does not know yet what the
// consumer has said meanwhile.
func (p *PersistentSubscription) payBack(ctx context.Context) {
	p.mu.Lock()
	if p.owed == 0 || p.ended != nil {
		p.mu.Unlock()
		return
	}
	if p.paid == nil {
		p.paid = make(chan struct{})
	}
	paid := p.paid
	p.nudgeOn()
	p.mu.Unlock()
	select {
	case <-paid:
	case <-ctx.Done():
	case <-p.closed:
	}
}

// heard notes that the server has answered the end of a session, and so has read the parks before.
func (p *PersistentSubscription) heard(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(s.ended, ErrSubscriptionDropped) {
		for k := range p.ledger.onTheWay(s) {
			k.arrived = true
		}
	}
}

// tellSlow tells once that the consumer is slower than the group allows. p.mu is held.
func (p *PersistentSubscription) tellSlow() {
	if p.slow {
		return
	}
	p.slow = true
	timeout, window := p.pace.timeout, p.opts.InFlight
	p.c.goUnlessClosing(func() { p.report.slow(&SlowConsumerError{MessageTimeout: timeout, InFlight: window}) })
}
