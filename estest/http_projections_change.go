package estest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// isOn reads a flag of a query string.
func isOn(q url.Values, name string, otherwise bool) bool {
	switch strings.ToLower(q.Get(name)) {
	case "":
		return otherwise
	case "yes", "true", "1":
		return true
	}
	return false
}

// httpCreateProjection registers a projection of a mode. It does not run: servers do that with RunProjections=All.
func (s *Server) httpCreateProjection(mode string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, ok := s.authenticated(w, r)
		if !ok {
			return
		}
		source, ok := readText(w, r)
		if !ok {
			return
		}
		q := r.URL.Query()
		name := q.Get("name")
		if name == "" && mode != eventlog.ModeContinuous {
			name = uuid.NewString()
		}
		handler := q.Get("type")
		if handler == "" {
			handler = "JS"
		}
		w, done := s.answerLocked(w)
		defer done()
		p := s.core.projector
		switch {
		case mode != eventlog.ModeTransient && !u.IsOperator():
			writeText(w, http.StatusUnauthorized, "Not authorized")
			return
		case strings.TrimSpace(name) == "":
			writeText(w, http.StatusInternalServerError, "Projection name is required")
			return
		case p.Find(name) != nil:
			writeText(w, http.StatusConflict, s.core.persona.duplicateNameText+name)
			return
		case strings.HasPrefix(name, "$"):
			writeText(w, http.StatusInternalServerError,
				"estest runs no other system projections: choose a name that does not begin with $")
			return
		}
		state := p.NewState(handler, source)
		state.Mode, state.Enabled = mode, isOn(q, "enabled", true)
		state.EmitEnabled = isOn(q, "emit", false)
		state.TrackEmittedStreams = state.EmitEnabled && isOn(q, "trackemittedstreams", false)
		state.CheckpointsDisabled = mode != eventlog.ModeContinuous && !isOn(q, "checkpoints", false)
		state.RunAs.Name = u.Login
		if state.EmitEnabled && state.CheckpointsDisabled {
			writeText(w, http.StatusInternalServerError, "Emit requires checkpoints")
			return
		}
		pr := p.Add(name, state)
		if pr == nil {
			writeText(w, http.StatusInternalServerError, textNotWritten)
			return
		}
		w.Header().Set("Location", s.projectionURL(pr))
		writeJSON(w, http.StatusCreated, s.changed(pr))
	}
}

const textNotWritten = "The state of the projection could not be written"

// readText reads a body. It answers the request itself if it cannot.
func readText(w http.ResponseWriter, r *http.Request) (text string, ok bool) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		writeText(w, http.StatusBadRequest, "The body could not be read")
		return "", false
	}
	return string(b), true
}

// httpUpdateQuery gives a projection another source.
func (s *Server) httpUpdateQuery(w http.ResponseWriter, r *http.Request, pr *eventlog.Projection) {
	source, ok := readText(w, r)
	if !ok {
		return
	}
	var emit *bool
	if q := r.URL.Query(); q.Get("emit") != "" {
		on := isOn(q, "emit", false)
		emit = &on
	}
	s.answerChange(w, pr, pr.Update(source, emit))
}

// httpDeleteProjection deletes a projection that was stopped.
func (s *Server) httpDeleteProjection(w http.ResponseWriter, r *http.Request, pr *eventlog.Projection) {
	switch {
	case pr.IsStandard():
		writeText(w, http.StatusInternalServerError,
			"We currently don't allow for the deletion of System Projections.")
	case pr.State.Mode != eventlog.ModeTransient && !pr.HasStopped():
		writeText(w, http.StatusInternalServerError,
			"Cannot delete a projection that hasn't been stopped or faulted.")
	default:
		s.answerChange(w, pr, pr.Remove(isOn(r.URL.Query(), "deleteCheckpointStream", false)))
	}
}

// httpUpdateConfig changes when a projection writes checkpoints, and which events it may write.
func (s *Server) httpUpdateConfig(w http.ResponseWriter, r *http.Request, pr *eventlog.Projection) {
	var m struct {
		EmitEnabled                       bool  `json:"emitEnabled"`
		TrackEmittedStreams               bool  `json:"trackEmittedStreams"`
		CheckpointAfterMs                 int   `json:"checkpointAfterMs"`
		CheckpointHandledThreshold        int   `json:"checkpointHandledThreshold"`
		CheckpointUnhandledBytesThreshold int64 `json:"checkpointUnhandledBytesThreshold"`
		PendingEventsThreshold            int   `json:"pendingEventsThreshold"`
		MaxWriteBatchLength               int   `json:"maxWriteBatchLength"`
		MaxAllowedWritesInFlight          int   `json:"maxAllowedWritesInFlight"`
	}
	if json.NewDecoder(r.Body).Decode(&m) != nil {
		writeText(w, http.StatusBadRequest, "Failed to parse the projection config")
		return
	}
	if !pr.HasStopped() {
		writeText(w, http.StatusInternalServerError,
			"Cannot update the config of a projection that hasn't been stopped or faulted.")
		return
	}
	st := &pr.State
	st.EmitEnabled, st.TrackEmittedStreams = m.EmitEnabled, m.TrackEmittedStreams
	st.CheckpointAfterMs, st.CheckpointHandledThreshold = m.CheckpointAfterMs, m.CheckpointHandledThreshold
	st.CheckpointUnhandledBytesThreshold = m.CheckpointUnhandledBytesThreshold
	st.PendingEventsThreshold, st.MaxWriteBatchLength = m.PendingEventsThreshold, m.MaxWriteBatchLength
	st.MaxAllowedWritesInFlight = m.MaxAllowedWritesInFlight
	s.answerChange(w, pr, pr.Save())
}

// projectionChanged is the answer to a change of a projection.
type projectionChanged struct {
	Name string `json:"name"`
	messageType
}

func (s *Server) changed(pr *eventlog.Projection) projectionChanged {
	return projectionChanged{pr.Name, s.core.persona.messageType(318, "Projections")}
}

// answerChange answers a request that changes a projection when that is done.
func (s *Server) answerChange(w http.ResponseWriter, pr *eventlog.Projection, done bool) {
	if !done {
		writeText(w, http.StatusInternalServerError, textNotWritten)
		return
	}
	writeJSON(w, http.StatusOK, s.changed(pr))
}
