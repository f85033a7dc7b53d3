package estest

// queue is a FIFO in a ring.
type queue[T any] struct {
	ring []T // a power of two of them
	head int
	n    int
}

func (q *queue[T]) len() int { return q.n }

func (q *queue[T]) enqueue(v T) {
	if q.n == len(q.ring) {
		q.grow(q.n + 1)
	}
	*q.slot(q.n) = v
	q.n++
}

func (q *queue[T]) peek() T { return q.ring[q.head] }

// at returns the value behind i others.
func (q *queue[T]) at(i int) T { return *q.slot(i) }

func (q *queue[T]) slot(i int) *T { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

func (q *queue[T]) dequeue() T {
	var zero T
	v := q.ring[q.head]
	q.ring[q.head] = zero
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return v
}

// putBack puts values back before the others, in their order.
func (q *queue[T]) putBack(values []T) {
	if q.n+len(values) > len(q.ring) {
		q.grow(q.n + len(values))
	}
	for i := len(values) - 1; i >= 0; i-- {
		q.head = (q.head - 1) & (len(q.ring) - 1)
		q.ring[q.head] = values[i]
		q.n++
	}
}

func (q *queue[T]) grow(least int) {
	size := max(2*len(q.ring), 16)
	for size < least {
		size *= 2
	}
	ring := make([]T, size)
	for i := range q.n {
		ring[i] = q.at(i)
	}
	q.ring, q.head = ring, 0
}
