package groups

import (
	"math"
	"slices"
	"time"
)

// Counters are the counters of a group at one moment.
type Counters struct {
	Live       bool // whether it has read its stream to the end
	Clients    int
	InFlight   int   // events that clients have and that are not settled
	Waiting    int   // events that wait to be delivered for the first time
	Newest     int   // events that it remembers, to become live again when it reads one of them
	Retrying   int   // events that wait to be delivered again
	Parked     int   // events in its parked stream
	Processed  int64 // how often an event was delivered
	Checkpoint int64 // event number of the last checkpoint; -1 without one
	LastSeen   int64 // the highest event number that was read or written; -1 without one
}

// Counters returns the counters of the group at this moment.
func (g *Group) Counters() Counters {
	n := Counters{
		Live: g.live, Clients: len(g.clients), InFlight: len(g.outstanding), Waiting: g.buffer.Len(),
		Newest: g.newest.Len(), Retrying: len(g.retry), Processed: g.processed, Checkpoint: g.checkpoint,
		LastSeen: g.lastSeen,
	}
	if s := g.set.cfg.Log.Stream(g.parkedStream()); s != nil {
		_, _, n.Parked = s.Extent(g.set.cfg.Now())
	}
	return n
}

// Clients returns the clients of the group in the order in which they joined. The caller must not change the slice.
func (g *Group) Clients() []*Client { return g.clients }

// Measure returns how often the group has delivered an event since the last call, in total and per second.
func (g *Group) Measure() (delivered int64, perSecond float64) {
	return g.measured.look(g.processed, g.set.cfg.Now())
}

// Peer describes the consumer.
func (c *Client) Peer() Peer { return c.consumer.Peer() }

// Total returns how often an event was delivered to the client.
func (c *Client) Total() int64 { return c.total }

// InFlight returns how many slots of the client are in use.
func (c *Client) InFlight() int { return c.taken }

// Free returns how many slots of the client are free.
func (c *Client) Free() int { return c.allowed - c.taken }

// Measure returns how often an event was delivered to the client since the last call, in total and per second.
func (c *Client) Measure() (delivered int64, perSecond float64) {
	return c.measured.look(c.total, c.group.set.cfg.Now())
}

// latencyWindow is how many latencies the group keeps for each client.
const latencyWindow = 1000

// Latencies returns how long the client took to settle its last 1000 events, in milliseconds and in ascending order. It
// returns none unless the group records statistics.
func (c *Client) Latencies() []int64 { return slices.Sorted(slices.Values(c.latencies)) }

// gauge tells how much a counter has grown since the last look.
type gauge struct {
	count int64
	at    time.Time
}

func (g *gauge) look(count int64, now time.Time) (grown int64, perSecond float64) {
	grown = count - g.count
	if elapsed := now.Sub(g.at); elapsed > 0 {
		perSecond = math.Trunc(float64(grown) / elapsed.Seconds())
	}
	g.count, g.at = count, now
	return grown, perSecond
}
