package estest

import (
	"container/heap"
	"sync"
	"time"
)

// clock tells the time and calls back: the system's, or one that a test advances.
type clock interface {
	Now() time.Time
	// afterFunc calls f once, when d has passed. cancel prevents that, and reports whether it was in time to.
	afterFunc(d time.Duration, f func()) (cancel func() bool)
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) afterFunc(d time.Duration, f func()) (cancel func() bool) {
	return time.AfterFunc(d, f).Stop
}

// Clock is a clock that moves only by [Clock.Advance]. A server with [WithClock] uses it for message timeouts (checked
// once a second), checkpoints, $maxAge, heartbeats, the delays of Intercept, and the times of events. Several servers
// may share a clock. Its methods are safe for concurrent use.
type Clock struct {
	turn sync.Mutex // held while it is advanced

	mu     sync.Mutex
	now    time.Time
	timers timerHeap
	made   int // timers ever made: of those for the same moment the older one comes first
}

// NewClock returns a clock that starts at the given time. A zero time means the time of the system.
func NewClock(start time.Time) *Clock {
	if start.IsZero() {
		start = time.Now()
	}
	return &Clock{now: start}
}

// WithClock makes the server use c instead of the time of the system, so that tests of timeouts do not wait. Clients
// have clocks of their own, and an idle client cannot answer while c advances. So the server sends no heartbeats unless
// [WithHeartbeat] is given, too.
func WithClock(c *Clock) Option { return func(cfg *config) { cfg.clock = c } }

// Now returns the time of the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward. Everything that becomes due happens before Advance returns, in order, each at its
// own time. For example, after Advance(31 * time.Second) a timeout of 30 s has passed, and the server has sent the
// messages that follow from it. A duration of zero or less changes nothing.
func (c *Clock) Advance(d time.Duration) {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.mu.Lock()
	end := c.now.Add(max(d, 0))
	for len(c.timers) > 0 && !c.timers[0].at.After(end) {
		t := heap.Pop(&c.timers).(*timer)
		c.now = t.at
		c.mu.Unlock()
		t.f()
		c.mu.Lock()
	}
	c.now = end
	c.mu.Unlock()
}

func (c *Clock) afterFunc(d time.Duration, f func()) (cancel func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &timer{at: c.now.Add(max(d, 0)), order: c.made, f: f}
	c.made++
	heap.Push(&c.timers, t)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.index < 0 {
			return false
		}
		heap.Remove(&c.timers, t.index)
		return true
	}
}

// timer is a call that a Clock is to make.
type timer struct {
	at    time.Time
	order int
	f     func()
	index int // in the heap; -1 once it has left that
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	return h[i].at.Before(h[j].at) || h[i].at.Equal(h[j].at) && h[i].order < h[j].order
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

// alarms are the calls that a server has asked its clock for.
type alarms struct {
	clock clock

	mu      sync.Mutex
	pending map[*alarm]struct{}
	stopped bool
	running sync.WaitGroup
}

// alarm is one of them.
type alarm struct {
	set    *alarms
	cancel func() bool
}

func newAlarms(c clock) *alarms { return &alarms{clock: c, pending: make(map[*alarm]struct{})} }

// after calls f once, when d has passed, unless that is cancelled or the server ends before.
func (a *alarms) after(d time.Duration, f func()) *alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	al := &alarm{set: a}
	if a.stopped {
		return al
	}
	a.pending[al] = struct{}{}
	al.cancel = a.clock.afterFunc(d, func() {
		if a.begin(al) {
			defer a.running.Done()
			f()
		}
	})
	return al
}

// begin takes an alarm off the list; ok is false if it was called off meanwhile.
func (a *alarms) begin(al *alarm) (ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok = a.pending[al]; ok {
		delete(a.pending, al)
		a.running.Add(1)
	}
	return ok
}

// callOff prevents an alarm that has not begun.
func (al *alarm) callOff() {
	al.set.mu.Lock()
	defer al.set.mu.Unlock()
	if _, ok := al.set.pending[al]; ok {
		delete(al.set.pending, al)
		al.cancel()
	}
}

// stop calls off everything. None of the calls runs any more when it returns.
func (a *alarms) stop() {
	a.mu.Lock()
	a.stopped = true
	for al := range a.pending {
		al.cancel()
	}
	clear(a.pending)
	a.mu.Unlock()
	a.running.Wait()
}
