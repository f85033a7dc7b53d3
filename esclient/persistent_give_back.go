package esclient

import (
	"context"
	"errors"
	"time"
)

// The reasons for a new session with another window.
var (
	errRoom  = errors.New("esclient: the consumer has room for more events at a time")
	errLarge = errors.New("esclient: the events in flight take more than InFlightBytes")
)

var epoch = time.Now().Add(-2)

// sinceEpoch is the clock of waiting events. It takes less memory than a time.Time, and is never 0 nor untimed.
func sinceEpoch() time.Duration { return time.Since(epoch) }

// untimed stands for a time that is not measured.
const untimed time.Duration = 1

// now returns the time for a new event. It is untimed if nothing depends on it, since reading the clock for each event
// costs more than all other bookkeeping. p.mu is held.
func (p *PersistentSubscription) now() time.Duration {
	if p.pushLimit.needsTimes() {
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
	if f.begun == 0 && p.pushLimit.limits() && p.pushLimit.tooLate(sinceEpoch()-f.pushed, int(p.ledger.begun)) {
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
	if f == nil { // it was given back at this moment
		f = p.ledger.hold(e, nil, now)
	}
	p.ledger.begin(f, e, now)
	p.pushLimit.futile = 0
	p.signalProgress()
}

// gotOn notes that the consumer settles an event. p.mu is held.
func (p *PersistentSubscription) gotOn(f *flight) {
	if p.pushLimit.timeout == 0 && p.pushLimit.window == p.pushLimit.most {
		return
	}
	now := sinceEpoch()
	if f.begun > 0 {
		p.pushLimit.took(now - f.begun)
	} else {
		p.pushLimit.settled++
	}
	if p.pushLimit.timeout > 0 && now-f.pushed > p.pushLimit.timeout {
		p.tellSlow()
	}
	p.signalProgress()
}

// timePushes makes Next check how long events have waited, if there is a timeout and nothing else checks it. p.mu is
// held.
func (p *PersistentSubscription) timePushes() {
	p.timed.Store(p.pushLimit.timeout > 0 && p.pushLimit.workers == 0)
}

// timeOn follows a change of the message timeout, or a possible one. Events without times get one if times are needed
// now. p.mu is held.
func (p *PersistentSubscription) timeOn() {
	p.timePushes()
	if p.pushLimit.needsTimes() {
		p.ledger.timeFrom(sinceEpoch())
	}
}

func (p *PersistentSubscription) signalProgress() {
	select {
	case p.progress <- struct{}{}:
	default:
	}
}

// cameAgain follows an event that the server delivers again while it is held. On the same session it has timed out.
// p.mu is held.
func (p *PersistentSubscription) cameAgain(s *session, o *Event, now time.Duration) {
	f := p.ledger.flight(o)
	if f.on == s {
		s.freeSlot(-1) // by the server itself
		p.pushLimit.learn(now - f.pushed)
		p.timePushes()
		p.tellSlow()
	}
	f.on, f.pushed = s, now
	p.watchWaiting()
}

// watchWaiting starts the timer for events that wait too long for the consumer. p.mu is held.
func (p *PersistentSubscription) watchWaiting() {
	if p.pushLimit.limits() && !p.watching {
		p.watchFor(p.pushLimit.patience())
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

// look gives back all waiting events if one of them has waited too long.
func (p *PersistentSubscription) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watching = false
	if p.ended != nil || p.session == nil || !p.pushLimit.limits() {
		return
	}
	now := sinceEpoch()
	oldest := now
	for f := range p.ledger.waiting {
		oldest = min(oldest, f.pushed)
	}
	switch left := p.pushLimit.patience() - (now - oldest); {
	case oldest == now:
	case left > 0:
		p.watchFor(left)
	default:
		p.giveBackLate()
	}
}

// waitedTooLong reports whether a queued event has timed out. If so, it gives all waiting events back.
func (p *PersistentSubscription) waitedTooLong(e *Event) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.ledger.flight(e.Original())
	if f == nil || f.e != e || p.session == nil || sinceEpoch()-f.pushed < p.pushLimit.timeout {
		return false
	}
	p.ledger.release(f)
	p.tellSlow()
	p.giveBack(ErrMessageTimeout, []*Event{e})
	return true
}

// giveBackLate gives back the waiting events, since the consumer does not begin with them in time. p.mu is held.
func (p *PersistentSubscription) giveBackLate() {
	if p.session == nil {
		return
	}
	p.tellSlow()
	rest := p.pushLimit.shrink(int(p.ledger.begun))
	p.unsubscribe(ErrMessageTimeout, nil, rest)
}

// giveBack gives back the waiting events, and more events that are not held. p.mu is held.
func (p *PersistentSubscription) giveBack(reason error, more []*Event) {
	p.unsubscribe(reason, more, 0)
}

// giveBackLarge gives back the waiting events, and more events that are not held, because their bytes do not fit. p.mu
// is held.
func (p *PersistentSubscription) giveBackLarge(more []*Event) {
	p.pushLimit.narrow(int(p.ledger.begun))
	p.timeOn()
	p.giveBack(errLarge, more)
}

// growIfIdle makes the server push more events at a time, if the consumer is fast enough and no event has to be given
// back for it. It waits for the proof of parks, which a session that has ended may not get. p.mu is held.
func (p *PersistentSubscription) growIfIdle() {
	idle := p.session != nil && p.session.judged && !p.draining && p.ledger.holding == 0 && p.queue.len() == 0
	if idle && p.pushLimit.mayGrow() && len(p.ledger.onTheWay(p.session)) == 0 {
		p.pushLimit.grow()
		p.unsubscribe(errRoom, nil, 0)
	}
}

// comeBack makes the session after one that unsubscribe has ended. It rests first, unless the consumer settles an
// event.
func (p *PersistentSubscription) comeBack(s *session, reason error, back []*Event, rest time.Duration) {
	p.report.gaveBack(reason, back)
	confirmation := time.NewTimer(p.c.cfg.OperationTimeout)
	defer confirmation.Stop()
	select {
	case <-s.gone:
	case <-confirmation.C:
		s.close(ErrOperationTimeout)
	case <-p.ctx.Done():
		return
	}
	away := time.NewTimer(rest)
	defer away.Stop()
	select {
	case <-away.C:
	case <-p.progress:
	case <-p.ctx.Done():
		return
	}
	if !p.endIfDrained() {
		p.rejoin(reason)
	}
}

// repeatedOne notes that an event has come again that was settled while the subscription was away. p.mu is held.
func (p *PersistentSubscription) repeatedOne() {
	if p.unrepeated == 0 {
		return
	}
	if p.unrepeated--; p.unrepeated == 0 && p.allRepeated != nil {
		close(p.allRepeated)
		p.allRepeated = nil
	}
}

// repeatBeforeStop resumes a subscription that is away before it stops, if the server does not know yet how the
// consumer has settled events meanwhile.
func (p *PersistentSubscription) repeatBeforeStop(ctx context.Context) {
	p.mu.Lock()
	if p.unrepeated == 0 || p.ended != nil {
		p.mu.Unlock()
		return
	}
	if p.allRepeated == nil {
		p.allRepeated = make(chan struct{})
	}
	allRepeated := p.allRepeated
	p.signalProgress()
	p.mu.Unlock()
	select {
	case <-allRepeated:
	case <-ctx.Done():
	case <-p.closed:
	}
}

// tellSlow reports once that the consumer is slower than the group allows. p.mu is held.
func (p *PersistentSubscription) tellSlow() {
	if p.slow {
		return
	}
	p.slow = true
	timeout, window := p.pushLimit.timeout, p.opts.InFlight
	p.c.goUnlessClosing(func() { p.report.slow(&SlowConsumerError{MessageTimeout: timeout, InFlight: window}) })
}
