package estest

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// describeStream lists the media types in which a stream can be read. A client that accepts any type gets this list,
// too: servers refuse to choose.
func (s *Server) describeStream(w http.ResponseWriter, r *http.Request, u *eventlog.User) {
	stream := r.PathValue("stream")
	s.core.mu.Lock()
	mayRead := !s.core.persona.describingNeedsRight || s.core.log.Allowed(u, eventlog.RightRead, stream)
	s.core.mu.Unlock()
	if !mayRead {
		unauthorized(w)
		return
	}
	type link struct {
		Href                  string   `json:"href"`
		SupportedContentTypes []string `json:"supportedContentTypes"`
	}
	href := "/streams/" + escapeName(stream)
	body, _ := json.MarshalIndent(struct { // it has nothing that cannot be marshaled
		Title       string          `json:"title"`
		Description string          `json:"description"`
		Links       map[string]link `json:"_links"`
	}{
		"Description document for '" + stream + "'",
		"Ask for one of the media types of the stream, by the header Accept.",
		map[string]link{
			"self": {href, []string{typeDescription}}, "stream": {href, []string{typeAtomJSON, typeJSON}},
		},
	}, "", "  ")
	status := http.StatusNotAcceptable
	if strings.Contains(strings.Join(r.Header.Values("Accept"), ","), typeDescription) {
		status = http.StatusOK
	}
	writeAs(w, status, typeDescription, body)
}
