package eventstore

import (
	"slices"
	"strings"
	"sync"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// place is a checkpoint, and the last event up to there that the log is recognised by: zero if none is known.
type place struct {
	checkpoint esclient.Checkpoint
	known      esclient.KnownEvent
}

// lowWaterMark is the place up to which all events of a subscription are settled. Its methods may be called by any
// goroutine, but an event must be added before next is called for the one after it.
type lowWaterMark struct {
	stream string
	all    bool                   // the stream is $all
	origin esclient.Checkpoint    // replaces the zero Checkpoint, which means the end
	sub    *esclient.Subscription // knows whether events before another one were truncated, or passed over by a filter

	mu      sync.Mutex
	pending []pendingEvent // in the order of the stream; compact removes settled ones
	open    int            // the number of events that are not settled
	last    esclient.Checkpoint
	settled int  // events that count for CheckpointMaxCount, since the latest save
	echoes  int  // events of the server, which saving a checkpoint may have caused, since the latest save
	moved   bool // an event that is no echo was settled since the latest save

	known   esclient.KnownEvent // the last added event, or at first the saved one
	another bool                // the log has become another one since
}

type pendingEvent struct {
	event  *esclient.Event // nil once it is settled
	at     esclient.Checkpoint
	before place
}

// minCompaction is the number of settled events from which on compact removes them.
const minCompaction = 32

// add adds an event that will be handed out.
func (m *lowWaterMark) add(e *esclient.Event) {
	before := m.sub.Checkpoint()
	at, ok := e.CheckpointIn(m.stream)
	if !ok {
		at = before
	}
	known, isKnown := e.KnownIn(m.stream)
	m.mu.Lock()
	defer m.mu.Unlock()
	if order, _ := at.Compare(m.last); m.another || order <= 0 {
		clear(m.pending) // these events are of another log
		m.pending, m.open = m.pending[:0], 0
		m.known, m.another = esclient.KnownEvent{}, false
	}
	m.pending = append(m.pending, pendingEvent{event: e, at: at, before: place{before, m.known}})
	m.open++
	if m.last = at; isKnown {
		m.known = known
	}
}

// OnLogWentBack implements [esclient.LogWentBackHook]. All events that were added before are of another log.
func (m *lowWaterMark) OnLogWentBack(esclient.SubscriptionInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.another = true
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

// compact removes settled events. Without it, all events after a stuck one would stay in memory.
func (m *lowWaterMark) compact() {
	if m.open > 0 && len(m.pending) < 2*m.open+minCompaction {
		return
	}
	m.pending = slices.DeleteFunc(m.pending, func(p pendingEvent) bool { return p.event == nil })
}

// isEcho reports whether saving a checkpoint may have caused an event. In $all, a checkpoint that was saved on the same
// server is an event too, and the server's projections write more events for it.
func (m *lowWaterMark) isEcho(e *esclient.Event) bool {
	return m.all && (strings.HasPrefix(e.Original().Stream, "$") || e.Type == checkpointEventType)
}

// mark returns the place up to which all events are settled.
func (m *lowWaterMark) mark() place {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.markLocked()
}

func (m *lowWaterMark) markLocked() place {
	mark := m.settledUpTo()
	if mark.checkpoint.IsZero() {
		return place{checkpoint: m.origin}
	}
	return mark
}

func (m *lowWaterMark) settledUpTo() place {
	for _, p := range m.pending {
		if p.event != nil {
			return p.before
		}
	}
	if m.sub.Delivered() == m.last {
		return place{m.last, m.known}
	}
	// The subscription has passed that event. It may have delivered another, which was not added yet.
	if m.another {
		return place{checkpoint: m.sub.Checkpoint()}
	}
	return place{m.sub.Checkpoint(), m.known}
}

// maxEchoes is the number of settled echoes after which the mark is saved for them alone.
const maxEchoes = 1000

// due reports whether to save the mark while the subscription goes on.
func (m *lowWaterMark) due(saved place) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	mark := m.markLocked()
	if mark == saved {
		return false
	}
	passed, _ := mark.checkpoint.Compare(m.last) // the kinds are the same: all are of one stream
	back, _ := mark.checkpoint.Compare(saved.checkpoint)
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

// saving resets the counts since the latest save.
func (m *lowWaterMark) saving() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settled, m.echoes, m.moved = 0, 0, false
}
