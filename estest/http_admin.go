package estest

import (
	"net/http"
	"strconv"

	"github.com/google/uuid"
)

// handleAdmin serves the requests of operators. In memory there is nothing to scavenge: a scavenge ends at once.
func (s *Server) handleAdmin(mux *http.ServeMux) {
	p := s.core.persona
	mux.HandleFunc("POST /admin/scavenge", s.forOperators(s.httpScavenge))
	if p.scavengeHasID {
		mux.HandleFunc("DELETE /admin/scavenge/{id}", s.forOperators(s.httpStopScavenge))
	}
	if p.priorityCanBeSet {
		mux.HandleFunc("POST /admin/node/priority/{priority}", s.forOperators(s.httpSetPriority))
	}
	if p.scavengeCanBeSeen {
		mux.HandleFunc("GET /admin/scavenge/current", s.forOperators(s.httpCurrentScavenge))
	}
}

// forOperators serves a request if it comes from an administrator or an operator.
func (s *Server) forOperators(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, ok := s.authorized(w, r)
		switch {
		case !ok:
		case !u.IsOperator():
			unauthorized(w)
		default:
			serve(w, r)
		}
	}
}

// httpScavenge answers with the id of a scavenge, as text or as JSON, by the Accept header. It reads the parameters
// that servers of the version have.
func (s *Server) httpScavenge(w http.ResponseWriter, r *http.Request) {
	q, p := r.URL.Query(), s.core.persona
	whole := func(name string, least, most int64, problem string) bool {
		if n, err := strconv.ParseInt(q.Get(name), 10, 32); q.Has(name) && (err != nil || n < least || n > most) {
			badRequest(w, problem)
			return false
		}
		return true
	}
	const most = 1<<31 - 1
	switch {
	case !p.scavengeHasID:
	case !whole("startFromChunk", 0, most, "startFromChunk must be a positive integer"),
		!whole("threads", 1, most, "threads must be a 1 or above"):
		return
	case !p.scavengeHasThreshold:
	case !whole("threshold", -most, most, "threshold must be an integer"),
		!whole("throttlePercent", 1, 100, "throttlePercent must be between 1 and 100 inclusive"):
		return
	}
	id := uuid.NewString()
	switch {
	case !p.scavengeHasID:
		w.WriteHeader(http.StatusOK)
	case !p.scavengeTextHasID:
		writeTextOrJSON(w, r, "EventStore.Core.Messages.ScavengeResultDto", scavengeStarted{id})
	default:
		writeTextOrJSON(w, r, "ScavengeId: "+id, scavengeStarted{id})
	}
}

type scavengeStarted struct {
	ScavengeID string `json:"scavengeId"`
}

// httpStopScavenge finds none that runs.
func (s *Server) httpStopScavenge(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusNotFound, "")
}

func (s *Server) httpCurrentScavenge(w http.ResponseWriter, r *http.Request) {
	writeTextOrJSON(w, r, "ScavengeId: , ScavengeLink: ", struct {
		ScavengeID   string `json:"scavengeId"`
		ScavengeLink string `json:"scavengeLink"`
	}{})
}

// httpSetPriority says which of several nodes with logs of the same age is to lead, until the node's process ends.
func (s *Server) httpSetPriority(w http.ResponseWriter, r *http.Request) {
	priority, err := strconv.ParseInt(r.PathValue("priority"), 10, 32)
	if err != nil {
		badRequest(w, "nodePriority must be an integer.")
		return
	}
	s.core.mu.Lock()
	s.core.priority = int(priority)
	s.core.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}

// writeTextOrJSON answers with text, or with JSON if the client prefers it.
func writeTextOrJSON(w http.ResponseWriter, r *http.Request, text string, v any) {
	switch answerType(r, typeText, typeJSON) {
	case typeText:
		writeText(w, http.StatusOK, text)
	case typeJSON:
		writeJSON(w, http.StatusOK, v)
	default:
		w.WriteHeader(http.StatusNotAcceptable)
	}
}
