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

// settlement is what the consumer said of an event.
type settlement struct {
	nack   bool
	action NackAction
	reason string
}

// settledEvents remembers the last so many settlements. Acks and nacks have no reply: one that was sent just before the
// connection was lost, or that a server had not checkpointed when it was restarted, has to be sent again when the event
// comes again.
type settledEvents struct {
	limit int
	by    map[delivery]settlement
	order []delivery // a ring of the keys of by, once it has reached the limit
	next  int
}

func (s *settledEvents) add(d delivery, how settlement) {
	if s.by == nil {
		s.by = make(map[delivery]settlement)
	}
	if _, known := s.by[d]; !known {
		if len(s.order) < s.limit {
			s.order = append(s.order, d)
		} else {
			delete(s.by, s.order[s.next])
			s.order[s.next] = d
			s.next = (s.next + 1) % s.limit
		}
	}
	s.by[d] = how
}

func (s *settledEvents) lookup(d delivery) (settlement, bool) {
	how, ok := s.by[d]
	return how, ok
}

func (s *settledEvents) clear() { *s = settledEvents{limit: s.limit} }
