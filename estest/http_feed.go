package estest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

const (
	feedPageSize = 20
	longAge      = "max-age=31536000"
	noCaching    = "max-age=0, no-cache, must-revalidate"
)

// feedRequest is which page of a stream is asked for.
type feedRequest struct {
	from, count int64
	head        bool // the page with the newest event
	forward     bool
}

func (s *Server) httpFeed(w http.ResponseWriter, r *http.Request, u *eventlog.User) {
	f := feedRequest{from: -1, count: feedPageSize, head: true}
	if event := r.PathValue("event"); event != "" && event != "head" {
		f.from, f.head = parseNumber(event, 0), false
	}
	s.serveFeed(w, r, u, f)
}

func (s *Server) httpFeedForward(w http.ResponseWriter, r *http.Request, u *eventlog.User) {
	s.serveFeed(w, r, u, feedRequest{from: parseNumber(r.PathValue("event"), 0), count: feedPageSize, forward: true})
}

// parseNumber reads a number that is not less than least; -2 stands for none.
func parseNumber(text string, least int64) int64 {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= least {
		return n
	}
	return -2
}

// resolves returns whether a request wants links resolved; ok is false if the parameter is neither true nor false.
func resolves(r *http.Request) (links, ok bool) {
	switch header := r.Header.Get("ES-ResolveLinkTos"); {
	case header == "" || strings.EqualFold(header, "true"):
		return true, true
	default:
		return false, strings.EqualFold(header, "false")
	}
}

func (s *Server) serveFeed(w http.ResponseWriter, r *http.Request, u *eventlog.User, f feedRequest) {
	if count := r.PathValue("count"); count != "" {
		f.count = parseNumber(count, 1)
	}
	links, ok := resolves(r)
	types := []string{typeAtomJSON, typeJSON}
	if !f.forward {
		types = slices.Insert(types, 0, typeDescription)
	}
	mediaType := answerType(r, types...)
	switch {
	case mediaType == "":
		w.WriteHeader(http.StatusNotAcceptable)
		return
	case mediaType == typeDescription:
		s.describeStream(w, r, u)
		return
	case f.from == -2:
		badRequest(w, fmt.Sprintf("'%s' is not valid event number", r.PathValue("event")))
		return
	case f.count < 1 || f.count > 1<<31-1:
		badRequest(w, fmt.Sprintf("'%s' is not valid count. Should be positive integer", r.PathValue("count")))
		return
	case !ok:
		badRequest(w, "ES-ResolveLinkTos header in wrong format.")
		return
	}
	stream := r.PathValue("stream")
	w, done := s.answerLocked(w)
	defer done()
	p := s.core.log.Read(u, stream, f.from, int(f.count), f.forward)
	entries, ok := s.entries(u, &p, &f, links, embedding(r))
	if !ok {
		p.Result = esproto.ReadStreamEventsCompleted_AccessDenied
	}
	switch p.Result {
	case esproto.ReadStreamEventsCompleted_Success:
	case esproto.ReadStreamEventsCompleted_NoStream:
		writeText(w, http.StatusNotFound, "")
		return
	case esproto.ReadStreamEventsCompleted_StreamDeleted:
		writeText(w, http.StatusGone, "")
		return
	case esproto.ReadStreamEventsCompleted_AccessDenied:
		unauthorized(w)
		return
	default:
		writeText(w, http.StatusInternalServerError, p.Text)
		return
	}
	if strings.Trim(r.Header.Get("If-None-Match"), `"`) == etag(p.Last, mediaType) {
		writeText(w, http.StatusNotModified, "")
		return
	}
	if f.from == -1 {
		f.from = p.Last
	}
	s.cacheFeed(w.Header(), stream, mediaType, f, &p)
	feed := s.feed(stream, f, &p, entries)
	if f.head {
		feed.ETag = s.core.persona.orNull(etag(p.Last, typeAtomJSON))
	}
	body, _ := json.MarshalIndent(feed, "", "  ") // it has nothing that cannot be marshaled
	writeAs(w, http.StatusOK, mediaType, body)
}

// etag tells a stream whose last event has a number from the same stream later on, in each media type.
func etag(number int64, mediaType string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(mediaType)) // never fails
	return fmt.Sprintf("%d;%d", number, int32(h.Sum32()))
}

// cacheFeed sets how long caches may keep an answer: for good if its page is full. At the greatest numbers the sums of
// servers overflow, so they take more pages for full.
func (s *Server) cacheFeed(h http.Header, stream, mediaType string, f feedRequest, p *eventlog.Page) {
	h.Set("Vary", "Accept")
	full := !f.head && p.Last >= f.from
	if f.forward {
		full = p.Last-f.from >= f.count-1
	}
	if full {
		h.Set("Cache-Control", longAge+", "+s.visibility(stream))
		return
	}
	h.Set("Cache-Control", noCaching)
	h.Set("ETag", `"`+etag(p.Last, mediaType)+`"`)
}

// visibility says whether caches may give a stream to others.
func (s *Server) visibility(stream string) string {
	readers := s.core.log.Roles(eventlog.RightRead, stream)
	if s.core.persona.publicStreamsAreShared && slices.Contains(readers, eventlog.Everyone) {
		return "public"
	}
	return "private"
}

// atomLink is a link of a feed or of an entry.
type atomLink struct {
	URI      string          `json:"uri"`
	Relation string          `json:"relation"`
	Type     json.RawMessage `json:"type,omitempty"`
}

type atomAuthor struct {
	Name string `json:"name"`
}

// atomFeed is a page of a stream.
type atomFeed struct {
	Title        string          `json:"title"`
	ID           string          `json:"id"`
	Updated      string          `json:"updated"`
	StreamID     string          `json:"streamId"`
	Author       atomAuthor      `json:"author"`
	HeadOfStream bool            `json:"headOfStream"`
	SelfURL      json.RawMessage `json:"selfUrl,omitempty"`
	ETag         json.RawMessage `json:"eTag,omitempty"`
	Links        []atomLink      `json:"links"`
	Entries      []any           `json:"entries"`
}

func (s *Server) feed(stream string, f feedRequest, p *eventlog.Page, entries []any) *atomFeed {
	self, null := s.streamURL(stream), s.core.persona.orNull("")
	feed := &atomFeed{
		Title: "Event stream '" + stream + "'", ID: self, Updated: "0001-01-01T00:00:00Z", StreamID: stream,
		Author: atomAuthor{"EventStore"}, HeadOfStream: f.head, SelfURL: null, ETag: null, Entries: entries,
	}
	link := func(relation, path string) {
		feed.Links = append(feed.Links, atomLink{URI: self + path, Relation: relation, Type: null})
	}
	page := func(relation string, from int64, direction string) {
		link(relation, fmt.Sprintf("/%d/%s/%d", from, direction, f.count))
	}
	// Servers count from the start of the page, even if that is behind the last event.
	previous, next := min(f.from, p.Last)+1, f.from-f.count
	older := !p.End
	if f.forward {
		previous, next = p.Last+1, f.from-1
		if p.Last-f.from >= f.count { // otherwise the sum may overflow
			previous = f.from + f.count
		}
		feed.HeadOfStream, older = p.End, next >= 0
	} else {
		feed.SelfURL = s.core.persona.orNull(self)
	}
	if len(p.Records) > 0 {
		feed.Updated = atomTime(p.Records[0])
	}
	link("self", "")
	link("first", fmt.Sprintf("/head/backward/%d", f.count))
	if older {
		page("last", 0, "forward")
		page("next", next, "backward")
	}
	if !f.forward || !p.End || len(p.Records) > 0 {
		page("previous", previous, "forward")
	}
	link("metadata", "/metadata")
	return feed
}

func atomTime(r *eventlog.Record) string {
	return esproto.TicksToTime(r.Created).UTC().Format(time.RFC3339Nano)
}

// embedded is how much of its event an entry holds.
type embedded int

const (
	embedNothing embedded = iota
	embedContent
	embedRich
	embedBody
	embedPretty
	embedTryHarder
)

func embedding(r *http.Request) embedded {
	names := []string{"", "content", "rich", "body", "pretty", "tryharder"}
	return embedded(max(slices.Index(names, strings.ToLower(r.URL.Query().Get("embed"))), 0))
}

// entries returns the newest entry first; ok is false if a link leads to an event that the user may not read.
func (s *Server) entries(
	u *eventlog.User, p *eventlog.Page, f *feedRequest, links bool, embed embedded,
) (entries []any, ok bool) {
	entries = []any{}
	for _, r := range p.Records {
		event, link, ok := s.core.log.ResolveFor(u, r, links)
		if !ok {
			return nil, false
		}
		entries = append(entries, s.entry(event, link, embed, false))
	}
	if f.forward {
		slices.Reverse(entries)
	}
	return entries, true
}

// atomEntry is an event in a feed.
type atomEntry struct {
	Title      string          `json:"title"`
	ID         string          `json:"id"`
	Updated    string          `json:"updated"`
	Author     atomAuthor      `json:"author"`
	Summary    string          `json:"summary"`
	RetryCount json.RawMessage `json:"retryCount,omitempty"`
	Content    any             `json:"content,omitempty"`
	Links      []atomLink      `json:"links"`
}

// richEntry is an entry with the fields of its event.
type richEntry struct {
	EventID             string          `json:"eventId"`
	EventType           string          `json:"eventType"`
	EventNumber         int64           `json:"eventNumber"`
	Data                json.RawMessage `json:"data,omitempty"`
	MetaData            json.RawMessage `json:"metaData,omitempty"`
	LinkMetaData        json.RawMessage `json:"linkMetaData,omitempty"`
	StreamID            string          `json:"streamId"`
	IsJSON              bool            `json:"isJson"`
	IsMetaData          bool            `json:"isMetaData"`
	IsLinkMetaData      bool            `json:"isLinkMetaData"`
	IsRedacted          *bool           `json:"isRedacted,omitempty"` // from 23.10 on
	PositionEventNumber int64           `json:"positionEventNumber"`
	PositionStreamID    string          `json:"positionStreamId"`
	atomEntry
}

// entry describes an event; a nil one is one that a link does not find.
func (s *Server) entry(event, link *eventlog.Record, embed embedded, single bool) any {
	p := s.core.persona
	shown := event
	var stream, summary string
	var number int64
	if link != nil {
		shown, summary = link, eventlog.LinkType
		stream, number = linkTarget(link)
	} else {
		stream, number, summary = event.Stream.Name, event.Number, event.Type
	}
	url := s.streamURL(stream) + "/" + strconv.FormatInt(number, 10)
	entry := atomEntry{
		Title: strconv.FormatInt(number, 10) + "@" + stream, ID: url, Updated: atomTime(shown),
		Author: atomAuthor{"EventStore"}, Summary: summary, RetryCount: p.orNull(""),
		Links: []atomLink{{url, "edit", p.orNull("")}, {url, "alternate", p.orNull("")}},
	}
	if null := p.orNull(""); null != nil {
		entry.Content = null
	}
	if link == nil && event.JSON && (single || embed == embedContent) {
		entry.Content = eventText(event)
	}
	if embed <= embedContent || event == nil {
		return entry
	}
	rich := richEntry{
		EventID: event.ID.String(), EventType: event.Type, EventNumber: event.Number, StreamID: event.Stream.Name,
		IsJSON: event.JSON, PositionEventNumber: shown.Number, PositionStreamID: shown.Stream.Name, atomEntry: entry,
		Data: p.orNull(""), MetaData: p.orNull(""), LinkMetaData: p.orNull(""),
	}
	if p.entryTellsRedacted {
		rich.IsRedacted = new(bool)
	}
	if embed >= embedBody {
		s.embedBody(&rich, event, link, embed)
	}
	return rich
}

// embedBody puts data and metadata into an entry, as texts.
func (s *Server) embedBody(rich *richEntry, event, link *eventlog.Record, embed embedded) {
	text := func(b []byte) json.RawMessage {
		if pretty, ok := asObject(b); ok && embed >= embedPretty {
			b = pretty
		}
		return s.core.persona.orNull(strings.ToValidUTF8(string(b), "\uFFFD"))
	}
	if event.JSON || embed >= embedTryHarder {
		rich.Data = text(event.Data())
		_, looksLikeJSON := asObject(event.Data())
		rich.IsJSON = event.JSON || looksLikeJSON
	}
	rich.MetaData, rich.IsMetaData = text(event.Metadata()), len(event.Metadata()) > 0
	if link != nil {
		rich.LinkMetaData, rich.IsLinkMetaData = text(link.Metadata()), len(link.Metadata()) > 0
	}
}

// linkTarget is the event that a link names.
func linkTarget(link *eventlog.Record) (stream string, number int64) {
	digits, stream, _ := strings.Cut(string(link.Data()), "@")
	number, _ = strconv.ParseInt(digits, 10, 64)
	return stream, number
}

// eventTextBody is an event with data and metadata as JSON, or as texts.
type eventTextBody struct {
	EventStreamID string `json:"eventStreamId"`
	EventNumber   int64  `json:"eventNumber"`
	EventType     string `json:"eventType"`
	EventID       string `json:"eventId"`
	Data          any    `json:"data"`
	Metadata      any    `json:"metadata"`
}

func eventText(r *eventlog.Record) eventTextBody {
	return eventTextBody{
		EventStreamID: r.Stream.Name, EventNumber: r.Number, EventType: r.Type, EventID: r.ID.String(),
		Data: textOrJSON(r, r.Data()), Metadata: textOrJSON(r, r.Metadata()),
	}
}

// textOrJSON returns JSON only if the event is marked as JSON and the data are valid JSON.
func textOrJSON(r *eventlog.Record, b []byte) any {
	if r.JSON && json.Valid(b) && !bytes.Equal(bytes.TrimSpace(b), []byte("null")) {
		return json.RawMessage(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

func (s *Server) httpEvent(w http.ResponseWriter, r *http.Request, u *eventlog.User) {
	number := int64(-1)
	if event := r.PathValue("event"); event != "head" {
		number = parseNumber(event, 0)
	}
	s.serveEvent(w, r, u, r.PathValue("stream"), number)
}

// httpMetadata answers with the metadata of a stream.
func (s *Server) httpMetadata(w http.ResponseWriter, r *http.Request, u *eventlog.User) {
	s.serveEvent(w, r, u, "$$"+r.PathValue("stream"), -1)
}

func (s *Server) serveEvent(w http.ResponseWriter, r *http.Request, u *eventlog.User, stream string, number int64) {
	links, ok := resolves(r)
	mediaType := answerType(r, typeAtomJSON, typeJSON, typeEventJSON, typeRaw)
	switch {
	case mediaType == "":
		w.WriteHeader(http.StatusNotAcceptable)
		return
	case number == -2:
		badRequest(w, fmt.Sprintf("'%s' is not valid event number", r.PathValue("event")))
		return
	case !ok:
		badRequest(w, "ES-ResolveLinkTos header in wrong format.")
		return
	}
	w, done := s.answerLocked(w)
	defer done()
	if !s.core.log.Allowed(u, eventlog.RightRead, stream) {
		unauthorized(w)
		return
	}
	result, event, link := s.core.log.ReadEvent(u, stream, number, links)
	switch {
	case result == esproto.ReadEventCompleted_AccessDenied:
		unauthorized(w)
	case result == esproto.ReadEventCompleted_StreamDeleted:
		writeText(w, http.StatusGone, "")
	case result == esproto.ReadEventCompleted_Error:
		writeText(w, http.StatusInternalServerError, "")
	case event == nil && link == nil && result == esproto.ReadEventCompleted_Success: // metadata that was never set
		writeAs(w, http.StatusOK, mediaType, []byte("{}"))
	case event == nil:
		writeText(w, http.StatusNotFound, "")
	default:
		w.Header().Set("Vary", "Accept")
		w.Header().Set("Cache-Control", longAge+", "+s.visibility(stream))
		if number == -1 {
			original := event
			if link != nil {
				original = link
			}
			w.Header().Set("Cache-Control", noCaching)
			w.Header().Set("ETag", `"`+etag(original.Number, mediaType)+`"`)
		}
		writeAs(w, http.StatusOK, mediaType, s.eventBody(event, link, mediaType, embedding(r)))
	}
}

func (s *Server) eventBody(event, link *eventlog.Record, mediaType string, embed embedded) []byte {
	var v any
	switch mediaType {
	case typeRaw:
		return event.Data()
	case typeJSON:
		v = textOrJSON(event, event.Data())
	case typeEventJSON:
		v = eventText(event)
	default:
		v = s.entry(event, link, embed, true)
	}
	body, _ := json.MarshalIndent(v, "", "  ") // it has nothing that cannot be marshaled
	return body
}
