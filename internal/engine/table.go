package engine

import "sync/atomic"

// entry is one waiting Receiver.
type entry struct {
	r     Receiver
	seq   uint64
	end   int64 // where the request ends among the appended bytes
	once  bool  // one frame answers it: it is removed before that frame is handed over
	due   int64 // in beats: when its time is up; 0 for never. See limit.go
	proof int64 // where the heartbeat ends whose answer would show that no reply is on its way; 0 for none

	watcher *watcher // of its context; nil if nobody watches
}

// table holds the Receivers that wait, by the numbers in their correlation ids. It gives the numbers out, and only
// those whose place, the lowest bits, is free: so finding one takes a comparison.
type table struct {
	slots []entry // a power of two of them, at least twice as many as are taken
	seq   uint64  // the last number that was given out
	n     int     // how many are taken
	once  int     // how many of them by calls that one frame answers

	streamsGone atomic.Int64 // how many others were removed
}

const leastSlots = 16

func (t *table) add(e entry) (seq uint64) {
	if 2*t.n >= len(t.slots) {
		t.grow()
	}
	for {
		t.seq++
		if s := t.slot(t.seq); s.r == nil {
			e.seq = t.seq
			*s = e
			t.count(s, 1)
			return t.seq
		}
	}
}

// get returns the entry of a number, which is valid until the table is changed; nil if there is none.
func (t *table) get(seq uint64) *entry {
	if len(t.slots) == 0 {
		return nil
	}
	if s := t.slot(seq); s.seq == seq && s.r != nil {
		return s
	}
	return nil
}

func (t *table) remove(s *entry) {
	t.count(s, -1)
	*s = entry{}
}

// takeOut removes the entries that which picks, and returns them.
func (t *table) takeOut(which func(*entry) bool) (out []entry) {
	for i := range t.slots {
		if s := &t.slots[i]; s.r != nil && which(s) {
			out = append(out, *s)
			t.remove(s)
		}
	}
	return out
}

// shrink gives the memory of an empty table back.
func (t *table) shrink() {
	if t.n == 0 {
		t.slots = nil
	}
}

func (t *table) slot(seq uint64) *entry { return &t.slots[seq&uint64(len(t.slots)-1)] }

func (t *table) count(s *entry, by int) {
	t.n += by
	switch {
	case s.once:
		t.once += by
	case by < 0:
		t.streamsGone.Add(1)
	}
	if s.watcher != nil {
		if s.watcher.calls += by; by < 0 {
			s.watcher.stopIfUnusedLocked()
		}
	}
}

// grow doubles the table. Numbers that differ in their lowest bits go on doing so with one bit more.
func (t *table) grow() {
	old := t.slots
	t.slots = make([]entry, max(2*len(old), leastSlots))
	for i := range old {
		if old[i].r != nil {
			*t.slot(old[i].seq) = old[i]
		}
	}
}
