package estest

import (
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// handleProjections serves the management of projections. Servers without projections have none of these paths.
func (s *Server) handleProjections(mux *http.ServeMux) {
	if !s.cfg.projections {
		return
	}
	for _, kind := range []struct{ path, mode string }{
		{"any", ""}, {"all-non-transient", eventlog.ModesKept}, {"continuous", eventlog.ModeContinuous},
		{"onetime", eventlog.ModeOneTime},
		{"transient", eventlog.ModeTransient},
	} {
		mux.HandleFunc("GET /projections/"+kind.path, s.httpProjections(kind.mode))
		if kind.mode != "" && kind.mode != eventlog.ModesKept {
			mux.HandleFunc("POST /projections/"+kind.path, s.httpCreateProjection(kind.mode))
		}
	}
	if s.core.persona.restartsProjections {
		mux.HandleFunc("POST /projections/restart", s.forOperators(s.httpRestartProjections))
	}
	for path, serve := range map[string]func(w http.ResponseWriter, r *http.Request, pr *eventlog.Projection){
		"GET /projection/{name}":            s.httpProjection,
		"GET /projection/{name}/statistics": s.httpProjectionStatistics,
		"GET /projection/{name}/state":      httpProjectionState,
		"GET /projection/{name}/result":     httpProjectionState,
		"GET /projection/{name}/query":      httpProjectionQuery,
	} {
		mux.HandleFunc(path, s.ofProjection(anybody, serve))
	}
	mux.HandleFunc("GET /projection/{name}/config", s.ofProjection(operator, httpProjectionConfig))
	mux.HandleFunc("PUT /projection/{name}/config", s.ofProjection(operator, s.httpUpdateConfig))
	mux.HandleFunc("PUT /projection/{name}/query", s.ofProjection(commander, s.httpUpdateQuery))
	mux.HandleFunc("DELETE /projection/{name}", s.ofProjection(operator, s.httpDeleteProjection))
	for command, do := range map[string]func(*eventlog.Projection) bool{
		"enable": (*eventlog.Projection).Enable, "disable": (*eventlog.Projection).Disable,
		"reset": (*eventlog.Projection).Reset,
		"abort": (*eventlog.Projection).Abort,
	} {
		mux.HandleFunc("POST /projection/{name}/command/"+command, s.ofProjection(commander, s.httpCommand(do)))
	}
}

// asks is the right that a request about projections needs. All of them need a logged-in user.
type asks int

const (
	anybody   asks = iota
	operator       // administrators and operators; others get 401
	commander      // the same, but an unknown projection is reported first; any user for a transient one
)

// ofProjection serves a request about the projection that its path names.
func (s *Server) ofProjection(
	who asks, serve func(w http.ResponseWriter, r *http.Request, pr *eventlog.Projection),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, ok := s.authenticated(w, r)
		if !ok {
			return
		}
		mayChange := u.IsOperator()
		if who == operator && !mayChange {
			unauthorized(w)
			return
		}
		body, ok := readText(w, r) // before the lock is taken: the client may be slow to send it
		if !ok {
			return
		}
		r.Body = io.NopCloser(strings.NewReader(body))
		w, done := s.answerLocked(w)
		defer done()
		pr := s.core.projector.Find(r.PathValue("name"))
		switch {
		case pr == nil:
			writeText(w, http.StatusNotFound, "Not Found")
		case who == commander && !mayChange && pr.State.Mode != eventlog.ModeTransient:
			writeText(w, http.StatusUnauthorized, "Not authorized")
		default:
			serve(w, r, pr)
		}
	}
}

// projectionStatistics are the statistics of a projection.
type projectionStatistics struct {
	CoreProcessingTime                 int64    `json:"coreProcessingTime"` // in milliseconds
	Version                            int64    `json:"version"`
	Epoch                              int64    `json:"epoch"`
	EffectiveName                      string   `json:"effectiveName"`
	WritesInProgress                   int      `json:"writesInProgress"`
	ReadsInProgress                    int      `json:"readsInProgress"`
	PartitionsCached                   int      `json:"partitionsCached"`
	Status                             string   `json:"status"`
	StateReason                        string   `json:"stateReason"`
	Name                               string   `json:"name"`
	Mode                               string   `json:"mode"`
	Position                           string   `json:"position"`
	Progress                           fraction `json:"progress"` // in percent
	LastCheckpoint                     string   `json:"lastCheckpoint"`
	EventsProcessedAfterRestart        int      `json:"eventsProcessedAfterRestart"`
	StatusURL                          string   `json:"statusUrl"`
	StateURL                           string   `json:"stateUrl"`
	ResultURL                          string   `json:"resultUrl"`
	QueryURL                           string   `json:"queryUrl"`
	ResultStreamURL                    *string  `json:"resultStreamUrl"` // null: standard projections have no results
	EnableCommandURL                   string   `json:"enableCommandUrl"`
	DisableCommandURL                  string   `json:"disableCommandUrl"`
	CheckpointStatus                   string   `json:"checkpointStatus"`
	BufferedEvents                     int      `json:"bufferedEvents"`
	WritePendingEventsBeforeCheckpoint int      `json:"writePendingEventsBeforeCheckpoint"`
	WritePendingEventsAfterCheckpoint  int      `json:"writePendingEventsAfterCheckpoint"`
}

func (s *Server) projectionURL(pr *eventlog.Projection) string {
	path := url.URL{Path: "/projection/" + pr.Name}
	return s.HTTPURL() + path.EscapedPath()
}

func (s *Server) projectionStatistics(pr *eventlog.Projection) projectionStatistics {
	path, run := s.projectionURL(pr), pr.Run()
	return projectionStatistics{
		CoreProcessingTime: run.Busy.Milliseconds(), Version: pr.State.Version, Epoch: pr.State.Epoch,
		EffectiveName: pr.Name, PartitionsCached: 1, Status: run.Status, StateReason: run.Reason, Name: pr.Name,
		Mode: pr.State.Mode, Position: run.At.String(), Progress: fraction(run.Progress),
		LastCheckpoint: run.Checkpoint.String(), EventsProcessedAfterRestart: run.Seen, StatusURL: path,
		StateURL: path + "/state", ResultURL: path + "/result", QueryURL: path + "/query%3Fconfig=yes",
		EnableCommandURL: path + "/command/enable", DisableCommandURL: path + "/command/disable",
	}
}

// listedProjections are statistics of several projections, or of one.
type listedProjections struct {
	Projections []projectionStatistics `json:"projections"`
}

// httpProjections lists the projections of a mode, or all.
func (s *Server) httpProjections(mode string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ok := s.authenticated(w, r); !ok {
			return
		}
		w, done := s.answerLocked(w)
		defer done()
		list := listedProjections{Projections: []projectionStatistics{}}
		for _, pr := range s.core.projector.All() {
			kept := pr.State.Mode != eventlog.ModeTransient
			if mode == "" || pr.State.Mode == mode || mode == eventlog.ModesKept && kept {
				list.Projections = append(list.Projections, s.projectionStatistics(pr))
			}
		}
		writeJSON(w, http.StatusOK, list)
	}
}

func (s *Server) httpProjection(w http.ResponseWriter, _ *http.Request, pr *eventlog.Projection) {
	writeJSON(w, http.StatusOK, s.projectionStatistics(pr))
}

func (s *Server) httpProjectionStatistics(w http.ResponseWriter, _ *http.Request, pr *eventlog.Projection) {
	writeJSON(w, http.StatusOK, listedProjections{Projections: []projectionStatistics{s.projectionStatistics(pr)}})
}

// httpProjectionState answers with the state or the result of a projection: no projection that runs has one.
func httpProjectionState(w http.ResponseWriter, _ *http.Request, _ *eventlog.Projection) {
	w.Header().Set("ES-Position", `{"$c":0,"$p":-1}`)
	writeAs(w, http.StatusOK, typeJSON, nil)
}

// httpProjectionQuery answers with the source of a projection, or with its definition.
func httpProjectionQuery(w http.ResponseWriter, r *http.Request, pr *eventlog.Projection) {
	if !isOn(r.URL.Query(), "config", false) {
		writeAs(w, http.StatusOK, "application/javascript", []byte(pr.State.Query))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"name": pr.Name, "query": pr.State.Query, "emitEnabled": pr.State.EmitEnabled, "type": pr.State.Mode,
		"trackEmittedStreams": pr.State.TrackEmittedStreams, "checkpointsEnabled": !pr.State.CheckpointsDisabled,
		"definition":   pr.State.SourceDefinition,
		"outputConfig": map[string]string{"resultStreamName": eventlog.ProjectionStream + pr.Name + "-result"},
	})
}

func httpProjectionConfig(w http.ResponseWriter, _ *http.Request, pr *eventlog.Projection) {
	st := &pr.State
	writeJSON(w, http.StatusOK, map[string]any{
		"emitEnabled": st.EmitEnabled, "trackEmittedStreams": st.TrackEmittedStreams,
		"checkpointAfterMs": st.CheckpointAfterMs, "checkpointHandledThreshold": st.CheckpointHandledThreshold,
		"checkpointUnhandledBytesThreshold": st.CheckpointUnhandledBytesThreshold,
		"pendingEventsThreshold":            st.PendingEventsThreshold, "maxWriteBatchLength": st.MaxWriteBatchLength,
		"maxAllowedWritesInFlight": st.MaxAllowedWritesInFlight,
	})
}

// httpCommand serves a command to a projection. It is answered when it is done.
func (s *Server) httpCommand(
	do func(*eventlog.Projection) bool,
) func(http.ResponseWriter, *http.Request, *eventlog.Projection) {
	return func(w http.ResponseWriter, _ *http.Request, pr *eventlog.Projection) {
		s.answerChange(w, pr, do(pr))
	}
}

// httpRestartProjections restarts all projections from their state in the log.
func (s *Server) httpRestartProjections(w http.ResponseWriter, _ *http.Request) {
	w, done := s.answerLocked(w)
	defer done()
	if !s.core.projector.Running() { // another node leads since the request was brought here
		notReady(w)
		return
	}
	s.core.projector.Start()
	writeJSON(w, http.StatusOK, "Restarting")
}
