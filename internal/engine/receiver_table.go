package engine

import "sync/atomic"

// entry is a [Receiver] that waits for frames.
type entry struct {
	r        Receiver
	seq      uint64
	end      int64 // position of the end of the request
	single   bool  // a single frame answers it; the entry is removed before that frame is delivered
	deadline int64 // the tick of the operation timeout; 0 for none. See timeout.go
	probeEnd int64 // position of the end of the heartbeat that was sent as a probe; 0 for none. See timeout.go

	watcher *contextWatcher // fails the call when its context ends; nil for none
}

// receiverTable holds the Receivers that wait, by the numbers in their correlation ids. It assigns the numbers. The
// lowest bits of a number are the index of its slot, and the table only assigns numbers whose slot is free. So a lookup
// is one comparison. The lock of the Conn guards the table, except where noted.
type receiverTable struct {
	slots   []entry // the length is a power of two, and at least twice n
	lastSeq uint64  // the last number that was assigned
	n       int     // entries
	singles int     // entries with a single reply

	subscriptionsRemoved atomic.Int64 // removed entries without a single reply; read without the lock
}

const minSlots = 16

// add adds an entry and assigns its number.
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

// get returns the entry with a number; nil if there is none. The pointer is valid until the table changes.
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

// removeIf removes the entries for which cond is true, and returns them.
func (t *receiverTable) removeIf(cond func(*entry) bool) (removed []entry) {
	for i := range t.slots {
		if s := &t.slots[i]; s.r != nil && cond(s) {
			removed = append(removed, *s)
			t.remove(s)
		}
	}
	return removed
}

// shrink frees the memory of an empty table.
func (t *receiverTable) shrink() {
	if t.n == 0 {
		t.slots = nil
	}
}

func (t *receiverTable) slot(seq uint64) *entry { return &t.slots[seq&uint64(len(t.slots)-1)] }

// adjust adds by, which is 1 or -1, to all counts that include s.
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

// grow doubles the table. Numbers with different lowest bits still differ when one more bit counts, so every entry
// finds a free slot.
func (t *receiverTable) grow() {
	old := t.slots
	t.slots = make([]entry, max(2*len(old), minSlots))
	for i := range old {
		if old[i].r != nil {
			*t.slot(old[i].seq) = old[i]
		}
	}
}
