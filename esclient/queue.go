package esclient

import "sync"

// queue holds pushed events between the reader of the connection, which must never wait, and one consumer. It is
// bounded: whoever pushes into a full one decides what that means.
type queue struct {
	mu    sync.Mutex
	ring  []*Event // grows up to limit
	head  int
	n     int
	limit int
	wake  chan struct{} // has a token when something may have changed since the consumer looked
}

func newQueue(limit int) queue {
	return queue{limit: limit, wake: make(chan struct{}, 1)}
}

const minRing = 16

// push appends an event. It returns false if the queue is full.
func (q *queue) push(e *Event) bool {
	q.mu.Lock()
	if q.n == q.limit {
		q.mu.Unlock()
		return false
	}
	if q.n == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.n)%len(q.ring)] = e
	q.n++
	first := q.n == 1
	q.mu.Unlock()
	if first {
		q.signal()
	}
	return true
}

func (q *queue) grow() {
	ring := make([]*Event, min(max(2*len(q.ring), minRing), q.limit))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

// pop takes the oldest event; nil if there is none.
func (q *queue) pop() *Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return nil
	}
	e := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return e
}

// drain empties the queue and returns what was in it.
func (q *queue) drain() []*Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := make([]*Event, q.n)
	for i := range events {
		events[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head, q.n = nil, 0, 0
	return events
}

// newestNumber returns the number of the event that was pushed last, or -1 if it has been taken already.
func (q *queue) newestNumber() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return -1
	}
	return q.ring[(q.head+q.n-1)%len(q.ring)].Original().Number
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// signal lets a consumer that waits, or is about to, look again.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
