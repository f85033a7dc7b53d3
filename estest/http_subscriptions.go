package estest

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/groups"
)

func (s *Server) handleSubscriptions(mux *http.ServeMux) {
	mux.HandleFunc("GET /subscriptions", s.httpGroups)
	mux.HandleFunc("GET /subscriptions/{stream}", s.httpGroups)
	mux.HandleFunc("GET /subscriptions/{stream}/{group}/info", s.httpGroup)
	mux.HandleFunc("PUT /subscriptions/{stream}/{group}",
		s.httpPutGroup((*core).createGroup, http.StatusCreated, http.StatusConflict))
	mux.HandleFunc("POST /subscriptions/{stream}/{group}",
		s.httpPutGroup((*core).updateGroup, http.StatusOK, http.StatusNotFound))
	mux.HandleFunc("DELETE /subscriptions/{stream}/{group}", s.httpDeleteGroup)
	mux.HandleFunc("POST /subscriptions/{stream}/{group}/replayParked", s.httpReplayParked)
	if s.core.persona.restartsGroups {
		mux.HandleFunc("POST /subscriptions/restart", s.httpRestartGroups)
	}
}

// groupBody is the body of a request that creates or updates a group. Missing fields have the defaults of HTTP.
type groupBody struct {
	ResolveLinkTos              bool   `json:"resolveLinktos"`
	StartFrom                   int64  `json:"startFrom"`
	MessageTimeoutMilliseconds  int64  `json:"messageTimeoutMilliseconds"`
	ExtraStatistics             bool   `json:"extraStatistics"`
	MaxRetryCount               int    `json:"maxRetryCount"`
	LiveBufferSize              int    `json:"liveBufferSize"`
	BufferSize                  int    `json:"bufferSize"`
	ReadBatchSize               int    `json:"readBatchSize"`
	PreferRoundRobin            bool   `json:"preferRoundRobin"`
	CheckPointAfterMilliseconds int64  `json:"checkPointAfterMilliseconds"`
	MinCheckPointCount          int64  `json:"minCheckPointCount"`
	MaxCheckPointCount          int64  `json:"maxCheckPointCount"`
	MaxSubscriberCount          int    `json:"maxSubscriberCount"`
	NamedConsumerStrategy       string `json:"namedConsumerStrategy"`

	StartPosition *string `json:"startPosition,omitempty"` // from 21.10 on: startFrom as text, or a position on $all
}

func defaultGroupBody() groupBody {
	return groupBody{
		MessageTimeoutMilliseconds: 10_000, MaxRetryCount: 10, LiveBufferSize: 500, BufferSize: 500, ReadBatchSize: 20,
		CheckPointAfterMilliseconds: 1000, MinCheckPointCount: 10, MaxCheckPointCount: 500, MaxSubscriberCount: 10,
		NamedConsumerStrategy: groups.RoundRobin,
	}
}

func (b *groupBody) settings() groups.Settings {
	return groups.Settings{
		ResolveLinks: b.ResolveLinkTos, StartFrom: b.StartFrom, RecordStatistics: b.ExtraStatistics,
		MessageTimeout: time.Duration(b.MessageTimeoutMilliseconds) * time.Millisecond,
		LiveBufferSize: b.LiveBufferSize, ReadBatchSize: b.ReadBatchSize, BufferSize: b.BufferSize,
		CheckpointAfter: time.Duration(b.CheckPointAfterMilliseconds) * time.Millisecond,
		CheckpointMax:   b.MaxCheckPointCount, CheckpointMin: b.MinCheckPointCount,
		MaxRetryCount: b.MaxRetryCount, MaxSubscribers: b.MaxSubscriberCount,
		Strategy: groups.StrategyName(b.NamedConsumerStrategy, b.PreferRoundRobin),
	}
}

// readGroupBody reads the body of a request. The server ignores a body that it cannot read.
func readGroupBody(r *http.Request) groupBody {
	body := defaultGroupBody()
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return defaultGroupBody()
	}
	if body.StartPosition != nil {
		if n, err := strconv.ParseInt(*body.StartPosition, 10, 64); err == nil {
			body.StartFrom = n
		}
	}
	return body
}

func bodyOf(s *groups.Settings) groupBody {
	return groupBody{
		ResolveLinkTos: s.ResolveLinks, StartFrom: s.StartFrom,
		MessageTimeoutMilliseconds: s.MessageTimeout.Milliseconds(), ExtraStatistics: s.RecordStatistics,
		LiveBufferSize: s.LiveBufferSize, ReadBatchSize: s.ReadBatchSize, BufferSize: s.BufferSize,
		MaxRetryCount: s.MaxRetryCount, CheckPointAfterMilliseconds: s.CheckpointAfter.Milliseconds(),
		MaxCheckPointCount: s.CheckpointMax, MinCheckPointCount: s.CheckpointMin, MaxSubscriberCount: s.MaxSubscribers,
		PreferRoundRobin: s.Strategy == groups.RoundRobin, NamedConsumerStrategy: s.Strategy,
	}
}

// httpGroups lists all groups, or those on one stream.
func (s *Server) httpGroups(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.authenticated(w, r); !ok {
		return
	}
	stream := r.PathValue("stream")
	w, done := s.answerLocked(w)
	defer done()
	list := []listedGroup{}
	for _, g := range s.core.groups.All() {
		if stream == "" || g.Stream == stream {
			info := s.groupInfo(g)
			list = append(list, info.listed())
		}
	}
	if stream == "" || stream == eventlog.AllStream {
		for _, g := range s.core.groups.OnAll() {
			info := s.groupOnAllInfo(g)
			list = append(list, info.listed())
		}
	}
	if stream != "" && len(list) == 0 {
		writeJSON(w, http.StatusNotFound, list)
		return
	}
	writeJSON(w, http.StatusOK, list)
}

// groupOnAll returns the group on $all that the path names, or nil.
func (s *Server) groupOnAll(r *http.Request) *groups.AllGroup {
	if r.PathValue("stream") != eventlog.AllStream {
		return nil
	}
	return s.core.groups.FindOnAll(r.PathValue("group"))
}

func (s *Server) httpGroup(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.authenticated(w, r); !ok {
		return
	}
	w, done := s.answerLocked(w)
	defer done()
	if all := s.groupOnAll(r); all != nil {
		writeJSON(w, http.StatusOK, s.groupOnAllInfo(all))
		return
	}
	g := s.core.groups.Find(r.PathValue("stream"), r.PathValue("group"))
	if g == nil {
		writeAs(w, http.StatusNotFound, typeJSON, nil)
		return
	}
	writeJSON(w, http.StatusOK, s.groupInfo(g))
}

// groupChanged is the answer to a change of a group.
type groupChanged struct {
	CorrelationID string `json:"correlationId"`
	Reason        string `json:"reason"`
	Result        string `json:"result"`
	messageType
}

// Message numbers of the answers to changes of groups.
const (
	createMessage = 48
	updateMessage = 52
	deleteMessage = 58
	replayMessage = 67
)

func (s *Server) writeGroupResult(
	w http.ResponseWriter, message int, result groups.Result, reason string, success, existence int,
) {
	status := [...]int{
		groups.Success: success, groups.Existence: existence,
		groups.Fail: s.core.persona.badGroupStatus, groups.Denied: http.StatusUnauthorized,
	}[result]
	name := [...]string{
		groups.Success: "Success", groups.Existence: "DoesNotExist", groups.Fail: "Fail", groups.Denied: "AccessDenied",
	}[result]
	if result == groups.Existence && existence == http.StatusConflict {
		name = "AlreadyExists"
	}
	writeJSON(w, status, groupChanged{
		CorrelationID: eventlog.NewGUID().String(), Reason: reason, Result: name,
		messageType: s.core.persona.messageType(message, "OtherClientMessage"),
	})
}

func (s *Server) httpPutGroup(
	put func(*core, *eventlog.User, string, string, groups.Settings) (groups.Result, string), success, existence int,
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, ok := s.authorized(w, r)
		if !ok {
			return
		}
		body := readGroupBody(r)
		if body.BufferSize <= 0 || body.LiveBufferSize <= 0 || body.ReadBatchSize <= 0 ||
			body.BufferSize <= body.ReadBatchSize {
			http.Error(w, "Buffer sizes must be positive, and the buffer larger than the read batch",
				http.StatusBadRequest)
			return
		}
		w, done := s.answerLocked(w)
		defer done()
		result, reason := put(s.core, u, r.PathValue("stream"), r.PathValue("group"), body.settings())
		if result == groups.Success && success == http.StatusCreated {
			w.Header().Set("Location", s.HTTPURL()+sentURL(r).EscapedPath())
		}
		message := updateMessage
		if success == http.StatusCreated {
			message = createMessage
		}
		s.writeGroupResult(w, message, result, reason, success, existence)
	}
}

func (s *Server) httpDeleteGroup(w http.ResponseWriter, r *http.Request) {
	u, ok := s.authorized(w, r)
	if !ok {
		return
	}
	w, done := s.answerLocked(w)
	defer done()
	result, reason := s.core.deleteGroup(u, r.PathValue("stream"), r.PathValue("group"))
	s.writeGroupResult(w, deleteMessage, result, reason, http.StatusOK, http.StatusNotFound)
}

// httpReplayParked replays the parked events, or those before entry stopAt of the parked stream.
func (s *Server) httpReplayParked(w http.ResponseWriter, r *http.Request) {
	u, ok := s.authenticated(w, r)
	if !ok {
		return
	}
	stopAt := int64(math.MaxInt64)
	if q := r.URL.Query(); q.Has("stopAt") && s.core.persona.replayMayStop {
		var err error
		if stopAt, err = strconv.ParseInt(q.Get("stopAt"), 10, 64); err != nil || stopAt < 0 {
			http.Error(w, "stopAt should be a properly formed positive long", http.StatusBadRequest)
			return
		}
	}
	w, done := s.answerLocked(w)
	defer done()
	if !s.core.log.MayManageGroups(u) {
		unauthorized(w)
		return
	}
	result, reason := groups.Success, ""
	stream, name := r.PathValue("stream"), r.PathValue("group")
	if g := s.core.groups.Find(stream, name); g != nil {
		g.ReplayParked(stopAt)
	} else if s.groupOnAll(r) == nil { // a group on $all has no parked events
		result, reason = groups.Existence, "Unable to locate '"+groups.IDOf(stream, name)+"'"
	}
	s.writeGroupResult(w, replayMessage, result, reason, http.StatusOK, http.StatusNotFound)
}

// httpRestartGroups restarts all groups at their checkpoints, and drops their clients.
func (s *Server) httpRestartGroups(w http.ResponseWriter, r *http.Request) {
	u, ok := s.authorized(w, r)
	if !ok {
		return
	}
	w, done := s.answerLocked(w)
	defer done()
	if !s.core.log.MayManageGroups(u) {
		unauthorized(w)
		return
	}
	s.core.groups.DropClients()
	s.core.groups.Restart()
	writeJSON(w, http.StatusOK, "Restarting")
}
