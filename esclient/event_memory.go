package esclient

import (
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// eventSlab makes the Events of pushed frames. Those of small ones share memory, since they come in great numbers:
// neither an Event nor its data is an allocation of its own, what else is in the frame is not kept, and names that are
// the same as in the event before are kept once.
type eventSlab struct {
	free        []Event
	event, link recordNames // of the event before
}

type recordNames struct{ stream, typ string }

const (
	smallPayload  = 1 << 10
	eventsPerSlab = 18 // as many as fill the size of memory that the runtime gives out for them, 3 KiB
)

// keepsPayload reports whether an Event will keep a payload of n bytes, as it is. Others are only borrowed.
func keepsPayload(n int) bool { return n > smallPayload }

// newEvent makes the Event of a payload of n bytes, which v aliases. What it keeps of one that is borrowed goes to mem.
func (s *eventSlab) newEvent(v *esproto.EventView, n int, pos Position, mem *engine.Memory) *Event {
	if keepsPayload(n) {
		e := new(Event) // in a slab, one that is kept would keep the payloads of all the others
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

// own moves what r aliases to memory that stays.
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
