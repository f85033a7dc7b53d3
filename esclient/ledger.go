package esclient

import "github.com/watermill-eventstore/watermill-eventstore/esproto"

// delivery names one event of a group: its id alone may occur twice in a stream.
type delivery struct {
	id     esproto.GUID
	number int64
}

func deliveryOf(e *Event) delivery {
	o := e.Original()
	return delivery{id: esproto.NewGUID(o.ID), number: o.Number}
}

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

// ledger knows which events are held, and of the last so many that were settled, how. Acks and nacks have no reply: one
// that was sent just before the connection was lost, or that a server had not checkpointed when it was restarted, has to
// be sent again when the event comes again.
type ledger struct {
	limit   int
	by      map[delivery]*settlement
	held    int        // how many are
	settled []delivery // a ring, once it has reached the limit
	next    int
}

func newLedger(limit int) ledger {
	return ledger{limit: limit, by: make(map[delivery]*settlement)}
}

// of returns how an event was settled, held, or nil if nothing is known of it.
func (l *ledger) of(d delivery) *settlement { return l.by[d] }

// hold notes an event that nothing was known of.
func (l *ledger) hold(d delivery) {
	l.by[d] = held
	l.held++
}

// release forgets an event that was held.
func (l *ledger) release(d delivery) {
	delete(l.by, d)
	l.held--
}

// settle notes how an event that was held is settled.
func (l *ledger) settle(d delivery, how *settlement) {
	l.by[d] = how
	l.held--
	if len(l.settled) < l.limit {
		l.settled = append(l.settled, d)
		return
	}
	delete(l.by, l.settled[l.next])
	l.settled[l.next] = d
	l.next = (l.next + 1) % l.limit
}

// forgetSettled leaves nothing but what is held.
func (l *ledger) forgetSettled() {
	for _, d := range l.settled {
		delete(l.by, d)
	}
	l.settled, l.next = nil, 0
}
