package eventstore

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// LiveFromCtx reports whether a message is new: it arrived after its subscription had caught up. Messages that the
// subscription reads back, at its start and after a lost connection, are not live. In a consumer group no message is
// live, because the server does not report when a group has caught up.
func LiveFromCtx(ctx context.Context) bool {
	d := deliveryFromCtx(ctx)
	return d != nil && d.live
}

// liveSignal calls OnCaughtUp when all messages are settled that a subscription received before it caught up. It is a
// hook of the subscription.
type liveSignal struct {
	call func()          // OnCaughtUp for the topic; nil without
	done <-chan struct{} // closed when the subscription has ended

	live atomic.Bool

	mu      sync.Mutex
	round   uint32 // counts how often the subscription has caught up
	before  int    // unsettled messages from before it last caught up
	since   int    // unsettled messages since then
	due     bool   // OnCaughtUp follows when before is 0
	calling bool   // a goroutine calls it
	again   bool   // ... and will call it once more
}

func newLiveSignal(ctx context.Context, onCaughtUp func(topic string), topic string) *liveSignal {
	l := &liveSignal{done: ctx.Done()}
	if onCaughtUp != nil {
		l.call = func() { onCaughtUp(topic) }
	}
	return l
}

// OnCaughtUp implements [esclient.CaughtUpHook].
func (l *liveSignal) OnCaughtUp(esclient.SubscriptionInfo) {
	l.live.Store(true)
	if l.call == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.round++
	l.before, l.since = l.before+l.since, 0
	l.due = true
	l.callIfDueLocked()
}

// OnFellBehind implements [esclient.FellBehindHook].
func (l *liveSignal) OnFellBehind(esclient.SubscriptionInfo) {
	l.live.Store(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due = false
}

// begin notes that the message of d will be handed out.
func (l *liveSignal) begin(d *delivery) {
	if d.live = l.live.Load(); l.call == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d.round = l.round
	l.since++
}

// settle notes that the message of d is settled.
func (l *liveSignal) settle(d *delivery) {
	if l.call == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.round == l.round {
		l.since--
		return
	}
	l.before--
	l.callIfDueLocked()
}

// callIfDueLocked starts a goroutine for OnCaughtUp, so that the subscription does not wait for it. There is one at
// most: while it runs, more calls become one.
func (l *liveSignal) callIfDueLocked() {
	if !l.due || l.before > 0 {
		return
	}
	l.due = false
	if l.calling {
		l.again = true
		return
	}
	l.calling = true
	go l.run()
}

func (l *liveSignal) run() {
	for !isClosed(l.done) {
		l.call()
		l.mu.Lock()
		again := l.again
		l.again, l.calling = false, again
		l.mu.Unlock()
		if !again {
			return
		}
	}
}
