package groups

import (
	"container/heap"
	"slices"
	"sort"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/fifo"
)

// Events wait in the buffer of a group in the order of their numbers, and in the retry list if they are to be delivered
// again. A live group puts an event into the buffer when it is written. If the buffer is full, the group falls behind,
// and reads a page when acks have made room. It remembers the newest events, and is live again when it reads one of
// them.

const (
	maxReadBatch     = 100
	defaultReadBatch = 10
)

// newMessage makes a message of an event. written says that the event was just written; else the group has read it.
func (g *Group) newMessage(r *eventlog.Record, written bool) *message {
	m := &message{event: r, replayed: isParkedStream(r.Stream.Name)}
	switch {
	case !g.Settings.ResolveLinks:
	case written:
		m.event, m.link = g.set.cfg.Log.ResolvePushed(r, true)
	default:
		m.event, m.link = g.set.cfg.Log.Resolve(r)
	}
	return m
}

// written tells the group that an event was written to its stream.
func (g *Group) written(r *eventlog.Record) {
	if r.Number < g.Settings.StartFrom {
		return
	}
	g.lastSeen = max(g.lastSeen, r.Number)
	m := g.newMessage(r, true)
	if g.live {
		if g.buffer.Len() < g.Settings.BufferSize {
			g.buffer.Enqueue(m)
		} else {
			g.live, g.next = false, r.Number
		}
	}
	if g.newest.Len() >= max(g.Settings.LiveBufferSize, 1) {
		g.newest.Dequeue()
	}
	g.newest.Enqueue(m)
	g.dispatch()
}

// wantsPage reports whether the group is behind and has room for a page.
func (g *Group) wantsPage() bool {
	return !g.live && !g.faulted && g.Settings.BufferSize-g.buffer.Len()-len(g.retry) > g.Settings.ReadBatchSize
}

// readOn reads pages and dispatches them. The group decides whether it reads another page before it dispatches one: a
// client that could take more events than the buffer holds gets them after its next ack.
func (g *Group) readOn(more bool) {
	for more {
		g.readPage()
		more = g.wantsPage()
		g.dispatch()
	}
}

func (g *Group) readPage() {
	if g.set.cfg.Log.HardDeleted(g.Stream) && g.set.cfg.Facts.HardDeleteEndsGroup {
		g.fault()
		return
	}
	s := g.set.cfg.Log.Stream(g.Stream)
	if s == nil || s.Last() < 0 || s.HardDeleted() || s.SoftDeleted() || g.Settings.ReadBatchSize < 0 {
		g.live = true
		return
	}
	recs, next, end := g.set.cfg.Log.ReadForward(s, g.next, g.pageSize())
	if g.dropFirst && len(recs) > 0 {
		recs, g.dropFirst = recs[1:], false
	}
	for _, r := range recs {
		g.lastSeen = max(g.lastSeen, r.Number)
		g.addRead(r)
	}
	g.live = g.live || end
	g.next = max(next, g.next)
}

func (g *Group) pageSize() int {
	if g.Settings.ReadBatchSize == 0 {
		return defaultReadBatch
	}
	return min(g.Settings.ReadBatchSize, maxReadBatch)
}

// addRead takes an event that was read. If the event is one of the newest, the group is live again and takes all of the
// newest events, even if its buffer is smaller.
func (g *Group) addRead(r *eventlog.Record) {
	switch {
	case g.live:
	case g.newest.Len() == 0 || r.Number < g.newest.Peek().original().Number:
		g.buffer.Enqueue(g.newMessage(r, false))
	default:
		for g.newest.Len() > 0 && g.newest.Peek().original().Number < r.Number {
			g.newest.Dequeue()
		}
		g.live = g.newest.Len() > 0
		for g.newest.Len() > 0 {
			g.buffer.Enqueue(g.newest.Dequeue())
		}
		if !g.live {
			g.buffer.Enqueue(g.newMessage(r, false))
		}
	}
}

// dispatch delivers the waiting messages to the clients that the strategy picks, retries first.
func (g *Group) dispatch() {
	if len(g.clients) > 0 && g.dispatchRetries() {
		g.dispatchBuffer()
	}
}

// dispatchRetries reports whether clients may take more.
func (g *Group) dispatchRetries() (more bool) {
	kept := g.retry[:0]
	more = true
	for i, m := range g.retry {
		c, why := g.strategy.pick(m)
		if c != nil {
			c.deliver(m)
			continue
		}
		if why == allAreFull {
			kept = append(kept, g.retry[i:]...)
			more = false
			break
		}
		kept = append(kept, m)
	}
	clear(g.retry[len(kept):])
	g.retry = kept
	return more
}

func (g *Group) dispatchBuffer() {
	var passedOver []*message
	for g.buffer.Len() > 0 {
		c, why := g.strategy.pick(g.buffer.Peek())
		if c == nil && why == allAreFull {
			break
		}
		m := g.buffer.Dequeue()
		if c == nil {
			passedOver = append(passedOver, m)
			continue
		}
		c.deliver(m)
	}
	if len(passedOver) > 0 {
		g.buffer.PutBack(passedOver)
	}
}

// addRetry puts a message into the retry list, behind the messages with the same number.
func (g *Group) addRetry(m *message, retries int) {
	m.retries = retries
	f := g.set.cfg.Facts
	n := f.order(m)
	i := sort.Search(len(g.retry), func(i int) bool {
		o := g.retry[i]
		if f.ReplayedComeLast && o.replayed != m.replayed {
			return o.replayed
		}
		return f.order(o) > n && !(f.ReplayedComeLast && m.replayed)
	})
	g.retry = slices.Insert(g.retry, i, m)
}

// openMessages finds the message with the lowest number that is outstanding. A settled message stays in it until it
// would be the lowest. Most messages come in the order of their numbers: they need no heap.
type openMessages struct {
	rising  fifo.Queue[*message]
	highest int64 // number of the last one in rising
	others  numberHeap
}

func (o *openMessages) add(m *message) {
	n := m.original().Number
	if o.rising.Len() > 0 && n < o.highest {
		heap.Push(&o.others, m)
		return
	}
	o.rising.Enqueue(m)
	o.highest = n
}

// lowest returns nil if no message is outstanding.
func (o *openMessages) lowest() *message {
	for o.rising.Len() > 0 && !o.rising.Peek().open {
		o.rising.Dequeue()
	}
	for len(o.others) > 0 && !o.others[0].open {
		heap.Pop(&o.others)
	}
	switch {
	case o.rising.Len() == 0 && len(o.others) == 0:
		return nil
	case o.rising.Len() == 0 || len(o.others) > 0 && byNumber(o.others[0], o.rising.Peek()) < 0:
		return o.others[0]
	}
	return o.rising.Peek()
}

type numberHeap []*message

func (h numberHeap) Len() int           { return len(h) }
func (h numberHeap) Less(i, j int) bool { return byNumber(h[i], h[j]) < 0 }
func (h numberHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *numberHeap) Push(x any)        { *h = append(*h, x.(*message)) }

func (h *numberHeap) Pop() any {
	old := *h
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return m
}

// lowestOpen returns the message with the lowest number that is outstanding or in the retry list, or nil.
func (g *Group) lowestOpen() (lowest *message) {
	lowest = g.opened.lowest()
	for _, m := range g.retry {
		if !m.replayed && (lowest == nil || byNumber(m, lowest) < 0) {
			lowest = m
		}
	}
	return lowest
}
