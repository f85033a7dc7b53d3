package groups

import (
	"math"
	"slices"
	"time"
)

// Counters are the counters of a group at one moment.
type Counters struct {
	Live       bool // whether it has read all that there is
	Clients    int
	InFlight   int   // events that clients have and did not settle
	Waiting    int   // events that wait to be delivered for the first time
	Newest     int   // events that it remembers, to become live again where it meets them
	Retrying   int   // events that wait to be delivered again
	Parked     int   // events in its parked stream
	Processed  int64 // events that were delivered, each time counted
	Checkpoint int64 // the last one that was written; -1 before
	LastSeen   int64 // the highest number that was read or written; -1 before
}

// Counters returns the counters of the group.
func (g *Group) Counters() Counters {
	n := Counters{
		Live: g.live, Clients: len(g.clients), InFlight: len(g.outstanding), Waiting: g.buffer.Len(),
		Newest: g.newest.Len(), Retrying: len(g.retry), Processed: g.processed, Checkpoint: g.checkpoint,
		LastSeen: g.lastSeen,
	}
	if s := g.set.Log.Stream(g.parkedStream()); s != nil {
		_, _, n.Parked = s.Extent(g.set.Now())
	}
	return n
}

// Clients returns the clients of the group, in the order in which they came.
func (g *Group) Clients() []*Client { return g.clients }

// Measure begins a new measurement, and returns how many events were delivered in the last one.
func (g *Group) Measure() (delivered int64, perSecond float64) {
	return g.measured.look(g.processed, g.set.Now())
}

// Peer tells who the client is.
func (c *Client) Peer() Peer { return c.consumer.Peer() }

// Total returns how many events were delivered to the client, each time counted.
func (c *Client) Total() int64 { return c.total }

// InFlight returns how many events the client has.
func (c *Client) InFlight() int { return c.taken }

// Free returns how many more events the client may have.
func (c *Client) Free() int { return c.allowed - c.taken }

// Measure begins a new measurement, and returns how many events were delivered in the last one.
func (c *Client) Measure() (delivered int64, perSecond float64) {
	return c.measured.look(c.total, c.group.set.Now())
}

// latencyWindow is how many latencies of a client are kept.
const latencyWindow = 1000

// Latencies returns how long the client took to settle the last events, in milliseconds and in ascending order. They
// are kept only if the group records statistics.
func (c *Client) Latencies() []int64 { return slices.Sorted(slices.Values(c.latencies)) }

// gauge tells how much a counter has grown since it was looked at last.
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
