package estest

import (
	"io"
	"net/http"
	"net/url"
	"strings"
)

// handleProjections serves what clients manage projections by. Servers without projections have none of these paths.
func (s *Server) handleProjections(mux *http.ServeMux) {
	if !s.cfg.projections {
		return
	}
	for _, kind := range []struct{ path, mode string }{
		{"any", ""}, {"all-non-transient", modesKept}, {"continuous", modeContinuous}, {"onetime", modeOneTime},
		{"transient", modeTransient},
	} {
		mux.HandleFunc("GET /projections/"+kind.path, s.httpProjections(kind.mode))
		if kind.mode != "" && kind.mode != modesKept {
			mux.HandleFunc("POST /projections/"+kind.path, s.httpCreateProjection(kind.mode))
		}
	}
	if s.core.persona.restartsProjections {
		mux.HandleFunc("POST /projections/restart", s.forOperators(s.httpRestartProjections))
	}
	for path, serve := range map[string]func(w http.ResponseWriter, r *http.Request, pr *projection){
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
	for command, do := range map[string]func(*projection) bool{
		"enable": (*projection).enable, "disable": (*projection).disable, "reset": (*projection).reset,
		"abort": (*projection).abort,
	} {
		mux.HandleFunc("POST /projection/{name}/command/"+command, s.ofProjection(commander, s.httpCommand(do)))
	}
}

// asks is who may make a request about projections: in every case somebody who has logged in.
type asks int

const (
	anybody   asks = iota
	operator       // administrators and operators; others are told that they are not authorized
	commander      // the same, but that there is no such projection is told first; anybody for a transient one
)

// ofProjection serves a request about the projection that its path names.
func (s *Server) ofProjection(
	who asks, serve func(w http.ResponseWriter, r *http.Request, pr *projection),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, ok := s.authenticated(w, r)
		if !ok {
			return
		}
		mayChange := u.isOperator()
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
		pr := s.core.projector.find(r.PathValue("name"))
		switch {
		case pr == nil:
			writeText(w, http.StatusNotFound, "Not Found")
		case who == commander && !mayChange && pr.state.Mode != modeTransient:
			writeText(w, http.StatusUnauthorized, "Not authorized")
		default:
			serve(w, r, pr)
		}
	}
}

// projectionStatistics are what the server tells of a projection.
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

func (s *Server) projectionURL(pr *projection) string {
	path := url.URL{Path: "/projection/" + pr.name}
	return s.HTTPURL() + path.EscapedPath()
}

func (s *Server) projectionStatistics(pr *projection) projectionStatistics {
	path, run := s.projectionURL(pr), pr.run()
	return projectionStatistics{
		CoreProcessingTime: run.busy.Milliseconds(), Version: pr.state.Version, Epoch: pr.state.Epoch,
		EffectiveName: pr.name, PartitionsCached: 1, Status: run.status, StateReason: run.reason, Name: pr.name,
		Mode: pr.state.Mode, Position: run.at.String(), Progress: fraction(run.progress),
		LastCheckpoint: run.checkpoint.String(), EventsProcessedAfterRestart: run.seen, StatusURL: path,
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
			if mode == "" || pr.state.Mode == mode || mode == modesKept && pr.state.Mode != modeTransient {
				list.Projections = append(list.Projections, s.projectionStatistics(pr))
			}
		}
		writeJSON(w, http.StatusOK, list)
	}
}

func (s *Server) httpProjection(w http.ResponseWriter, _ *http.Request, pr *projection) {
	writeJSON(w, http.StatusOK, s.projectionStatistics(pr))
}

func (s *Server) httpProjectionStatistics(w http.ResponseWriter, _ *http.Request, pr *projection) {
	writeJSON(w, http.StatusOK, listedProjections{Projections: []projectionStatistics{s.projectionStatistics(pr)}})
}

// httpProjectionState answers with the state or the result of a projection: no projection that runs has one.
func httpProjectionState(w http.ResponseWriter, _ *http.Request, _ *projection) {
	w.Header().Set("ES-Position", `{"$c":0,"$p":-1}`)
	writeAs(w, http.StatusOK, typeJSON, nil)
}

// httpProjectionQuery answers with the source of a projection, or with its definition.
func httpProjectionQuery(w http.ResponseWriter, r *http.Request, pr *projection) {
	if !isOn(r.URL.Query(), "config", false) {
		writeAs(w, http.StatusOK, "application/javascript", []byte(pr.state.Query))
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"name": pr.name, "query": pr.state.Query, "emitEnabled": pr.state.EmitEnabled, "type": pr.state.Mode,
		"trackEmittedStreams": pr.state.TrackEmittedStreams, "checkpointsEnabled": !pr.state.CheckpointsDisabled,
		"definition":   pr.state.SourceDefinition,
		"outputConfig": map[string]string{"resultStreamName": projectionStream + pr.name + "-result"},
	})
}

func httpProjectionConfig(w http.ResponseWriter, _ *http.Request, pr *projection) {
	st := &pr.state
	writeJSON(w, http.StatusOK, map[string]any{
		"emitEnabled": st.EmitEnabled, "trackEmittedStreams": st.TrackEmittedStreams,
		"checkpointAfterMs": st.CheckpointAfterMs, "checkpointHandledThreshold": st.CheckpointHandledThreshold,
		"checkpointUnhandledBytesThreshold": st.CheckpointUnhandledBytesThreshold,
		"pendingEventsThreshold":            st.PendingEventsThreshold, "maxWriteBatchLength": st.MaxWriteBatchLength,
		"maxAllowedWritesInFlight": st.MaxAllowedWritesInFlight,
	})
}

// httpCommand serves a command to a projection. It is answered when it is done.
func (s *Server) httpCommand(do func(*projection) bool) func(http.ResponseWriter, *http.Request, *projection) {
	return func(w http.ResponseWriter, _ *http.Request, pr *projection) {
		s.answerChange(w, pr, do(pr))
	}
}

// httpRestartProjections has all projections go on from what the log says.
func (s *Server) httpRestartProjections(w http.ResponseWriter, _ *http.Request) {
	w, done := s.answerLocked(w)
	defer done()
	if !s.core.projector.Running() { // another node leads since the request was brought here
		notReady(w)
		return
	}
	s.core.projector.start()
	writeJSON(w, http.StatusOK, "Restarting")
}
