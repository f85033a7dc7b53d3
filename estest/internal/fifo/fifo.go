// Package fifo has a queue that takes no memory for a value that comes and goes.
package fifo

// Queue is a FIFO in a ring. The zero Queue is empty. It is not safe for concurrent use.
type Queue[T any] struct {
	ring []T // a power of two of them
	head int
	n    int
}

// Len returns how many values wait.
func (q *Queue[T]) Len() int { return q.n }

// Enqueue puts a value behind the others.
func (q *Queue[T]) Enqueue(v T) {
	if q.n == len(q.ring) {
		q.grow(q.n + 1)
	}
	*q.slot(q.n) = v
	q.n++
}

// Peek returns the first value. There must be one.
func (q *Queue[T]) Peek() T { return q.ring[q.head] }

// At returns the value behind i others. There must be one.
func (q *Queue[T]) At(i int) T { return *q.slot(i) }

func (q *Queue[T]) slot(i int) *T { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

// Dequeue takes the first value out. There must be one.
func (q *Queue[T]) Dequeue() T {
	var zero T
	v := q.ring[q.head]
	q.ring[q.head] = zero
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return v
}

// PutBack puts values before the others, in their order.
func (q *Queue[T]) PutBack(values []T) {
	if q.n+len(values) > len(q.ring) {
		q.grow(q.n + len(values))
	}
	for i := len(values) - 1; i >= 0; i-- {
		q.head = (q.head - 1) & (len(q.ring) - 1)
		q.ring[q.head] = values[i]
		q.n++
	}
}

func (q *Queue[T]) grow(least int) {
	size := max(2*len(q.ring), 16)
	for size < least {
		size *= 2
	}
	ring := make([]T, size)
	for i := range q.n {
		ring[i] = q.At(i)
	}
	q.ring, q.head = ring, 0
}
