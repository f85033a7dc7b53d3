package estest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func (s *Server) handleStats(mux *http.ServeMux) {
	mux.HandleFunc("GET /stats", s.httpStats)
	mux.HandleFunc("GET /stats/{path...}", s.httpStats)
	mux.HandleFunc("GET /stats/tcp", s.httpTCPStats)
	mux.HandleFunc("GET /estest/stats", s.httpOwnStats)
}

// mayLook answers the request itself if the client may not see statistics. Servers that deny anonymous clients do so
// here.
func (s *Server) mayLook(w http.ResponseWriter, r *http.Request) bool {
	u, ok := s.authorized(w, r)
	if ok && u == nil && s.core.persona.DeniesAnonymous {
		unauthorized(w)
		return false
	}
	return ok
}

// httpStats answers with the part of the statistics that the path names.
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

// httpOwnStats answers with statistics that only this server has.
func (s *Server) httpOwnStats(w http.ResponseWriter, r *http.Request) {
	if !s.mayLook(w, r) {
		return
	}
	stats := s.Stats()
	writeJSON(w, http.StatusOK, map[string]any{
		"connectionsTotal": stats.ConnectionsTotal,
		"framesIn":         byName(stats.FramesIn), "framesOut": byName(stats.FramesOut),
		"streams": stats.Streams, "events": stats.Events, "subscriptions": stats.Subscriptions,
		"inFlight": stats.InFlight, "parked": stats.Parked, "groups": stats.Groups,
	})
}

func byName(counts map[esproto.Command]int64) map[string]any {
	m := make(map[string]any)
	for cmd, n := range counts {
		m[cmd.String()] = n
	}
	return m
}

// fraction is a number that servers print with a decimal point even if it is whole.
type fraction float64

// MarshalJSON implements json.Marshaler.
func (f fraction) MarshalJSON() ([]byte, error) {
	b := strconv.AppendFloat(nil, float64(f), 'f', -1, 64)
	if !slices.Contains(b, '.') {
		b = append(b, '.', '0')
	}
	return b, nil
}

// gauges are the values at the last look at the statistics, for rates.
type gauges struct {
	mu      sync.Mutex
	at      time.Time
	in, out int64
	cpu     time.Duration
}

// statsTree returns the statistics in the form of the version. Values that are not measured are -1.
func (s *Server) statsTree() map[string]any {
	p, sys := s.core.persona, map[string]any{}
	memory := memoryOfSystem()
	sys["freeMem"] = memory["MemFree"]
	if p.statsTellLoad {
		sys["loadavg"] = loadOfSystem()
	} else {
		sys["cpu"] = fraction(-1)
	}
	if p.statsTellTotalMemory {
		sys["totalMem"] = memory["MemTotal"]
	}
	return map[string]any{"proc": s.processStats(), "sys": sys, "es": s.storeStats()}
}

func (s *Server) processStats() map[string]any {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	s.core.mu.Lock()
	connections, pending := len(s.core.conns), 0
	for c := range s.core.conns {
		c.mu.Lock()
		pending += len(c.out)
		c.mu.Unlock()
	}
	s.core.mu.Unlock()

	s.gauges.mu.Lock()
	defer s.gauges.mu.Unlock()
	g, now, cpu := &s.gauges, time.Now(), cpuOfProcess()
	in, out, elapsed := s.traffic.bytesIn.Load(), s.traffic.bytesOut.Load(), max(now.Sub(g.at), time.Microsecond)
	perSecond := func(n int64) fraction { return fraction(float64(n) / elapsed.Seconds()) }
	busy := 100 * float64(cpu-g.cpu) / float64(elapsed)
	stats := map[string]any{
		"startTime": s.started.UTC().Format(time.RFC3339Nano), "id": os.Getpid(), "mem": mem.Sys,
		"cpu": fraction(busy / float64(runtime.NumCPU())), "threadsCount": -1,
		"contentionsRate": fraction(-1), "thrownExceptionsRate": fraction(-1),
		"diskIo": map[string]any{"readBytes": 0, "writtenBytes": 0, "readOps": 0, "writeOps": 0},
		"tcp": map[string]any{
			"connections": connections, "inSend": 0, "pendingReceived": 0, "pendingSend": pending,
			"receivingSpeed": perSecond(in - g.in), "sendingSpeed": perSecond(out - g.out),
			"measureTime":               durationText(elapsed),
			"receivedBytesSinceLastRun": in - g.in, "receivedBytesTotal": in,
			"sentBytesSinceLastRun": out - g.out, "sentBytesTotal": out,
		},
	}
	gc := map[string]any{
		"allocationSpeed": fraction(-1), "timeInGc": fraction(100 * mem.GCCPUFraction),
		"totalBytesInHeaps": mem.HeapAlloc, "largeHeapSize": -1,
	}
	for generation := range 3 {
		name := "gen" + strconv.Itoa(generation)
		gc[name+"ItemsCount"], gc[name+"Size"] = -1, -1
	}
	if s.core.persona.statsTellFragments {
		gc["fragmentation"] = fraction(-1)
	}
	if !s.core.persona.statsTellLoad {
		stats["cpu"], stats["cpuScaled"] = fraction(busy), stats["cpu"]
	}
	stats["gc"] = gc
	g.at, g.in, g.out, g.cpu = now, in, out, cpu
	return stats
}

// durationText is how servers print a duration.
func durationText(d time.Duration) string {
	seconds := int64(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d.%07d", seconds/3600, seconds/60%60, seconds%60, d%time.Second/100)
}

// storeStats has the statistics of the log, and of queues and caches, which are always empty here.
func (s *Server) storeStats() map[string]any {
	frames := int64(0)
	for i := range s.traffic.framesIn {
		frames += s.traffic.framesIn[i].Load()
	}
	s.core.mu.Lock()
	end, records, streams := s.core.log.End(), int64(s.core.log.Records().Len()), s.core.log.StreamCount()
	s.core.mu.Unlock()
	queues := make(map[string]any)
	for _, q := range s.queueNames() {
		processed := map[string]int64{"MainQueue": frames, "StorageWriterQueue": records}[q.name]
		queues[strings.ToLower(q.name[:1])+q.name[1:]] = map[string]any{
			"queueName": q.name, "groupName": q.group, "avgItemsPerSecond": 0, "avgProcessingTime": fraction(0),
			"currentIdleTime": nil, "currentItemProcessingTime": nil, "idleTimePercent": fraction(100),
			"length": 0, "lengthCurrentTryPeak": 0, "lengthLifetimePeak": 0, "totalItemsProcessed": processed,
			"inProgressMessage": "<none>", "lastProcessedMessage": "<none>",
		}
	}
	stats := map[string]any{
		"checksum": end, "checksumNonFlushed": end, "queue": queues,
		"writer": map[string]any{
			"lastFlushSize": 0, "lastFlushDelayMs": fraction(0), "meanFlushSize": 0, "meanFlushDelayMs": fraction(0),
			"maxFlushSize": 0, "maxFlushDelayMs": fraction(0), "queuedFlushMessages": 0,
		},
		"readIndex": map[string]any{
			"cachedRecord": 0, "notCachedRecord": 0, "cachedStreamInfo": 0, "notCachedStreamInfo": 0,
			"cachedTransInfo": 0, "notCachedTransInfo": 0,
		},
	}
	if s.core.persona.statsTellCaches {
		infos := cacheStats("StreamInfo", streams)
		infos["lastEventNumber"], infos["metadata"] = cacheStats("LastEventNumber", streams), cacheStats("Metadata", 0)
		all := cacheStats("cache", streams)
		all["streamInfo"] = infos
		stats["cache"] = all
	}
	return stats
}

func cacheStats(name string, count int) map[string]any {
	return map[string]any{
		"name": name, "count": count, "sizeBytes": 0, "capacityBytes": 0, "utilizationPercent": fraction(0),
	}
}

type queueName struct{ name, group string }

// queueNames are the queues that a server of the version has.
func (s *Server) queueNames() []queueName {
	var names []queueName
	for _, name := range []string{
		"Index Committer", "MainQueue", "MonitoringQueue", "PersistentSubscriptions", "Storage Chaser",
		"StorageWriterQueue", "Subscriptions", "Timer",
	} {
		names = append(names, queueName{name: name})
	}
	several := func(name, group string, from, to int) {
		for i := from; i <= to; i++ {
			names = append(names, queueName{name + " #" + strconv.Itoa(i), group})
		}
	}
	several("StorageReaderQueue", "StorageReaderQueue", 1, 4)
	several("Worker", "Workers", 1, 5)
	if s.core.persona.statsHaveRedactionQueue {
		names = append(names, queueName{name: "Redaction"})
	}
	if s.cfg.projections {
		several("Projection Core", "Projection Core", 0, 2)
		names = append(names, queueName{name: s.core.persona.projectionLeaderQueue})
	}
	return names
}

// loadOfSystem returns the load of the machine, if the system reports it.
func loadOfSystem() map[string]any {
	load := map[string]any{"1m": fraction(0), "5m": fraction(0), "15m": fraction(0)}
	text, _ := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	for i, name := range []string{"1m", "5m", "15m"} {
		if i < len(fields) {
			n, _ := strconv.ParseFloat(fields[i], 64)
			load[name] = fraction(n)
		}
	}
	return load
}

// memoryOfSystem returns the memory of the machine in bytes; -1 if the system does not report it.
func memoryOfSystem() map[string]int64 {
	memory := map[string]int64{"MemTotal": -1, "MemFree": -1}
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		if _, asked := memory[name]; !asked {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil {
			memory[name] = n << 10
		}
	}
	return memory
}

// cpuOfProcess returns the CPU time of the process, if the system reports it.
func cpuOfProcess() time.Duration {
	const ticksPerSecond = 100
	text, _ := os.ReadFile("/proc/self/stat")
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name of the program, which may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond
}

// tcpStats are the statistics of a connection.
type tcpStats struct {
	RemoteEndPoint       string          `json:"remoteEndPoint"`
	LocalEndPoint        string          `json:"localEndPoint"`
	ClientConnectionName json.RawMessage `json:"clientConnectionName,omitempty"`
	ConnectionID         string          `json:"connectionId"`
	TotalBytesSent       int64           `json:"totalBytesSent"`
	TotalBytesReceived   int64           `json:"totalBytesReceived"`
	PendingSendBytes     int             `json:"pendingSendBytes"`
	PendingReceivedBytes int             `json:"pendingReceivedBytes"`
	IsExternalConnection bool            `json:"isExternalConnection"`
	IsSslConnection      bool            `json:"isSslConnection"`
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
		ClientConnectionName: c.core.persona.orNull(c.name), ConnectionID: c.id,
		IsExternalConnection: true, IsSslConnection: c.srv.cfg.tls,
		TotalBytesSent: c.pulse.sentBytes.Load(), TotalBytesReceived: c.pulse.received.Load(),
		PendingSendBytes: len(c.out),
	}
}
