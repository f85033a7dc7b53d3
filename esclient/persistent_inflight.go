package esclient

import (
	"math/bits"
	"time"
)

// flight is an event in flight: the server has pushed it, and it is not settled. Times come from sinceEpoch.
type flight struct {
	heldEvent
	e      *Event        // as the consumer has it, or will get it
	on     *session      // the session of the last push, or stale
	pushed time.Duration // time of the last push, or untimed
	begun  time.Duration // when the consumer last began with it, or untimed; 0 if it has not

	weight       int64
	streamLedger *streamLedger
	next         *flight // with the same number, or a spare one
}

// flights are the events of a stream that are held. Each is looked up several times. So they are in a table, which
// costs less than a map and reuses its memory.
type flights struct {
	table []*flight // by the hash of the number, chained by next; the length is a power of two
	shift int       // shifts the hash to an index
	n     int
	spare *flight // to be used next
}

// leastTable is the length of the first table.
const leastTable = 16

// at returns the head of a number's chain in the table. The hash distributes numbers evenly even if they have regular
// gaps, such as those of one subscriber of many.
func (s *flights) at(number int64) **flight {
	return &s.table[uint64(number)*0x9e3779b97f4a7c15>>s.shift]
}

// get returns the flight of an event; nil if it is not held.
func (s *flights) get(h heldEvent) *flight {
	if s.n == 0 {
		return nil
	}
	f := *s.at(h.number)
	for f != nil && f.heldEvent != h {
		f = f.next
	}
	return f
}

// add returns a flight for an event that is not held.
func (s *flights) add(h heldEvent) *flight {
	if s.n == len(s.table) {
		s.grow()
	}
	f := s.spare
	if f == nil {
		f = new(flight)
	}
	s.spare, f.heldEvent = f.next, h
	s.put(f)
	s.n++
	return f
}

func (s *flights) put(f *flight) {
	first := s.at(f.number)
	f.next = *first
	*first = f
}

func (s *flights) grow() {
	old := s.table
	s.table = make([]*flight, max(2*len(old), leastTable))
	s.shift = 64 - bits.Len(uint(len(s.table)-1))
	for _, f := range old {
		for f != nil {
			next := f.next
			s.put(f)
			f = next
		}
	}
}

// remove removes a flight that get or add has returned. The caller must not use it any more.
func (s *flights) remove(f *flight) {
	p := s.at(f.number)
	for *p != f {
		p = &(*p).next
	}
	*p = f.next
	s.n--
	*f = flight{next: s.spare}
	s.spare = f
}

// all iterates over the flights, in no order. Nothing may be added or removed meanwhile.
func (s *flights) all(yield func(*flight) bool) {
	for _, f := range s.table {
		for ; f != nil; f = f.next {
			if !yield(f) {
				return
			}
		}
	}
}
