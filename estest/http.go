package estest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// handler serves the HTTP interface: that of real servers, as far as estest has it, and the page.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", s.httpPing)
	mux.HandleFunc("GET /info", s.httpInfo)
	mux.HandleFunc("GET /gossip", s.httpGossip)
	// Servers before 20.x have none, but a test that waits for this path need not know the persona.
	mux.HandleFunc("GET /health/live", httpHealth) // GET stands for HEAD, too
	s.handleStats(mux)
	s.handlePage(mux)
	leaders := http.NewServeMux()
	if !s.cfg.insecure {
		s.handleUsers(leaders)
	}
	s.handleSubscriptions(leaders)
	s.handleProjections(leaders)
	s.handleStreams(leaders)
	s.handleAdmin(leaders)
	mux.Handle("/", s.byLeader(s.unescapeTwice(s.withMethods(leaders))))
	limited := limitBodies(s.withMethods(mux))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.lockToServe(r) {
			return
		}
		unready := s.core.stopping || s.core.starting()
		s.core.mu.Unlock()
		limitAnswer(w)
		if unready {
			notReady(w)
			return
		}
		limited.ServeHTTP(w, r)
	})
}

// byLeader forwards requests to the leader of the cluster, except reads of streams and requests about the node itself.
// A leader that was deposed loses its own writes when it follows another leader.
func (s *Server) byLeader(own http.Handler) http.Handler {
	if s.node == nil {
		return own
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.core.mu.Lock()
		leader, ready := s.node.leader, s.writer() != nil
		s.core.mu.Unlock()
		switch {
		case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/streams/"),
			strings.HasPrefix(r.URL.Path, "/admin/"):
			own.ServeHTTP(w, r)
		case !ready:
			notReady(w)
		case leader == s.node:
			own.ServeHTTP(w, r)
		default:
			leader.srv.handler().ServeHTTP(w, r)
		}
	})
}

func notReady(w http.ResponseWriter) {
	http.Error(w, "Server Is Not Ready", http.StatusServiceUnavailable)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client may be gone
}

// orNull is a text that may be missing: it is then null, or left out.
func (p *persona) orNull(text string) json.RawMessage {
	switch {
	case text != "":
		b, _ := json.Marshal(text) // of a string always can be
		return b
	case p.absentTextIsNull:
		return json.RawMessage("null")
	}
	return nil
}

// messageType is the server's internal message that an answer names. Its number differs from version to version; only
// the numbers of 23.10 are known.
type messageType struct {
	MsgTypeID int    `json:"msgTypeId"`
	Label     string `json:"label,omitempty"` // from 23.10 on
}

func (p *persona) messageType(id int, label string) messageType {
	if !p.tellsMessageTypes {
		return messageType{}
	}
	return messageType{id, label}
}

func (s *Server) httpPing(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Text string `json:"text"`
		messageType
	}{"Ping request successfully handled", s.core.persona.messageType(123, "Http")})
}

func splitAddr(addr string) (host string, port int) {
	host, p, _ := net.SplitHostPort(addr)
	port, _ = strconv.Atoi(p)
	return host, port
}

// authorized returns the user of a request. If the credentials are wrong, it answers the request itself.
func (s *Server) authorized(w http.ResponseWriter, r *http.Request) (u *eventlog.User, ok bool) {
	if s.cfg.insecure {
		return insecureUser, true
	}
	login, password, given := r.BasicAuth()
	if !given {
		return nil, true
	}
	s.core.mu.Lock()
	u = s.core.login(login, password)
	s.core.mu.Unlock()
	if u == nil {
		unauthorized(w)
		return nil, false
	}
	return u, true
}

// authenticated is authorized for requests that need a logged-in user.
func (s *Server) authenticated(w http.ResponseWriter, r *http.Request) (u *eventlog.User, ok bool) {
	if u, ok = s.authorized(w, r); ok && u == nil {
		unauthorized(w)
		return nil, false
	}
	return u, ok
}

func unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="ES"`)
	http.Error(w, "Unauthorized", http.StatusUnauthorized)
}

// adminOnly serves a request if it comes from an administrator.
func (s *Server) adminOnly(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, ok := s.authorized(w, r)
		if !ok {
			return
		}
		if !u.IsAdmin() {
			unauthorized(w)
			return
		}
		serve(w, r)
	}
}

func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		http.Error(w, fmt.Sprintf("The body is not the JSON that is expected: %v", err), http.StatusBadRequest)
		return false
	}
	return true
}
