package estest

// queue is a FIFO in a ring.
type queue[T any] struct {
	ring []T
	head int
	n    int
}

func (q *queue[T]) len() int { return q.n }

func (q *queue[T]) push(v T) {
	if q.n == len(q.ring) {
		q.grow(q.n + 1)
	}
	q.ring[(q.head+q.n)%len(q.ring)] = v
	q.n++
}

func (q *queue[T]) peek() T { return q.ring[q.head] }

func (q *queue[T]) pop() T {
	var zero T
	v := q.ring[q.head]
	q.ring[q.head] = zero
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return v
}

// unpop puts values back before the others, in their order.
func (q *queue[T]) unpop(values []T) {
	if q.n+len(values) > len(q.ring) {
		q.grow(q.n + len(values))
	}
	for i := len(values) - 1; i >= 0; i-- {
		q.head = (q.head - 1 + len(q.ring)) % len(q.ring)
		q.ring[q.head] = values[i]
		q.n++
	}
}

func (q *queue[T]) grow(least int) {
	ring := make([]T, max(2*len(q.ring), least, 16))
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}
