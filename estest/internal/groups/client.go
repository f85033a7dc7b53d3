package groups

import (
	"slices"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// Consumer is the other end of a subscription to a group.
type Consumer interface {
	// Deliver gets the consumer an event, which may have come by a link. retries says how often the group delivered it
	// before. event is nil for a link whose target is gone.
	Deliver(event, link *eventlog.Record, retries int)
	// Drop tells the consumer that its subscription has ended.
	Drop()
	// Peer describes the consumer.
	Peer() Peer
}

// Peer identifies a consumer in statistics.
type Peer struct {
	Address    string
	Login      string // empty without a user
	Connection string // name of the connection; empty if it has none
}

// Client is a consumer that has joined a group.
type Client struct {
	group      *Group
	consumer   Consumer
	id         esproto.CorrelationID
	connection string
	allowed    int // how many events it may have in flight
	held       map[esproto.GUID]*message
	taken      int // slots in use; more than len(held) if two events of one id were delivered
	total      int64

	measured  gauge   // of total
	latencies []int64 // the last ones, in milliseconds, if the group records statistics
}

// Full reports whether the group has as many clients as its settings allow.
func (g *Group) Full() bool {
	return g.Settings.MaxSubscribers != 0 && len(g.clients) >= g.Settings.MaxSubscribers
}

// Join adds a consumer that may have allowed events in flight. The consumer sends its acks with the correlation id id,
// and Lost ends it by its connection. A group whose stream was deleted drops the consumer at once. A consumer whose
// correlation id another client of the group has gets nothing.
func (g *Group) Join(to Consumer, id esproto.CorrelationID, connection string, allowed int) {
	switch {
	case g.faulted:
		to.Drop()
		return
	case slices.ContainsFunc(g.clients, func(o *Client) bool { return o.id == id }):
		return
	}
	c := &Client{
		group: g, consumer: to, id: id, connection: connection, allowed: allowed,
		held: make(map[esproto.GUID]*message),
	}
	g.clients = append(g.clients, c)
	g.strategy.join(c)
	g.dispatch()
}

// leave removes clients that have unsubscribed or lost their connection, and gives back their events in flight. Some
// versions count that as a retry. If a lost client had an event with too many retries, the group parks the first such
// event and stops there, as the server does: later events wait for their timeout.
func (g *Group) leave(gone func(c *Client) bool, lost bool) {
	var held []*message
	g.clients = slices.DeleteFunc(g.clients, func(c *Client) bool {
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
		case !g.set.cfg.Facts.LeavingAddsRetry:
			g.retryLater(m, 1)
		case lost && m.retries >= g.Settings.MaxRetryCount:
			g.again(m)
			g.dispatch()
			return
		default:
			g.retryLater(m, m.retries+1)
		}
	}
	g.dispatch()
}

// dropClients removes all clients, and tells them.
func (g *Group) dropClients() {
	for _, c := range g.clients {
		c.consumer.Drop()
	}
	g.clients = nil
}

// deliver delivers a message to a client that has a free slot. The group delivers a second event of an id that is
// outstanding, but does not wait for its ack.
func (c *Client) deliver(m *message) {
	g, id := c.group, m.original().ID
	c.taken++
	c.total++
	g.processed++
	if !m.replayed {
		g.count(m)
	}
	if _, twice := c.held[id]; !twice {
		c.held[id] = m
	}
	if g.Settings.RecordStatistics {
		m.sent = g.set.cfg.Now()
	}
	if _, twice := g.outstanding[id]; !twice {
		m.open = true
		if g.timesOut() {
			m.due = g.set.cfg.Now().Add(g.Settings.MessageTimeout)
		}
		g.outstanding[id] = m
		if !m.replayed {
			g.opened.add(m)
		}
	}
	c.consumer.Deliver(m.event, m.link, m.retries)
}

// release frees the slot of an event at this client.
func (c *Client) release(id esproto.GUID) {
	m := c.held[id]
	if m == nil {
		return
	}
	delete(c.held, id)
	c.taken--
	if c.group.Settings.RecordStatistics {
		if len(c.latencies) == latencyWindow {
			c.latencies = c.latencies[1:]
		}
		c.latencies = append(c.latencies, c.group.set.cfg.Now().Sub(m.sent).Milliseconds())
	}
	c.group.strategy.settled(c, m)
}
