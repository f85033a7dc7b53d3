package estest

import (
	"cmp"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// traffic counts what comes and goes, since the server was started for the first time.
type traffic struct {
	connections       atomic.Int64
	bytesIn, bytesOut atomic.Int64
	framesIn          [256]atomic.Int64 // by command
	framesOut         [256]atomic.Int64
}

// Stats are the counters of a server. Those of traffic go on over Restart.
type Stats struct {
	Connections      int   // that are open now
	ConnectionsTotal int64 // that were ever accepted
	BytesIn          int64
	BytesOut         int64
	FramesIn         map[esproto.Command]int64 // commands that never came are not there
	FramesOut        map[esproto.Command]int64 // counted when they are ready to be sent
	Streams          int                       // with events, the server's own included
	Events           int                       // in the log, also those that metadata hides
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
	stats.Connections, stats.Subscriptions = len(c.conns), len(c.volatile)
	stats.Streams, stats.Events = len(c.sortedStreams()), len(c.log)
	for _, g := range c.sortedGroups() {
		gs := g.stats()
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

func (g *group) stats() GroupStats {
	gs := GroupStats{
		Stream: g.stream, Group: g.name, Strategy: g.settings.strategy, Clients: len(g.clients),
		InFlight: len(g.outstanding), Waiting: g.buffer.len(), Retrying: len(g.retry), Processed: g.processed,
		Checkpoint: g.checkpoint,
	}
	if s := g.core.stream(g.parkedStream()); s != nil {
		gs.Parked = s.info(g.core.now()).Events
	}
	return gs
}

func (s *Server) handleStats(mux *http.ServeMux) {
	mux.HandleFunc("GET /stats", s.httpStats)
	mux.HandleFunc("GET /stats/{path...}", s.httpStats)
	mux.HandleFunc("GET /stats/tcp", s.httpTCPStats)
}

// mayLook answers the request itself if it is not to see statistics: where anonymous clients are denied, they are here.
func (s *Server) mayLook(w http.ResponseWriter, r *http.Request) bool {
	u, ok := s.authorized(w, r)
	if ok && u == nil && s.core.persona.denyAnonymous {
		unauthorized(w)
		return false
	}
	return ok
}

// httpStats answers with the part of the statistics that the path names; those that servers have and that mean
// something here have their names, and those of estest are all in one place.
func (s *Server) httpStats(w http.ResponseWriter, r *http.Request) {
	if !s.mayLook(w, r) {
		return
	}
	part := any(s.statsTree())
	for key := range strings.FieldsFuncSeq(r.PathValue("path"), func(c rune) bool { return c == '/' }) {
		tree, _ := part.(map[string]any)
		below, ok := tree[key]
		if !ok {
			http.Error(w, "Not found", http.StatusNotFound)
			return
		}
		part = below
	}
	writeJSON(w, http.StatusOK, part)
}

func (s *Server) statsTree() map[string]any {
	stats := s.Stats()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	s.core.mu.Lock()
	end := s.core.end
	s.core.mu.Unlock()
	return map[string]any{
		"proc": map[string]any{
			"startTime": s.started.UTC().Format(time.RFC3339Nano), "id": os.Getpid(), "mem": mem.Sys,
			"tcp": map[string]any{
				"connections": stats.Connections, "receivedBytesTotal": stats.BytesIn, "sentBytesTotal": stats.BytesOut,
			},
		},
		"es": map[string]any{"checksum": end},
		"estest": map[string]any{
			"connectionsTotal": stats.ConnectionsTotal,
			"framesIn":         byName(stats.FramesIn), "framesOut": byName(stats.FramesOut),
			"streams": stats.Streams, "events": stats.Events, "subscriptions": stats.Subscriptions,
			"inFlight": stats.InFlight, "parked": stats.Parked, "groups": stats.Groups,
		},
	}
}

func byName(counts map[esproto.Command]int64) map[string]any {
	m := make(map[string]any)
	for cmd, n := range counts {
		m[cmd.String()] = n
	}
	return m
}

// tcpStats are what the server tells of a connection.
type tcpStats struct {
	RemoteEndPoint       string `json:"remoteEndPoint"`
	LocalEndPoint        string `json:"localEndPoint"`
	ClientConnectionName string `json:"clientConnectionName"`
	TotalBytesSent       int64  `json:"totalBytesSent"`
	TotalBytesReceived   int64  `json:"totalBytesReceived"`
	PendingSendBytes     int    `json:"pendingSendBytes"`
	PendingReceivedBytes int    `json:"pendingReceivedBytes"`
	IsExternalConnection bool   `json:"isExternalConnection"`
	IsSslConnection      bool   `json:"isSslConnection"`
}

// httpTCPStats lists the connections, by the address of the client.
func (s *Server) httpTCPStats(w http.ResponseWriter, r *http.Request) {
	if !s.mayLook(w, r) {
		return
	}
	list := []tcpStats{}
	s.core.mu.Lock()
	for c := range s.core.conns {
		list = append(list, c.stats())
	}
	s.core.mu.Unlock()
	slices.SortFunc(list, func(a, b tcpStats) int { return cmp.Compare(a.RemoteEndPoint, b.RemoteEndPoint) })
	writeJSON(w, http.StatusOK, list)
}

func (c *conn) stats() tcpStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return tcpStats{
		RemoteEndPoint: c.nc.RemoteAddr().String(), LocalEndPoint: c.nc.LocalAddr().String(),
		ClientConnectionName: c.name, IsExternalConnection: true, IsSslConnection: c.srv.cfg.tls,
		TotalBytesSent: c.pulse.sentBytes.Load(), TotalBytesReceived: c.pulse.received.Load(),
		PendingSendBytes: len(c.out),
	}
}
