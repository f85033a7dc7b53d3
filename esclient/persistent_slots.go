package esclient

// slots show which settlements the server has read. It pushes at most a window of events that are not settled. So if it
// pushes more, it has read as many settlements.
type slots struct {
	pushed int     // how many events were pushed
	freed  int     // how many times an event was settled or given back
	last   []int64 // numbers of the latest ones, in a ring of the window's size; -1 for a number that does not matter
}

// freeSlot notes that the client sends a settlement to the server. A nil session sends nothing.
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

// unheard yields the numbers of the events whose settlement the server may not have read.
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
