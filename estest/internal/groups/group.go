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

// Group is a persistent subscription group on a stream. Its exported fields must not be changed.
type Group struct {
	Stream   string
	Name     string
	Settings Settings

	set      *Set
	saved    []byte   // the entry in the configuration; nil until it was written
	savedOf  Settings // those in saved
	strategy strategy
	clients  []*Client // in the order in which they joined

	live        bool
	faulted     bool  // the stream was deleted: the group drops each client that joins
	next        int64 // the number to read on from while the group is behind
	dropFirst   bool  // the group takes the next event that it reads for the one at the checkpoint
	buffer      fifo.Queue[*message]
	newest      fifo.Queue[*message] // the last events that were written
	retry       []*message           // by order; from 21.10 on replayed events come last
	outstanding map[esproto.GUID]*message
	opened      openMessages // the outstanding messages, and some that were settled
	lastKnown   int64        // the highest number that was delivered
	lastSeen    int64        // the highest number that was read or written
	checkpoint  int64        // event number of the last checkpoint
	checkedAt   time.Time
	processed   int64
	measured    gauge // of processed

	// How far the group is, in the unit in which it counts for checkpoints: an event number up to 20.10, gaps included;
	// from 21.10 on the number of events that it has delivered.
	progress     int64
	checkedUntil int64 // progress at the last checkpoint
}

// message is an event on its way through a group.
type message struct {
	event    *eventlog.Record // nil for a link whose target is gone
	link     *eventlog.Record // nil unless the event came by a link
	retries  int
	replayed bool   // it comes from the parked stream and does not count for checkpoints
	open     bool   // it is outstanding
	bucket   uint32 // of Pinned
	due      time.Time
	sent     time.Time // if the group records statistics

	// Set by the first delivery.
	sequence int64 // progress of the group with this message
	previous int64 // the checkpoint while this is the lowest message that is not settled
}

// original returns the event whose id an ack has: the link, if there is one.
func (m *message) original() *eventlog.Record {
	if m.link != nil {
		return m.link
	}
	return m.event
}

// order returns the number that sorts the retry list.
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

// ID returns the name of the group on its server.
func (g *Group) ID() string { return IDOf(g.Stream, g.Name) }

// resume starts behind the checkpoint, or at the start position of the settings if there is no checkpoint.
func (g *Group) resume() {
	g.lastKnown, g.lastSeen, g.checkpoint = -1, -1, -1
	if !g.set.cfg.Facts.CountsDeliveries {
		g.progress, g.checkedUntil = -1, -1 // also behind a checkpoint: the next one is early then
	}
	if n, ok := g.loadCheckpoint(); ok {
		g.next = n + 1
		if g.set.cfg.Facts.CountsDeliveries {
			g.lastKnown, g.checkpoint, g.next, g.dropFirst = n, n, n, true
		}
	} else if g.Settings.StartFrom < 0 {
		g.live = true
	} else {
		g.next = g.Settings.StartFrom
	}
	g.readOn(g.wantsPage())
}

// fault ends a group whose stream was deleted. It drops the clients, and Join drops later ones.
func (g *Group) fault() {
	g.faulted = true
	g.dropClients()
}

// count updates the progress of the group for a message that it delivers.
func (g *Group) count(m *message) {
	number := m.original().Number
	if !g.set.cfg.Facts.CountsDeliveries {
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

// close takes a message out of the outstanding ones, because it is settled or will be delivered again.
func (g *Group) close(m *message) {
	delete(g.outstanding, m.original().ID)
	m.open = false
}

// release frees the slots of an event at all clients that have it.
func (g *Group) release(id esproto.GUID) {
	for _, c := range g.clients {
		c.release(id)
	}
}

// Ack settles events. The correlation id is that of the client. Events that the group does not wait for are ignored.
func (g *Group) Ack(ids []esproto.GUID, correlation esproto.CorrelationID) {
	for _, id := range ids {
		for _, c := range g.clients {
			if c.id == correlation || g.set.cfg.Facts.AckFreesAllSlots {
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

// Nak retries or parks events according to the action, and settles events that it does not retry. The metadata of a
// parked event has the reason.
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

// again retries a message, or parks it if it was retried often enough. A leader without a majority cannot write, so it
// does not park: the message stays outstanding until a later tick.
func (g *Group) again(m *message) {
	if m.retries >= g.Settings.MaxRetryCount {
		if !g.set.cfg.Majority() {
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

// tick retries messages whose time is over, and writes a checkpoint if one is due.
func (g *Group) tick(now time.Time) {
	var late []*message
	if g.timesOut() {
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

// timesOut reports whether the group retries a message that a client has had for some time.
func (g *Group) timesOut() bool {
	return g.Settings.MessageTimeout > 0 || g.set.cfg.Facts.ZeroTimeoutIsOver
}

func byNumber(a, b *message) int { return cmp.Compare(a.original().Number, b.original().Number) }
