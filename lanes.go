package eventstore

import (
	"sync"
	"time"
)

// lanes hands out messages of different keys in parallel and those of one key in order. Each key that has messages has
// a lane; a worker that takes a lane hands out its first message. A message that was nacked stays the first of its
// lane, which is out of the way of the others until the delay is over, and keeps no worker meanwhile.
type lanes struct {
	s    *subscription
	work chan *lane    // lanes that nobody works on and that do not rest
	room chan struct{} // a token for each message that is in a lane: they are bounded

	mu    sync.Mutex
	byKey map[string]*lane
	over  bool // no lane comes back from its rest
}

// lane is the messages of one key. It is known in byKey as long as there are any: the first one is in it while a worker
// has it.
type lane struct {
	key   string
	queue []*delivery
	rest  *time.Timer // after a nack; nil if there was none
}

func (s *subscription) runLanes() {
	l := &lanes{
		s: s, byKey: make(map[string]*lane),
		// As many lanes as messages can wait, so that putting one there never blocks.
		work: make(chan *lane, s.cfg.InFlight), room: make(chan struct{}, s.cfg.InFlight),
	}
	var workers sync.WaitGroup
	for range s.cfg.Concurrency {
		workers.Go(l.workOff)
	}
	l.distribute()
	s.cancel(nil) // the workers end with it
	workers.Wait()
	l.stop()
}

// distribute puts what comes into lanes. It waits while there are as many messages in them as may be in flight.
func (l *lanes) distribute() {
	for !l.s.ended() {
		e, err := l.s.src.next(l.s.ctx)
		if err != nil {
			l.s.fail(err)
			return
		}
		select {
		case l.room <- struct{}{}:
		case <-l.s.done:
			return
		}
		if d := (&delivery{s: l.s, event: e}); l.s.unmarshal(d) {
			l.put(l.s.cfg.Key(d.msg), d)
		} else {
			<-l.room
		}
	}
}

func (l *lanes) put(key string, d *delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.byKey[key]; known != nil {
		known.queue = append(known.queue, d)
		return
	}
	fresh := &lane{key: key, queue: []*delivery{d}}
	l.byKey[key] = fresh
	l.work <- fresh
}

func (l *lanes) workOff() {
	for {
		select {
		case lane := <-l.work:
			if again := l.s.deliver(l.first(lane)); again != nil {
				l.restAt(lane, again)
			} else {
				l.leave(lane)
				<-l.room
			}
		case <-l.s.done:
			return
		}
	}
}

func (l *lanes) first(lane *lane) *delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	return lane.queue[0]
}

// leave removes the first message of a lane and puts the lane behind the others, if it has more, so that a busy key
// does not keep a worker for ever.
func (l *lanes) leave(lane *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane.queue[0] = nil
	if lane.queue = lane.queue[1:]; len(lane.queue) == 0 {
		delete(l.byKey, lane.key)
		return
	}
	l.work <- lane
}

// restAt keeps a lane from the workers until its first message, which was nacked, may be handed out again.
func (l *lanes) restAt(lane *lane, again *delivery) {
	delay := again.nextDelay()
	l.mu.Lock()
	defer l.mu.Unlock()
	lane.queue[0] = again
	switch {
	case l.over:
	case delay <= 0:
		l.work <- lane
	case lane.rest == nil:
		lane.rest = time.AfterFunc(delay, func() { l.comeBack(lane) })
	default:
		lane.rest.Reset(delay)
	}
}

func (l *lanes) comeBack(lane *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.work <- lane
	}
}

// stop ends all rests. A timer that has fired just now does nothing more.
func (l *lanes) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	for _, lane := range l.byKey {
		if lane.rest != nil {
			lane.rest.Stop()
		}
	}
}
