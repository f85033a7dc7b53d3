package engine

import "sync/atomic"

// entry is one waiting Receiver.
type entry struct {
	r        Receiver
	seq      uint64
	end      int64 // where the request ends among the appended bytes
	single   bool  // one frame answers it: it is removed before that frame is handed over
	deadline int64 // in beats: when its time is up; 0 for never. See limit.go
	probeEnd int64 // where the heartbeat ends whose answer would show that no reply is on its way; 0 for none

	watcher *contextWatcher // of its context; nil if nobody watches
}

// receiverTable holds the Receivers that wait, by the numbers in their correlation ids. It gives the numbers out, and only
// those whose place, the lowest bits, is free: so finding one takes a comparison.
type receiverTable struct {
	slots   []entry // a power of two of them, at least twice as many as are taken
	lastSeq uint64  // the last number that was given out
	n       int     // how many are taken
	singles int     // how many of them by calls that one frame answers

	subscriptionsRemoved atomic.Int64 // how many others were removed
}

const leastSlots = 16

func (t *receiverTable) add(e entry) (seq uint64) {
	if 2*t.n >= len(t.slots) {
		t.grow()
	}
	for {
		t.lastSeq++
		if s := t.slot(t.lastSeq); s.r == nil {
			e.seq = t.lastSeq
			*s = e
			t.adjust(s, 1)
			return t.lastSeq
		}
	}
}

// get returns the entry of a number, which is valid until the table is changed; nil if there is none.
func (t *receiverTable) get(seq uint64) *entry {
	if len(t.slots) == 0 {
		return nil
	}
	if s := t.slot(seq); s.seq == seq && s.r != nil {
		return s
	}
	return nil
}

func (t *receiverTable) remove(s *entry) {
	t.adjust(s, -1)
	*s = entry{}
}

// removeIf removes the entries that which picks, and returns them.
func (t *receiverTable) removeIf(which func(*entry) bool) (out []entry) {
	for i := range t.slots {
		if s := &t.slots[i]; s.r != nil && which(s) {
			out = append(out, *s)
			t.remove(s)
		}
	}
	return out
}

// shrink gives the memory of an empty table back.
func (t *receiverTable) shrink() {
	if t.n == 0 {
		t.slots = nil
	}
}

func (t *receiverTable) slot(seq uint64) *entry { return &t.slots[seq&uint64(len(t.slots)-1)] }

func (t *receiverTable) adjust(s *entry, by int) {
	t.n += by
	switch {
	case s.single:
		t.singles += by
	case by < 0:
		t.subscriptionsRemoved.Add(1)
	}
	if s.watcher != nil {
		if s.watcher.waiting += by; by < 0 {
			s.watcher.stopIfUnusedLocked()
		}
	}
}

// grow doubles the table. Numbers that differ in their lowest bits go on doing so with one bit more.
func (t *receiverTable) grow() {
	old := t.slots
	t.slots = make([]entry, max(2*len(old), leastSlots))
	for i := range old {
		if old[i].r != nil {
			*t.slot(old[i].seq) = old[i]
		}
	}
}
