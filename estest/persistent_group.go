package estest

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// group is a persistent subscription group. core.mu guards it. What waits in it is in persistent_buffer.go.
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
	newest      queue[*message] // the last events that were written: where the group becomes live again
	retry       []*message      // by order, those from the parked stream behind the others from 21.10 on
	outstanding map[esproto.GUID]*message
	lowest      numberHeap // of the outstanding messages, and of some that are not any more
	lastKnown   int64      // the highest number that was delivered
	lastSeen    int64      // the highest number that was read or written
	checkpoint  int64      // the last one written
	checkedAt   time.Time
	processed   int64
	measured    gauge // of processed

	// How far the group is, in the unit in which checkpoints are counted: event numbers up to 20.10, gaps included;
	// from 21.10 on how many events were delivered.
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
	replayed bool   // it came out of the parked stream: it does not count for checkpoints
	open     bool   // it was delivered and is waited for
	bucket   uint32 // that Pinned put it into
	due      time.Time
	sent     time.Time // if the group records statistics

	// Set when it is delivered for the first time.
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

// order is the number by which retried messages are sorted.
func (p *persona) order(m *message) int64 {
	if m.event != nil && !p.retriesByOriginal {
		return m.event.number
	}
	return m.original().number
}

// client is a subscriber of a group.
type client struct {
	group   *group
	caller  *caller
	id      esproto.CorrelationID
	user    *user
	allowed int // how many events it may have
	held    map[esproto.GUID]*message
	taken   int // slots in use; more than len(held) where two events of one id were sent, which are acked together
	total   int64

	measured  gauge   // of total
	latencies []int64 // the last ones, in milliseconds, if the group records statistics
}

func (c *client) free() int { return c.allowed - c.taken }

func newGroup(c *core, stream, name string, s groupSettings) *group {
	g := &group{
		core: c, stream: stream, name: name, settings: s, strategy: newStrategy(s.strategy),
		outstanding: make(map[esproto.GUID]*message),
	}
	g.resume()
	return g
}

// id is what the server calls the group.
func (g *group) id() string { return g.stream + "::" + g.name }

// resume begins behind the checkpoint, or where the settings say if there is none.
func (g *group) resume() {
	g.lastKnown, g.lastSeen, g.checkpoint = -1, -1, -1
	if !g.core.persona.countsDeliveries {
		g.progress, g.checkedUntil = -1, -1 // also behind a checkpoint: the first one after it is written early
	}
	if n, ok := g.loadCheckpoint(); ok {
		g.next = n + 1
		if g.core.persona.countsDeliveries {
			g.lastKnown, g.checkpoint, g.next, g.dropFirst = n, n, n, true
		}
	} else if g.settings.startFrom < 0 {
		g.live = true
	} else {
		g.next = g.settings.startFrom
	}
	g.readOn(g.wantsPage())
}

// fault ends a group whose stream cannot be read: its clients are dropped, and those that come are, too.
func (g *group) fault() {
	g.faulted = true
	g.core.dropClients(g)
}

// deliver sends a message to a client that has room. A second event with an id that is outstanding is sent, but nobody
// waits for its ack.
func (c *client) deliver(m *message) {
	g, id := c.group, m.original().id
	c.taken++
	c.total++
	g.processed++
	if !m.replayed {
		g.count(m)
	}
	if _, twice := c.held[id]; !twice {
		c.held[id] = m
	}
	if g.settings.recordStatistics {
		m.sent = g.core.now()
	}
	if _, twice := g.outstanding[id]; !twice {
		m.open, m.due = true, g.core.now().Add(g.settings.messageTimeout)
		g.outstanding[id] = m
		if !m.replayed {
			heap.Push(&g.lowest, m)
		}
	}
	style := g.core.persona.style
	c.caller.push(esproto.CmdPersistentSubscriptionStreamEventAppeared, c.id, func(b []byte) []byte {
		return esproto.AppendPersistentEvent(b, c.caller.wire(m.event), c.caller.wire(m.link), int32(m.retries), style)
	})
}

// release frees the slot that an event takes at this client.
func (c *client) release(id esproto.GUID) {
	m := c.held[id]
	if m == nil {
		return
	}
	delete(c.held, id)
	c.taken--
	if c.group.settings.recordStatistics {
		if len(c.latencies) == latencyWindow {
			c.latencies = c.latencies[1:]
		}
		c.latencies = append(c.latencies, c.group.core.now().Sub(m.sent).Milliseconds())
	}
	c.group.strategy.settled(c, m)
}

// count notes how far the group is with a message that it delivers.
func (g *group) count(m *message) {
	number := m.original().number
	if !g.core.persona.countsDeliveries {
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

// close ends the wait for a message: it is settled, or will be delivered again.
func (g *group) close(m *message) {
	delete(g.outstanding, m.original().id)
	m.open = false
}

// release frees the slots that an event takes, at all clients that have it.
func (g *group) release(id esproto.GUID) {
	for _, c := range g.clients {
		c.release(id)
	}
}

// settle takes events for dealt with. correlation is that of the ack, and of the client that sent it.
func (g *group) settle(ids []esproto.GUID, correlation esproto.CorrelationID) {
	for _, id := range ids {
		for _, c := range g.clients {
			if c.id == correlation || g.core.persona.ackFreesAllSlots {
				c.release(id)
			}
		}
		if m := g.outstanding[id]; m != nil {
			g.close(m)
		}
	}
	g.mark(false)
	more := g.wantsPage()
	g.dispatch()
	g.readOn(more)
}

// nak does with events what the client asks for. Whatever is not delivered again is settled.
func (g *group) nak(
	ids []esproto.GUID, correlation esproto.CorrelationID, action esproto.PersistentSubscriptionNakEvents_NakAction,
	reason string,
) {
	for _, id := range ids {
		m := g.outstanding[id]
		if m == nil {
			continue
		}
		switch action {
		case esproto.PersistentSubscriptionNakEvents_Park:
			g.park(m, "Client explicitly NAK'ed message.\n"+reason)
		case esproto.PersistentSubscriptionNakEvents_Retry, esproto.PersistentSubscriptionNakEvents_Unknown:
			g.again(m)
		}
	}
	g.settle(ids, correlation)
}

// again has a message delivered once more, or parks it if that has been tried often enough. Without a majority, which a
// write needs, it is not parked: it stays outstanding, and tick comes back to it.
func (g *group) again(m *message) {
	if m.retries >= g.settings.maxRetryCount {
		if !g.core.hasMajority() {
			return
		}
		g.park(m, fmt.Sprintf("Reached retry count of %d", g.settings.maxRetryCount))
		return
	}
	g.retryLater(m, m.retries+1)
}

func (g *group) retryLater(m *message, retries int) {
	g.close(m)
	g.release(m.original().id)
	g.addRetry(m, retries)
}

// tick looks at the clock, as the server does once a second.
func (g *group) tick(now time.Time) {
	var late []*message
	if g.settings.messageTimeout > 0 || g.core.persona.zeroTimeoutIsOver {
		for _, m := range g.outstanding {
			if !m.due.After(now) {
				late = append(late, m)
			}
		}
	}
	slices.SortFunc(late, func(a, b *message) int { return cmp.Or(a.due.Compare(b.due), byNumber(a, b)) })
	for _, m := range late {
		g.again(m)
	}
	g.dispatch()
	g.mark(true)
}

// join adds a client.
func (g *group) join(c *client) {
	g.clients = append(g.clients, c)
	g.strategy.join(c)
	g.dispatch()
}

// leave removes clients, which have unsubscribed or were lost with their connection. What they had is delivered to
// others. Where that counts as one retry more, it may be too many if the client was lost: the first event that is
// parked for it ends the loop, so that the others wait for their timeout.
func (g *group) leave(gone func(c *client) bool, lost bool) {
	var held []*message
	g.clients = slices.DeleteFunc(g.clients, func(c *client) bool {
		if !gone(c) {
			return false
		}
		g.strategy.leave(c)
		for _, m := range c.held {
			held = append(held, m)
		}
		return true
	})
	slices.SortFunc(held, byNumber)
	for _, m := range held {
		switch {
		case !g.core.persona.leavingAddsRetry:
			g.retryLater(m, 1)
		case lost && m.retries >= g.settings.maxRetryCount:
			g.again(m)
			g.dispatch()
			return
		default:
			g.retryLater(m, m.retries+1)
		}
	}
	g.dispatch()
}

func byNumber(a, b *message) int { return cmp.Compare(a.original().number, b.original().number) }
