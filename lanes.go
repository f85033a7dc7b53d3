package eventstore

import (
	"sync"
	"time"
)

// lanes hands out messages of different keys in parallel and messages of one key in order. Each key with messages has a
// lane. A worker takes a lane and hands out its first message. A nacked message stays the first of its lane. The lane
// then waits for a timer and occupies no worker.
type lanes struct {
	s     *subscription
	ready chan *lane    // lanes without a worker whose first message is due
	slots chan struct{} // one token for each message in a lane: InFlight bounds them

	mu      sync.Mutex
	byKey   map[string]*lane
	stopped bool // no timer makes a lane ready any more
}

// lane holds the messages of one key. byKey has it while it holds any.
type lane struct {
	key   string
	first *delivery   // changed only where no worker has the lane, or by the worker that has it
	rest  []*delivery // behind the first one; guarded by lanes.mu
	timer *time.Timer // makes the lane ready after a nack; nil before the first nack
}

func (s *subscription) runLanes() {
	l := &lanes{
		s: s, byKey: make(map[string]*lane),
		// There are never more lanes than messages, so a send to ready does not block.
		ready: make(chan *lane, s.cfg.InFlight), slots: make(chan struct{}, s.cfg.InFlight),
	}
	var workers sync.WaitGroup
	for range s.cfg.Concurrency {
		workers.Go(l.runWorker)
	}
	l.distribute()
	s.cancel(nil) // ends the workers
	workers.Wait()
	l.stop()
}

// distribute puts events into lanes. It waits while the lanes hold InFlight messages.
func (l *lanes) distribute() {
	for !l.s.ended() {
		e, err := l.s.src.next(l.s.ctx)
		if err != nil {
			l.s.fail(err)
			return
		}
		d := l.s.take(e)
		if d == nil {
			continue
		}
		select {
		case l.slots <- struct{}{}:
		case <-l.s.done:
			return
		}
		if l.s.unmarshal(d) {
			l.put(l.s.cfg.Key(d.msg), d)
		} else {
			<-l.slots
		}
	}
}

func (l *lanes) put(key string, d *delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.byKey[key]; known != nil {
		known.rest = append(known.rest, d)
		return
	}
	fresh := &lane{key: key, first: d}
	l.byKey[key] = fresh
	l.ready <- fresh
}

func (l *lanes) runWorker() {
	for {
		select {
		case lane := <-l.ready:
			if redelivery := l.s.deliver(lane.first); redelivery != nil {
				l.delay(lane, redelivery)
			} else {
				l.removeFirst(lane)
				<-l.slots
			}
		case <-l.s.done:
			return
		}
	}
}

// removeFirst removes the first message of a lane. A lane with more messages goes behind the other lanes, so that a
// busy key does not occupy a worker for ever.
func (l *lanes) removeFirst(lane *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(lane.rest) == 0 {
		delete(l.byKey, lane.key)
		return
	}
	lane.first, lane.rest[0] = lane.rest[0], nil
	lane.rest = lane.rest[1:]
	l.ready <- lane
}

// delay makes a lane ready again when the redelivery of its nacked first message is due.
func (l *lanes) delay(lane *lane, redelivery *delivery) {
	lane.first = redelivery
	delay := redelivery.nextDelay()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case delay <= 0:
		l.ready <- lane
	case lane.timer == nil:
		lane.timer = time.AfterFunc(delay, func() { l.resume(lane) })
	default:
		lane.timer.Reset(delay)
	}
}

func (l *lanes) resume(lane *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped {
		l.ready <- lane
	}
}

// stop stops all timers. One that has fired already has no effect any more.
func (l *lanes) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	for _, lane := range l.byKey {
		if lane.timer != nil {
			lane.timer.Stop()
		}
	}
}
