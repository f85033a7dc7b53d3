package esclient

import (
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// eventMaker makes the Events of the pushed frames of one subscription. Small events are numerous, so they share
// memory: an Event and its data need no allocation of their own, the rest of the frame is not kept, and a name that is
// the same as in the previous event is kept once.
type eventMaker struct {
	event, link recordNames // of the previous event
}

// eventSlab is the free rest of an array of Events. The subscriptions of a connection share it, as they share the
// memory for data: the rest of an array keeps the data of the events before it, which would add up if thousands of idle
// subscriptions had one each.
type eventSlab struct{ free []Event }

func (s *eventSlab) next() *Event {
	if len(s.free) == 0 {
		s.free = make([]Event, eventsPerSlab)
	}
	e := &s.free[0]
	s.free = s.free[1:]
	return e
}

// slabOf returns the slab of a connection.
func slabOf(mem *engine.Memory) *eventSlab {
	s, ok := mem.Shared.(*eventSlab)
	if !ok {
		s = new(eventSlab)
		mem.Shared = s
	}
	return s
}

type recordNames struct{ stream, typ string }

const (
	smallPayload  = 1 << 10
	eventsPerSlab = 21 // these fill one size class of the allocator, 3 KiB
)

// keepsPayload reports whether an Event keeps a payload of n bytes. Smaller payloads are only borrowed.
func keepsPayload(n int) bool { return n > smallPayload }

// newEvent makes the Event of a payload of n bytes, which v aliases. If the payload is borrowed, it copies the
// necessary parts to mem.
func (s *eventMaker) newEvent(v *esproto.EventView, n int, pos Position, mem *engine.Memory) *Event {
	if keepsPayload(n) {
		e := new(Event) // in a slab, one event that is kept would keep the payloads of all others
		e.fill(v, pos)
		return e
	}
	e := slabOf(mem).next()
	if v.HasEvent {
		s.event.own(&v.Event, mem)
	}
	if v.HasLink {
		s.link.own(&v.Link, mem)
	}
	e.fill(v, pos)
	return e
}

// own copies the memory that r aliases to mem.
func (n *recordNames) own(r *esproto.RecordView, mem *engine.Memory) {
	if r.StreamID != n.stream {
		n.stream = strings.Clone(r.StreamID)
	}
	if r.EventType != n.typ {
		n.typ = strings.Clone(r.EventType)
	}
	r.StreamID, r.EventType = n.stream, n.typ
	r.Data, r.Metadata = mem.Copy(r.Data), mem.Copy(r.Metadata)
}
