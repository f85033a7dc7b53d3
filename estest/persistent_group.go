package estest

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// group is a persistent subscription group. core.mu guards it.
//
// Events wait in the buffer in the order of their numbers, those to be delivered again in the retry list. While the group
// is live, events go into the buffer as they are written; when it is full the group falls behind and reads them later.
type group struct {
	core     *core
	stream   string
	name     string
	settings groupSettings
	strategy strategy
	clients  []*client // in the order in which they came

	live        bool
	faulted     bool  // the stream cannot be read: clients are dropped as they come
	next        int64 // where to read on while behind
	dropFirst   bool  // the next event that is read is taken for the one at the checkpoint
	buffer      queue[*message]
	retry       []*message // by order, those from the parked stream behind the others from 21.10 on
	outstanding map[esproto.GUID]*message
	lowest      numberHeap // of the outstanding messages, and of some that are not any more
	lastKnown   int64      // the highest number that was pushed
	checkpoint  int64      // the last one written
	checkedAt   time.Time
	processed   int64

	// How far the group is, in the unit in which checkpoints are counted: event numbers up to 20.10, gaps included; from
	// 21.10 on how many events were pushed.
	progress     int64
	checkedUntil int64 // progress at the last checkpoint
}

// groupSettings are those of CreatePersistentSubscription.
type groupSettings struct {
	resolveLinks     bool
	startFrom        int64
	messageTimeout   time.Duration
	recordStatistics bool
	liveBufferSize   int
	readBatchSize    int
	bufferSize       int
	maxRetryCount    int
	checkpointAfter  time.Duration
	checkpointMax    int64
	checkpointMin    int64
	maxSubscribers   int
	strategy         string
}

// message is an event on its way through a group.
type message struct {
	event    *record // nil for a link whose target is gone
	link     *record // nil unless the event came by a link
	retries  int
	replayed bool    // it came out of the parked stream: it does not count for checkpoints
	open     bool    // it was pushed and is waited for
	client   *client // that has it; nil while it waits
	due      time.Time

	// Set when it is pushed for the first time.
	sequence int64 // the group's progress with it
	previous int64 // where the checkpoint is while this is the first that is not settled
}

// original is the event that acks name.
func (m *message) original() *record {
	if m.link != nil {
		return m.link
	}
	return m.event
}

// order is the number by which retried messages are sorted: up to 20.10 that of the event that the message is about, then
// that of the original event.
func (p *persona) order(m *message) int64 {
	if m.event != nil && !p.since(era21) {
		return m.event.number
	}
	return m.original().number
}

// client is a subscriber of a group.
type client struct {
	group   *group
	conn    *conn
	id      esproto.CorrelationID
	user    *user
	allowed int // how many events it may have
	held    map[esproto.GUID]*message
	taken   int // slots in use; more than len(held) where two events of one id were sent
	total   int64
}

func (c *client) free() int { return c.allowed - c.taken }

const (
	maxReadBatch     = 100
	defaultReadBatch = 10
)

func newGroup(c *core, stream, name string, s groupSettings) *group {
	g := &group{core: c, stream: stream, name: name, settings: s, strategy: newStrategy(s.strategy),
		outstanding: make(map[esproto.GUID]*message), checkedAt: c.now()}
	g.resume()
	return g
}

// id is what the server calls the group.
func (g *group) id() string { return g.stream + "::" + g.name }

// resume begins behind the checkpoint, or where the settings say if there is none.
func (g *group) resume() {
	g.lastKnown, g.checkpoint = -1, -1
	if !g.countsPushes() {
		g.progress, g.checkedUntil = -1, -1
	}
	if n, ok := g.loadCheckpoint(); ok {
		g.lastKnown, g.checkpoint, g.next = n, n, n+1
		if g.countsPushes() {
			g.next, g.dropFirst = n, true
		} else {
			g.progress, g.checkedUntil = n, n
		}
	} else if g.settings.startFrom < 0 {
		g.live = true
		return
	} else {
		g.next = g.settings.startFrom
	}
	g.fill()
}

// fill reads pages while the group is behind and there is room for one.
func (g *group) fill() {
	for !g.live && !g.faulted && g.roomForPage() {
		if g.core.hardDeleted(g.stream) && g.core.persona.since(era21) {
			g.fault()
			return
		}
		s := g.core.stream(g.stream)
		if s == nil || s.last() < 0 || s.hardDeleted() || s.softDeleted() {
			g.live = true
			return
		}
		recs, next, end := g.core.readForward(s, g.next, g.pageSize())
		if g.dropFirst && len(recs) > 0 {
			recs, g.dropFirst = recs[1:], false
		}
		for _, r := range recs {
			g.buffer.push(g.newMessage(r))
		}
		g.next = max(next, g.next)
		g.live = end
	}
}

// countsPushes reports how progress is counted; see there.
func (g *group) countsPushes() bool { return g.core.persona.since(era21) }

// fault ends a group whose stream cannot be read: its clients are dropped, and those that come are, too.
func (g *group) fault() {
	g.faulted = true
	g.core.dropClients(g)
}

func (g *group) pageSize() int {
	if g.settings.readBatchSize <= 0 {
		return defaultReadBatch
	}
	return min(g.settings.readBatchSize, maxReadBatch)
}

func (g *group) roomForPage() bool {
	return g.settings.bufferSize-g.buffer.len()-len(g.retry) > g.settings.readBatchSize
}

func (g *group) newMessage(r *record) *message {
	m := &message{event: r}
	if g.settings.resolveLinks {
		m.event, m.link = g.core.resolve(r)
	}
	return m
}

// written tells a group of an event that was just written to its stream.
func (g *group) written(r *record) {
	if r.number < g.settings.startFrom || !g.live {
		return
	}
	if g.buffer.len()+len(g.retry) >= max(g.settings.bufferSize, 1) {
		g.live, g.next = false, r.number
		return
	}
	g.buffer.push(g.newMessage(r))
}

// pump pushes what can be pushed and reads what there is room for, until neither goes on.
func (g *group) pump() {
	for {
		g.fill()
		if !g.push() || g.live {
			return
		}
	}
}

// push offers the waiting messages to the clients, those to be delivered again first. It returns whether any was taken.
func (g *group) push() (any bool) {
	if len(g.clients) == 0 {
		return false
	}
	kept := g.retry[:0]
	capacity := true
	for i, m := range g.retry {
		if !capacity {
			kept = append(kept, g.retry[i:]...)
			break
		}
		switch g.strategy.push(m) {
		case pushed:
			any = true
		case skipped:
			kept = append(kept, m)
		case noCapacity:
			kept = append(kept, m)
			capacity = false
		}
	}
	clear(g.retry[len(kept):])
	g.retry = kept
	if capacity {
		any = g.pushBuffer() || any
	}
	return any
}

func (g *group) pushBuffer() (any bool) {
	var passedOver []*message
	for g.buffer.len() > 0 {
		m := g.buffer.peek()
		result := g.strategy.push(m)
		if result == noCapacity {
			break
		}
		g.buffer.pop()
		if result == skipped {
			passedOver = append(passedOver, m)
			continue
		}
		any = true
	}
	if len(passedOver) > 0 {
		g.buffer.unpop(passedOver)
	}
	return any
}

// give sends a message to a client that has room. A second event with an id that is outstanding is sent, but only its
// slot is counted: nobody waits for its ack.
func (c *client) give(m *message) {
	g, o := c.group, m.original()
	c.taken++
	c.total++
	g.processed++
	if !m.replayed {
		g.count(m)
	}
	if _, twice := g.outstanding[o.id]; !twice {
		m.client, m.open, m.due = c, true, g.core.now().Add(g.settings.messageTimeout)
		c.held[o.id] = m
		g.outstanding[o.id] = m
		if !m.replayed {
			heap.Push(&g.lowest, m)
		}
	}
	style := g.core.persona.style
	c.conn.push(esproto.CmdPersistentSubscriptionStreamEventAppeared, c.id, func(b []byte) []byte {
		return esproto.AppendPersistentEvent(b, c.conn.wire(m.event), c.conn.wire(m.link), int32(m.retries), style)
	})
}

// count notes how far the group is with a message that it pushes.
func (g *group) count(m *message) {
	number := m.original().number
	if !g.countsPushes() {
		g.lastKnown = max(g.lastKnown, number)
		g.progress, m.sequence, m.previous = g.lastKnown, number, number-1
		return
	}
	if m.sequence == 0 {
		g.progress++
		m.sequence, m.previous = g.progress, min(g.lastKnown, number-1)
	}
	g.lastKnown = max(g.lastKnown, number)
}

// take ends the wait for a message: it is settled, or will be delivered again. freeSlot is false where the client is
// taken to have it still.
func (g *group) take(m *message, freeSlot bool) {
	id := m.original().id
	delete(g.outstanding, id)
	if c := m.client; c != nil && freeSlot {
		delete(c.held, id)
		c.taken--
	}
	m.client, m.open = nil, false
}

// ack settles events. correlation is that of the ack: in 4.1.4 the client keeps its slot if it is another.
func (g *group) ack(ids []esproto.GUID, correlation esproto.CorrelationID) {
	for _, id := range ids {
		if m := g.outstanding[id]; m != nil {
			g.take(m, g.core.persona.since(era5) || m.client != nil && m.client.id == correlation)
		}
	}
	g.mark(false)
	g.pump()
}

// nak does with events what the client asks for.
func (g *group) nak(ids []esproto.GUID, action esproto.PersistentSubscriptionNakEvents_NakAction, reason string) {
	for _, id := range ids {
		m := g.outstanding[id]
		if m == nil {
			continue
		}
		g.take(m, true)
		switch action {
		case esproto.PersistentSubscriptionNakEvents_Park:
			g.park(m, "Client explicitly NAK'ed message.\n"+reason)
		case esproto.PersistentSubscriptionNakEvents_Retry, esproto.PersistentSubscriptionNakEvents_Unknown:
			g.again(m)
		}
	}
	g.mark(false)
	g.pump()
}

// again has a message delivered once more, or parks it if that has been tried often enough.
func (g *group) again(m *message) {
	if m.retries >= g.settings.maxRetryCount {
		g.park(m, parkedReason(m.retries))
		return
	}
	g.addRetry(m, m.retries+1)
}

// addRetry puts a message into the retry list, behind those with the same number.
func (g *group) addRetry(m *message, retries int) {
	m.retries = retries
	p := g.core.persona
	n := p.order(m)
	parkedLast := p.since(era21)
	i := sort.Search(len(g.retry), func(i int) bool {
		o := g.retry[i]
		if parkedLast && o.replayed != m.replayed {
			return o.replayed
		}
		return p.order(o) > n && !(parkedLast && m.replayed)
	})
	g.retry = slices.Insert(g.retry, i, m)
}

// tick looks at the clock, as the server does once a second.
func (g *group) tick(now time.Time) {
	var late []*message
	if g.settings.messageTimeout > 0 || g.core.persona.since(era20) {
		for _, m := range g.outstanding {
			if !m.due.After(now) {
				late = append(late, m)
			}
		}
	}
	slices.SortFunc(late, byNumber)
	for _, m := range late {
		g.take(m, true)
		g.again(m)
	}
	g.mark(true)
	g.pump()
}

// join adds a client.
func (g *group) join(c *client) {
	g.clients = append(g.clients, c)
	g.strategy.join(c)
	g.pump()
}

// leave removes a client, which has unsubscribed or was lost. What it had is delivered to others. Up to 5.0 that counts as
// the first retry and never parks an event. From 20.6 on it counts as one more, and if the client was lost that may be too
// many; the first event that is parked for it ends the loop, so that the others wait for their timeout.
func (g *group) leave(c *client, lost bool) {
	g.clients = slices.DeleteFunc(g.clients, func(o *client) bool { return o == c })
	g.strategy.leave(c)
	held := slices.SortedFunc(maps.Values(c.held), byNumber)
	for _, m := range held {
		m.client = nil
	}
	for _, m := range held {
		g.take(m, false)
		switch {
		case !g.core.persona.since(era20):
			g.addRetry(m, 1)
		case lost && m.retries >= g.settings.maxRetryCount:
			g.park(m, parkedReason(m.retries))
			g.pump()
			return
		default:
			g.addRetry(m, m.retries+1)
		}
	}
	g.pump()
}

func byNumber(a, b *message) int { return cmp.Compare(a.original().number, b.original().number) }

// numberHeap finds the lowest outstanding number. Messages that are settled stay until they reach the top.
type numberHeap []*message

func (h numberHeap) Len() int           { return len(h) }
func (h numberHeap) Less(i, j int) bool { return h[i].original().number < h[j].original().number }
func (h numberHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *numberHeap) Push(x any)        { *h = append(*h, x.(*message)) }

func (h *numberHeap) Pop() any {
	old := *h
	m := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return m
}

// lowestOpen returns the message with the lowest number of those that are outstanding or to be delivered again; nil
// without one.
func (g *group) lowestOpen() (lowest *message) {
	for len(g.lowest) > 0 && !g.lowest[0].open {
		heap.Pop(&g.lowest)
	}
	if len(g.lowest) > 0 {
		lowest = g.lowest[0]
	}
	for _, m := range g.retry {
		if !m.replayed && (lowest == nil || byNumber(m, lowest) < 0) {
			lowest = m
		}
	}
	return lowest
}
