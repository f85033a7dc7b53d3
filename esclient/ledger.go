package esclient

import "github.com/google/uuid"

// settlement is what the consumer said of an event. It does not change.
type settlement struct {
	nack   bool
	action NackAction
	reason string
}

var (
	acked = &settlement{}
	held  = &settlement{} // stands for nothing yet: the event is queued or handed out
)

// ledger knows which events of a group are held, and of the last so many that were settled, how. Acks and nacks have no
// reply: one that was sent just before the connection was lost, or that a server had not checkpointed when it was
// restarted, has to be sent again when the event comes again.
//
// Events go by their numbers in the group's stream; the id only tells whether that still is the same event. Most events
// have numbers that were not seen before, so nothing is looked up among the settled ones until a number comes again.
type ledger struct {
	limit   int
	held    map[int64]uuid.UUID
	newest  int64     // the highest number that was ever held
	settled []settled // a ring, once it has reached the limit
	next    int       // where the ring goes on

	index map[int64]int // where in the ring a number is; nil unless numbers come again
	quiet int           // how many events were settled since that was asked last
}

// settled is an event that was settled.
type settled struct {
	number int64
	id     uuid.UUID
	how    *settlement
}

func newLedger(limit int) ledger {
	return ledger{limit: limit, held: make(map[int64]uuid.UUID), newest: -1}
}

// of returns how an event was settled, held, or nil if nothing is known of it. The event is that of the group's stream.
func (l *ledger) of(e *Event) *settlement {
	if e.Number > l.newest {
		return nil
	}
	if id, ok := l.held[e.Number]; ok && id == e.ID {
		return held
	}
	if l.index == nil {
		l.makeIndex()
	}
	l.quiet = 0
	if i, ok := l.index[e.Number]; ok && l.settled[i].id == e.ID {
		return l.settled[i].how
	}
	return nil
}

func (l *ledger) makeIndex() {
	l.index = make(map[int64]int, len(l.settled))
	for i := range l.settled {
		l.index[l.settled[i].number] = i
	}
}

// isHeld is of for an event that the consumer has.
func (l *ledger) isHeld(e *Event) bool {
	id, ok := l.held[e.Number]
	return ok && id == e.ID
}

// hold notes an event that nothing was known of.
func (l *ledger) hold(e *Event) {
	l.held[e.Number] = e.ID
	l.newest = max(l.newest, e.Number)
}

// release forgets an event that was held.
func (l *ledger) release(e *Event) { delete(l.held, e.Number) }

// settle notes how an event that was held is settled.
func (l *ledger) settle(e *Event, how *settlement) {
	delete(l.held, e.Number)
	entry := settled{number: e.Number, id: e.ID, how: how}
	if len(l.settled) < l.limit {
		l.settled = append(l.settled, entry)
	} else {
		l.forget(l.next)
		l.settled[l.next] = entry
	}
	if l.index != nil {
		l.index[e.Number] = l.next
		if l.quiet++; l.quiet > l.limit {
			l.index = nil // numbers have stopped coming again
		}
	}
	l.next = (l.next + 1) % l.limit
}

// forget takes what is at a place of the ring out of the index.
func (l *ledger) forget(i int) {
	if number := l.settled[i].number; l.index != nil && l.index[number] == i {
		delete(l.index, number)
	}
}

// forgetSettled leaves nothing but what is held.
func (l *ledger) forgetSettled() { l.settled, l.next, l.index = nil, 0, nil }
