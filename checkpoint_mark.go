package eventstore

import (
	"slices"
	"strings"
	"sync"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// lowWaterMark is the place up to which all events of a subscription are settled. Its methods may be called by any
// goroutine, but an event must be added before next is called for the one after it.
type lowWaterMark struct {
	stream string
	all    bool                   // the stream is $all
	origin esclient.Checkpoint    // stands for the zero Checkpoint, which would begin at the end again
	sub    *esclient.Subscription // knows what lies before an event: what was truncated, or passed over by a filter

	mu      sync.Mutex
	pending []pendingEvent // in the order of the stream; settled ones are removed now and then
	open    int            // those that are not settled
	last    esclient.Checkpoint
	settled int  // events that count for CheckpointMaxCount, since the latest save
	echoes  int  // events that may be there only because checkpoints are saved, since the latest save
	moved   bool // an event was settled that is no echo, since the latest save
}

type pendingEvent struct {
	event      *esclient.Event // nil once it is settled
	at, before esclient.Checkpoint
}

// minCompaction is how many settled events are kept at least before they are removed.
const minCompaction = 32

// add adds an event that is going to be handed out.
func (m *lowWaterMark) add(e *esclient.Event) {
	before := m.sub.Checkpoint()
	at, ok := e.CheckpointIn(m.stream)
	if !ok {
		at = before
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if order, _ := at.Compare(m.last); order <= 0 {
		clear(m.pending) // the log went back: what was handed out is of another log
		m.pending, m.open = m.pending[:0], 0
	}
	m.pending = append(m.pending, pendingEvent{event: e, at: at, before: before})
	m.open++
	m.last = at
}

// settle records that an event is settled. It returns how many count for CheckpointMaxCount since the latest save.
func (m *lowWaterMark) settle(e *esclient.Event) int {
	at, _ := e.CheckpointIn(m.stream)
	m.mu.Lock()
	defer m.mu.Unlock()
	i, found := slices.BinarySearchFunc(m.pending, at, func(p pendingEvent, at esclient.Checkpoint) int {
		order, _ := p.at.Compare(at)
		return order
	})
	if !found || m.pending[i].event != e {
		return m.settled // of a log that is gone
	}
	m.pending[i].event = nil
	m.open--
	if m.isEcho(e) {
		m.echoes++
	} else {
		m.settled++
		m.moved = true
	}
	m.compact()
	return m.settled
}

// compact removes settled events, so that one that is stuck does not make all later ones pile up.
func (m *lowWaterMark) compact() {
	if m.open > 0 && len(m.pending) < 2*m.open+minCompaction {
		return
	}
	m.pending = slices.DeleteFunc(m.pending, func(p pendingEvent) bool { return p.event == nil })
}

// isEcho reports whether an event may be there only because a checkpoint was saved: in $all, a checkpoint that was
// saved on the same server is an event too, and the server's projections answer it with more.
func (m *lowWaterMark) isEcho(e *esclient.Event) bool {
	return m.all && (strings.HasPrefix(e.Original().Stream, "$") || e.Type == checkpointEventType)
}

// mark returns the mark.
func (m *lowWaterMark) mark() esclient.Checkpoint {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.markLocked()
}

func (m *lowWaterMark) markLocked() esclient.Checkpoint {
	mark := m.settledUpTo()
	if mark.IsZero() {
		return m.origin
	}
	return mark
}

func (m *lowWaterMark) settledUpTo() esclient.Checkpoint {
	for _, p := range m.pending {
		if p.event != nil {
			return p.before
		}
	}
	if m.sub.Delivered() == m.last {
		return m.last
	}
	// The subscription is behind that event. It has perhaps delivered another, which is not counted here.
	return m.sub.Checkpoint()
}

// maxEchoes is how many echoes are settled at most before the mark is due to be saved for them alone.
const maxEchoes = 1000

// due reports whether the mark is to be saved although the subscription does not end.
func (m *lowWaterMark) due(saved esclient.Checkpoint) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	mark := m.markLocked()
	if mark == saved {
		return false
	}
	passed, _ := mark.Compare(m.last) // the kinds are the same: all are of one stream
	back, _ := mark.Compare(saved)
	return m.moved || m.echoes >= maxEchoes || passed > 0 || back < 0
}

// stuck returns the event at which the mark stands, or nil, and how many later ones count since the latest save.
func (m *lowWaterMark) stuck() (e *esclient.Event, behind int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pending {
		if p.event != nil {
			return p.event, m.settled
		}
	}
	return nil, 0
}

// saving begins to count anew.
func (m *lowWaterMark) saving() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settled, m.echoes, m.moved = 0, 0, false
}
