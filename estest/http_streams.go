package estest

import (
	"cmp"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// Media types of events and feeds. Those in XML are not served.
const (
	typeJSON       = "application/json"
	typeText       = "text/plain"
	typeRaw        = "application/octet-stream"
	typeXML        = "text/xml"
	typeAppXML     = "application/xml"
	typeAtomJSON   = "application/vnd.eventstore.atom+json"
	typeEventJSON  = "application/vnd.eventstore.event+json"
	typeEventsJSON = "application/vnd.eventstore.events+json"

	typeDescription = "application/vnd.eventstore.streamdesc+json"
)

// handleStreams serves AtomPub.
func (s *Server) handleStreams(mux *http.ServeMux) {
	mux.HandleFunc("POST /streams/{stream}", s.forStreams(s.httpAppend))
	mux.HandleFunc("POST /streams/{stream}/incoming/{id}", s.forStreams(s.httpAppendOnce))
	mux.HandleFunc("GET /streams/{stream}", s.forStreams(s.httpFeed))
	mux.HandleFunc("GET /streams/{stream}/{event}", s.forStreams(s.httpEvent))
	mux.HandleFunc("GET /streams/{stream}/{event}/{count}", s.forStreams(s.httpFeed))
	mux.HandleFunc("GET /streams/{stream}/{event}/backward/{count}", s.forStreams(s.httpFeed))
	mux.HandleFunc("GET /streams/{stream}/{event}/forward/{count}", s.forStreams(s.httpFeedForward))
	mux.HandleFunc("GET /streams/{stream}/metadata", s.forStreams(s.httpMetadata))
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		mux.HandleFunc(method+" /streams/{stream}/{$}", withoutSlash)
	}
}

// streamHandler serves a request about a stream. The user is nil without credentials.
type streamHandler func(w http.ResponseWriter, r *http.Request, u *eventlog.User)

// forStreams finds out for whom a request acts.
func (s *Server) forStreams(serve streamHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, ok := s.authorized(w, r)
		if !ok {
			return
		}
		if u == nil && s.core.persona.streamsNeedUser {
			unauthorized(w)
			return
		}
		serve(w, r, u)
	}
}

// withoutSlash sends a client to the path without the slash at the end.
func withoutSlash(w http.ResponseWriter, r *http.Request) {
	sent := sentURL(r)
	target, found := strings.CutSuffix(sent.EscapedPath(), "/")
	if !found { // the slash was escaped
		target = strings.TrimSuffix(r.URL.EscapedPath(), "/")
	}
	if sent.RawQuery != "" {
		target += "?" + sent.RawQuery
	}
	w.Header().Set("Cache-Control", "max-age=31536000, public")
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// escapeName escapes everything in a name that means something anywhere in a URL.
func escapeName(name string) string { return strings.ReplaceAll(url.QueryEscape(name), "+", "%20") }

func (s *Server) streamURL(stream string) string {
	return s.HTTPURL() + "/streams/" + escapeName(stream)
}

// bodyType returns the media type of a request's body; empty if it is invalid or not UTF-8.
func bodyType(r *http.Request) string {
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return ""
	}
	return mediaType
}

// answerType chooses one of the media types, in order of preference, by the query or else by the header Accept. It is
// empty if the client accepts none of them.
func answerType(r *http.Request, types ...string) string {
	formats := map[string]string{"json": typeJSON, "text": typeText, "atomxj": typeAtomJSON}
	if format := r.URL.Query().Get("format"); format != "" {
		wanted := formats[strings.ToLower(format)]
		if slices.Contains(types, wanted) {
			return wanted
		}
		return ""
	}
	accept := strings.TrimSpace(strings.Join(r.Header.Values("Accept"), ","))
	if accept == "" {
		return types[0]
	}
	for _, wanted := range byQuality(accept) {
		kind, rest, _ := strings.Cut(wanted, "/")
		for _, offered := range types {
			if wanted == offered || kind == "*" || rest == "*" && strings.HasPrefix(offered, kind+"/") {
				return offered
			}
		}
	}
	return ""
}

func badRequest(w http.ResponseWriter, text string) {
	http.Error(w, text, http.StatusBadRequest)
}

// writeAs answers with a body of a media type.
func writeAs(w http.ResponseWriter, status int, mediaType string, body []byte) {
	if mediaType != typeRaw {
		mediaType += "; charset=utf-8"
	}
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
}

func writeText(w http.ResponseWriter, status int, text string) {
	writeAs(w, status, typeText, []byte(text))
}

// statusOf is how HTTP tells that an operation on a stream failed.
func statusOf(result esproto.OperationResult) int {
	switch result {
	case esproto.OperationResult_WrongExpectedVersion:
		return http.StatusBadRequest
	case esproto.OperationResult_StreamDeleted:
		return http.StatusGone
	case esproto.OperationResult_AccessDenied:
		return http.StatusUnauthorized
	}
	return http.StatusInternalServerError
}

// byQuality returns the media types of a header Accept, the most wanted first.
func byQuality(accept string) []string {
	type choice struct {
		mediaType string
		quality   float64
	}
	var choices []choice
	for part := range strings.SplitSeq(accept, ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		quality := 1.0
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			quality = q
		}
		choices = append(choices, choice{mediaType, quality})
	}
	slices.SortStableFunc(choices, func(a, b choice) int { return cmp.Compare(b.quality, a.quality) })
	types := make([]string, len(choices))
	for i := range choices {
		types[i] = choices[i].mediaType
	}
	return types
}
