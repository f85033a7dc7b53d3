package esclient

import (
	"sync"
	"sync/atomic"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// queue holds pushed events between the connection's reader, which must never wait, and the consumer. It is bounded:
// push does not check, so the caller must, and decides how to handle a full queue. When the consumer has no events
// left, it takes all events that have come. So the two rarely contend for a lock.
type queue struct {
	limit    int64
	maxBytes int64 // of all events together; 0 for no bound
	n        atomic.Int64
	bytes    atomic.Int64  // of the events; counted only if they are bounded
	wake     chan struct{} // has a token if something may have changed since the consumer looked

	in struct {
		sync.Mutex
		events []*Event
		mark   Position // after all events that were ever pushed: the server has looked at everything up to there
	}
	out struct { // locked before in, if both are
		sync.Mutex
		events []*Event // from next on
		next   int
	}
}

// keepRing is the longest list that an empty queue keeps, in events.
const keepRing = 512

func (q *queue) init(limit int) {
	q.limit, q.wake, q.in.mark = int64(limit), make(chan struct{}, 1), UnknownPosition
}

// eventWeight is about the number of bytes that an event takes beside its data and metadata.
const eventWeight = 256

// weight is the size of an event for the byte limit of a queue.
func weight(e *Event) int64 {
	n := eventWeight + len(e.Data) + len(e.Metadata)
	if e.Link != nil {
		n += eventWeight + len(e.Link.Data) + len(e.Link.Metadata)
	}
	return int64(n)
}

// admits reports whether there is room for an event of the given weight, after others that will be pushed with it. An
// empty queue admits an event of any weight.
func (q *queue) admits(weight int64, others int, othersWeight int64) bool {
	n := q.n.Load() + int64(others)
	return n == 0 || n < q.limit && (q.maxBytes == 0 || q.bytes.Load()+othersWeight+weight <= q.maxBytes)
}

// push appends events for which there is room. Call signal to wake the consumer.
func (q *queue) push(events []*Event) {
	if q.maxBytes > 0 {
		var sum int64
		for _, e := range events {
			sum += weight(e)
		}
		q.bytes.Add(sum)
	}
	q.n.Add(int64(len(events)))
	q.in.Lock()
	q.in.events = append(q.in.events, events...)
	q.in.Unlock()
}

// pop takes the oldest event; nil if there is none.
func (q *queue) pop() *Event {
	q.out.Lock()
	defer q.out.Unlock()
	if q.out.next == len(q.out.events) && !q.takeOver() {
		return nil
	}
	e := q.out.events[q.out.next]
	q.out.events[q.out.next] = nil
	q.out.next++
	q.n.Add(-1)
	if q.maxBytes > 0 {
		q.bytes.Add(-weight(e))
	}
	return e
}

// takeOver exchanges the empty list of the consumer for that of the reader. q.out is locked.
func (q *queue) takeOver() bool {
	empty := q.out.events[:0]
	if cap(empty) > keepRing {
		empty = nil
	}
	q.in.Lock()
	defer q.in.Unlock()
	if len(q.in.events) == 0 {
		return false
	}
	q.out.events, q.out.next, q.in.events = q.in.events, 0, empty
	return true
}

// pass notes that no more events will come up to a position. Call signal to wake the consumer.
func (q *queue) pass(p Position) {
	q.in.Lock()
	defer q.in.Unlock()
	q.in.mark = p
}

// passed returns how far the server has looked, if no event is left before that; else UnknownPosition.
func (q *queue) passed() Position {
	q.out.Lock()
	defer q.out.Unlock()
	q.in.Lock()
	defer q.in.Unlock()
	if q.out.next < len(q.out.events) || len(q.in.events) > 0 {
		return UnknownPosition
	}
	return q.in.mark
}

// drain empties the queue and returns its events.
func (q *queue) drain() []*Event {
	q.out.Lock()
	defer q.out.Unlock()
	q.in.Lock()
	defer q.in.Unlock()
	events := q.out.events[q.out.next:]
	events = append(events, q.in.events...)
	q.out.events, q.out.next, q.in.events = nil, 0, nil
	q.n.Add(-int64(len(events)))
	return events
}

// newestNumber returns the number of the event that was pushed last, or -1 if it has been taken already.
func (q *queue) newestNumber() int64 {
	q.out.Lock()
	defer q.out.Unlock()
	q.in.Lock()
	defer q.in.Unlock()
	switch {
	case len(q.in.events) > 0:
		return q.in.events[len(q.in.events)-1].Original().Number
	case q.out.next < len(q.out.events):
		return q.out.events[len(q.out.events)-1].Original().Number
	}
	return -1
}

// oldest returns when the event that is taken next was written; zero if there is none.
func (q *queue) oldest() Timestamp {
	q.out.Lock()
	defer q.out.Unlock()
	q.in.Lock()
	defer q.in.Unlock()
	switch {
	case q.out.next < len(q.out.events):
		return q.out.events[q.out.next].Original().Created
	case len(q.in.events) > 0:
		return q.in.events[0].Original().Created
	}
	return 0
}

func (q *queue) len() int { return int(q.n.Load()) }

func (q *queue) capacity() int { return int(q.limit) }

// signal makes a consumer that waits, or is about to wait, look again.
func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// newestNumber returns the highest number that tells the length of the stream: the tombstone's does not.
func newestNumber(numbers ...int64) int64 {
	newest := int64(-1)
	for _, n := range numbers {
		if n != esproto.DeletedStream {
			newest = max(newest, n)
		}
	}
	return newest
}
