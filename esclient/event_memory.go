package esclient

import (
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// eventSlab makes the Events of pushed frames. Small events are numerous, so they share memory: an Event and its data
// need no allocation of their own, the rest of the frame is not kept, and a name that is the same as in the previous
// event is kept once.
type eventSlab struct {
	free        []Event
	event, link recordNames // of the previous event
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
func (s *eventSlab) newEvent(v *esproto.EventView, n int, pos Position, mem *engine.Memory) *Event {
	if keepsPayload(n) {
		e := new(Event) // in a slab, one event that is kept would keep the payloads of all others
		e.fill(v, pos)
		return e
	}
	if len(s.free) == 0 {
		s.free = make([]Event, eventsPerSlab)
	}
	e := &s.free[0]
	s.free = s.free[1:]
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
