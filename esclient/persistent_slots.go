package esclient

// slots tell which of the events that were settled on a session the server has heard of: it pushes no more than a
// window of events that are not settled, so what it pushes beyond that shows that it has read as much.
type slots struct {
	pushed int     // how many events were
	freed  int     // how often an event was settled, or given back
	last   []int64 // numbers of the latest of them in a ring of the window's size; -1 for those that do not matter
}

// freeSlot notes that the server is told what became of an event. A nil session tells it nothing.
func (s *session) freeSlot(number int64) {
	if s == nil || s.window <= 0 {
		return
	}
	if len(s.slots.last) < s.window {
		s.slots.last = append(s.slots.last, number)
	} else {
		s.slots.last[s.slots.freed%s.window] = number
	}
	s.slots.freed++
}

// unheard yields the numbers of the events of which the server may not have heard.
func (s *session) unheard() func(yield func(int64) bool) {
	return func(yield func(int64) bool) {
		heard := max(0, s.slots.pushed-s.window, s.slots.freed-len(s.slots.last))
		for i := heard; i < s.slots.freed; i++ {
			if n := s.slots.last[i%s.window]; n >= 0 && !yield(n) {
				return
			}
		}
	}
}
