package groups

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/fifo"
)

// Group is a persistent subscription group of a stream. What waits in it is in buffer.go.
type Group struct {
	Stream   string
	Name     string
	Settings Settings

	set      *Set
	strategy strategy
	clients  []*Client // in the order in which they came

	live        bool
	faulted     bool  // the stream cannot be read: clients are dropped as they come
	next        int64 // where to read on while behind
	dropFirst   bool  // the next event that is read is taken for the one at the checkpoint
	buffer      fifo.Queue[*message]
	newest      fifo.Queue[*message] // the last events that were written: where the group becomes live again
	retry       []*message           // by order, those from the parked stream behind the others from 21.10 on
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

// message is an event on its way through a group.
type message struct {
	event    *eventlog.Record // nil for a link whose target is gone
	link     *eventlog.Record // nil unless the event came by a link
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
func (m *message) original() *eventlog.Record {
	if m.link != nil {
		return m.link
	}
	return m.event
}

// order is the number by which retried messages are sorted.
func (f *Facts) order(m *message) int64 {
	if m.event != nil && !f.RetriesByOriginal {
		return m.event.Number
	}
	return m.original().Number
}

func newGroup(set *Set, stream, name string, settings Settings) *Group {
	g := &Group{
		set: set, Stream: stream, Name: name, Settings: settings, strategy: newStrategy(settings.Strategy),
		outstanding: make(map[esproto.GUID]*message),
	}
	g.resume()
	return g
}

// ID is what the server calls the group.
func (g *Group) ID() string { return IDOf(g.Stream, g.Name) }

// resume begins behind the checkpoint, or where the settings say if there is none.
func (g *Group) resume() {
	g.lastKnown, g.lastSeen, g.checkpoint = -1, -1, -1
	if !g.set.Facts.CountsDeliveries {
		g.progress, g.checkedUntil = -1, -1 // also behind a checkpoint: the first one after it is written early
	}
	if n, ok := g.loadCheckpoint(); ok {
		g.next = n + 1
		if g.set.Facts.CountsDeliveries {
			g.lastKnown, g.checkpoint, g.next, g.dropFirst = n, n, n, true
		}
	} else if g.Settings.StartFrom < 0 {
		g.live = true
	} else {
		g.next = g.Settings.StartFrom
	}
	g.readOn(g.wantsPage())
}

// fault ends a group whose stream cannot be read: its clients are dropped, and those that come are, too.
func (g *Group) fault() {
	g.faulted = true
	g.dropClients()
}

// count notes how far the group is with a message that it delivers.
func (g *Group) count(m *message) {
	number := m.original().Number
	if !g.set.Facts.CountsDeliveries {
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
func (g *Group) close(m *message) {
	delete(g.outstanding, m.original().ID)
	m.open = false
}

// release frees the slots that an event takes, at all clients that have it.
func (g *Group) release(id esproto.GUID) {
	for _, c := range g.clients {
		c.release(id)
	}
}

// Ack settles events. correlation is that of the ack, and of the client that sent it.
func (g *Group) Ack(ids []esproto.GUID, correlation esproto.CorrelationID) {
	for _, id := range ids {
		for _, c := range g.clients {
			if c.id == correlation || g.set.Facts.AckFreesAllSlots {
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

// Nak does with events what the client asks for. It settles those that are not to be delivered again.
func (g *Group) Nak(
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
	g.Ack(ids, correlation)
}

// again has a message delivered once more, or parks it if that has been tried often enough. Without a majority, which a
// write needs, it is not parked: it stays outstanding, and tick comes back to it.
func (g *Group) again(m *message) {
	if m.retries >= g.Settings.MaxRetryCount {
		if !g.set.Majority() {
			return
		}
		g.park(m, fmt.Sprintf("Reached retry count of %d", g.Settings.MaxRetryCount))
		return
	}
	g.retryLater(m, m.retries+1)
}

func (g *Group) retryLater(m *message, retries int) {
	g.close(m)
	g.release(m.original().ID)
	g.addRetry(m, retries)
}

// tick looks at the clock, as the server does once a second.
func (g *Group) tick(now time.Time) {
	var late []*message
	if g.Settings.MessageTimeout > 0 || g.set.Facts.ZeroTimeoutIsOver {
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

func byNumber(a, b *message) int { return cmp.Compare(a.original().Number, b.original().Number) }
