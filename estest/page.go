package estest

import (
	"cmp"
	"embed"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// The page at / shows the streams of a test, live. It only reads. Clients on the same machine need no credentials for
// it, since the server is open to any local program anyway. Other clients must be administrators, as for reading $all.
// On an insecure server every client is one, even the page of another site that uses a foreign host name.

//go:embed page
var pageFiles embed.FS

// Limits of the page.
const (
	pageStreams = 200
	pageEvents  = 50
	pageText    = 2000 // bytes of data or metadata
	pageBytes   = 32   // of binary data
)

// pagePolicy allows the page to load only its own files, and forbids other pages to frame it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (s *Server) handlePage(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", s.forViewers(pageFile("page.html", "text/html")))
	mux.HandleFunc("GET /estest/page.css", s.forViewers(pageFile("page.css", "text/css")))
	mux.HandleFunc("GET /estest/page.js", s.forViewers(pageFile("page.js", "text/javascript")))
	mux.HandleFunc("GET /estest/state", s.forViewers(s.httpPageState))
}

func pageFile(name, mediaType string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		b, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", mediaType+"; charset=utf-8")
		w.Header().Set("Content-Security-Policy", pagePolicy)
		_, _ = w.Write(b) // the client may be gone
	}
}

// forViewers serves a request if it comes from the machine itself, or from an administrator.
func (s *Server) forViewers(serve http.HandlerFunc) http.HandlerFunc {
	forAdmins := s.adminOnly(serve)
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if isLoopback(r.RemoteAddr) && isLoopback(r.Host) {
			serve(w, r)
			return
		}
		forAdmins(w, r)
	}
}

// isLoopback reports whether an address, with or without a port, is one of the machine itself. The host by which the
// server is called must be one, too: others may point their names here, and their pages would read it then. An insecure
// server does not keep them out.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = strings.Trim(addr, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// pageState is the content of the page.
type pageState struct {
	Version      string       `json:"version"`
	Connections  int          `json:"connections"`
	StreamsTotal int          `json:"streamsTotal"`
	EventsTotal  int          `json:"eventsTotal"`
	Groups       []GroupStats `json:"groups"`
	Streams      []StreamInfo `json:"streams"` // that were written to last, the newest first
	More         bool         `json:"more"`    // there are more streams
	Events       []pageEvent  `json:"events"`  // the newest first
	Oldest       string       `json:"oldest"`  // start of the next page of events; empty on the last page
}

// pageEvent is an event as people read it.
type pageEvent struct {
	Stream   string `json:"stream"`
	Number   int64  `json:"number,string"` // that of a tombstone is more than a browser can count
	Type     string `json:"type"`
	Created  string `json:"created"`
	Position int64  `json:"position"`
	Data     string `json:"data"`
	Metadata string `json:"metadata"`
}

// httpPageState answers with the groups, the streams whose names contain filter, and a page of events of one stream, or
// of all. The server's own streams appear only with system. The page of events ends before the given oldest event.
func (s *Server) httpPageState(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	before := int64(-1)
	if text := q.Get("before"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			http.Error(w, "before is no number", http.StatusBadRequest)
			return
		}
		before = n
	}
	c := s.core
	c.mu.Lock()
	state := pageState{
		Version: c.persona.full, Connections: len(c.conns), EventsTotal: c.log.Records().Len(),
		Groups: []GroupStats{}, Streams: []StreamInfo{},
	}
	for _, g := range c.groups.All() {
		state.Groups = append(state.Groups, groupStats(g))
	}
	streams, matching, total := newestStreams(c.log, q.Get("filter"), q.Get("system") == "true")
	for _, st := range streams {
		state.Streams = append(state.Streams, streamInfoOf(st, c.now()))
	}
	state.StreamsTotal, state.More = total, matching > len(streams)
	if stream := q.Get("stream"); stream == "" {
		state.Events, state.Oldest = newestEvents(c.log.Records(), before)
	} else {
		state.Events, state.Oldest = newestOf(c.log.Stream(stream), before, c.now())
	}
	c.mu.Unlock()
	writeJSON(w, http.StatusOK, state)
}

// newestStreams returns the matching streams with the newest events, how many match, and how many streams there are.
func newestStreams(log *eventlog.Log, filter string, system bool) (newest []*eventlog.Stream, matching, total int) {
	for s := range log.Streams() {
		total++
		if !system && strings.HasPrefix(s.Name, "$") || !strings.Contains(s.Name, filter) {
			continue
		}
		matching++
		i, _ := slices.BinarySearchFunc(newest, s, byLastWrite)
		if i == pageStreams {
			continue
		}
		if len(newest) == pageStreams {
			newest = newest[:pageStreams-1]
		}
		newest = slices.Insert(newest, i, s)
	}
	return newest, matching, total
}

// byLastWrite puts streams with the newest events first.
func byLastWrite(a, b *eventlog.Stream) int {
	return cmp.Compare(b.At(b.Last()).Commit, a.At(a.Last()).Commit)
}

// newestEvents returns a page of the log, the newest event first: the events before the index before, or the last ones
// if before is negative. oldest is the start of the next page; empty on the last page.
func newestEvents(records *eventlog.RecordList, before int64) (events []pageEvent, oldest string) {
	events = []pageEvent{}
	i := records.Len()
	if before >= 0 {
		i = int(min(before, int64(i)))
	}
	for ; i > 0 && len(events) < pageEvents; i-- {
		events = append(events, pageEventOf(records.At(i-1)))
	}
	if i > 0 {
		oldest = strconv.Itoa(i)
	}
	return events, oldest
}

// newestOf is newestEvents for the visible events of a stream, nil without one. before is a number.
func newestOf(s *eventlog.Stream, before int64, now time.Time) (events []pageEvent, oldest string) {
	events = []pageEvent{}
	if s == nil || s.HardDeleted() {
		return events, ""
	}
	n, first := s.Last(), s.First()
	if before >= 0 {
		n = min(n, before-1)
	}
	for ; n >= first && len(events) < pageEvents; n-- {
		if r := s.Visible(n, now); r != nil {
			events = append(events, pageEventOf(r))
		}
	}
	if n >= first {
		oldest = strconv.FormatInt(n+1, 10)
	}
	return events, oldest
}

func pageEventOf(r *eventlog.Record) pageEvent {
	return pageEvent{
		Stream: r.Stream.Name, Number: r.Number, Type: r.Type, Position: r.Commit,
		Created: esproto.TicksToTime(r.Created).Format(time.RFC3339Nano),
		Data:    readable(r.Data()), Metadata: readable(r.Metadata()),
	}
}

// readable is a text as it is, and bytes in hex, both up to a limit.
func readable(b []byte) string {
	if !utf8.Valid(b) {
		if len(b) > pageBytes {
			return fmt.Sprintf("% x … (%d bytes)", b[:pageBytes], len(b))
		}
		return fmt.Sprintf("% x", b)
	}
	if len(b) <= pageText {
		return string(b)
	}
	return strings.ToValidUTF8(string(b[:pageText]), "") + fmt.Sprintf(" … (%d bytes)", len(b))
}
