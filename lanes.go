package eventstore

import (
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// lanes hands out messages of different keys in parallel and those of one key in order. Each key that has messages has
// a lane; a worker that takes a lane hands out its first message.
type lanes struct {
	s    *subscription
	work chan *lane    // lanes that nobody works on
	room chan struct{} // a token for each message that is in a lane: they are bounded

	mu    sync.Mutex
	byKey map[string]*lane
}

// lane is the messages of one key. It is known in byKey as long as there are any, or a worker has it.
type lane struct {
	key   string
	queue []parcel
}

// parcel is a message in a lane.
type parcel struct {
	d   *delivery
	msg *message.Message
}

var errStopped = errors.New("eventstore: a message ended the subscription")

func (s *subscription) runLanes() error {
	l := &lanes{
		s: s, byKey: make(map[string]*lane),
		// As many lanes as messages can wait, so that putting one there never blocks.
		work: make(chan *lane, s.cfg.InFlight), room: make(chan struct{}, s.cfg.InFlight),
	}
	var workers sync.WaitGroup
	for range s.cfg.Concurrency {
		workers.Go(l.workOff)
	}
	err := l.distribute()
	s.cancel() // the workers end with it
	workers.Wait()
	return err
}

// distribute puts what comes into lanes. It waits while there are as many messages in them as may be in flight.
func (l *lanes) distribute() error {
	for {
		select {
		case l.room <- struct{}{}:
		case <-l.s.ctx.Done():
			return nil
		}
		e, err := l.s.src.next(l.s.ctx)
		if err != nil {
			return err
		}
		d := &delivery{subscription: l.s.ctx, event: e}
		msg, ok := l.s.unmarshal(d)
		if !ok {
			return errStopped
		}
		if msg == nil {
			<-l.room
			continue
		}
		l.put(l.s.cfg.Key(msg), parcel{d, msg})
	}
}

func (l *lanes) put(key string, p parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.byKey[key]; known != nil {
		known.queue = append(known.queue, p)
		return
	}
	fresh := &lane{key: key, queue: []parcel{p}}
	l.byKey[key] = fresh
	l.work <- fresh
}

func (l *lanes) workOff() {
	for {
		select {
		case lane := <-l.work:
			if p := l.next(lane); !l.s.deliver(p.d, p.msg) {
				l.s.cancel()
				return
			}
			l.leave(lane)
			<-l.room
		case <-l.s.ctx.Done():
			return
		}
	}
}

// next takes the first message of a lane.
func (l *lanes) next(lane *lane) parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := lane.queue[0]
	lane.queue[0] = parcel{}
	lane.queue = lane.queue[1:]
	return p
}

// leave puts a lane that has more messages behind the others, so that a busy key does not keep a worker for ever.
func (l *lanes) leave(lane *lane) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(lane.queue) == 0 {
		delete(l.byKey, lane.key)
		return
	}
	l.work <- lane
}
