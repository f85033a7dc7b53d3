package estest

import (
	"sync/atomic"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/groups"
)

// traffic counts bytes and frames in both directions, since the first start of the server.
type traffic struct {
	connections       atomic.Int64
	bytesIn, bytesOut atomic.Int64
	framesIn          [256]atomic.Int64 // by command
	framesOut         [256]atomic.Int64
}

// Stats are the counters of a server. The counters of traffic go on over [Server.Restart].
type Stats struct {
	Connections      int   // that are open now
	ConnectionsTotal int64 // that were ever accepted
	BytesIn          int64
	BytesOut         int64
	FramesIn         map[esproto.Command]int64 // commands that never came are not there
	FramesOut        map[esproto.Command]int64 // counted when they are ready to be sent
	Streams          int                       // with events, the server's own included
	Events           int                       // in the log, including events that metadata hides
	Subscriptions    int                       // volatile ones
	InFlight         int                       // events that clients of all groups have and did not settle
	Parked           int                       // events in the parked streams of all groups
	Groups           []GroupStats              // by stream and group
}

// GroupStats are the counters of one persistent subscription group.
type GroupStats struct {
	Stream     string `json:"stream"`
	Group      string `json:"group"`
	Strategy   string `json:"strategy"`
	Clients    int    `json:"clients"`
	InFlight   int    `json:"inFlight"`   // events that clients have and did not settle
	Waiting    int    `json:"waiting"`    // events that were read for the group and not yet sent
	Retrying   int    `json:"retrying"`   // events that wait to be sent again
	Parked     int    `json:"parked"`     // events in its parked stream
	Processed  int64  `json:"processed"`  // events that were sent, each time counted
	Checkpoint int64  `json:"checkpoint"` // the last one that was written; -1 before
}

// Stats returns the counters at one moment.
func (s *Server) Stats() Stats {
	t, c := &s.traffic, s.core
	stats := Stats{
		ConnectionsTotal: t.connections.Load(), BytesIn: t.bytesIn.Load(), BytesOut: t.bytesOut.Load(),
		FramesIn: byCommand(&t.framesIn), FramesOut: byCommand(&t.framesOut),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	stats.Connections, stats.Subscriptions = len(c.conns), len(c.volatile.byID)
	stats.Events = c.log.Records().Len()
	for range c.log.Streams() {
		stats.Streams++
	}
	for _, g := range c.groups.All() {
		gs := groupStats(g)
		stats.InFlight += gs.InFlight
		stats.Parked += gs.Parked
		stats.Groups = append(stats.Groups, gs)
	}
	return stats
}

func byCommand(counts *[256]atomic.Int64) map[esproto.Command]int64 {
	m := make(map[esproto.Command]int64)
	for cmd := range counts {
		if n := counts[cmd].Load(); n > 0 {
			m[esproto.Command(cmd)] = n
		}
	}
	return m
}

func groupStats(g *groups.Group) GroupStats {
	n := g.Counters()
	return GroupStats{
		Stream: g.Stream, Group: g.Name, Strategy: g.Settings.Strategy, Clients: n.Clients, InFlight: n.InFlight,
		Waiting: n.Waiting, Retrying: n.Retrying, Parked: n.Parked, Processed: n.Processed, Checkpoint: n.Checkpoint,
	}
}
