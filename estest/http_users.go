package estest

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

func (s *Server) handleUsers(mux *http.ServeMux) {
	mux.HandleFunc("POST /users/", s.adminOnly(s.httpCreateUser))
	mux.HandleFunc("POST /users", s.adminOnly(s.httpCreateUser))
	mux.HandleFunc("GET /users", s.adminOnly(s.httpUsers))
	mux.HandleFunc("GET /users/{$}", s.adminOnly(s.httpUsers))
	mux.HandleFunc("GET /users/{login}", s.httpUser)
	mux.HandleFunc("PUT /users/{login}", s.adminOnly(s.httpUpdateUser))
	mux.HandleFunc("DELETE /users/{login}", s.adminOnly(s.httpDeleteUser))
	mux.HandleFunc("POST /users/{login}/command/enable", s.adminOnly(s.httpEnableUser(true)))
	mux.HandleFunc("POST /users/{login}/command/disable", s.adminOnly(s.httpEnableUser(false)))
	mux.HandleFunc("POST /users/{login}/command/reset-password", s.adminOnly(s.httpResetPassword))
	mux.HandleFunc("POST /users/{login}/command/change-password", s.httpChangePassword)
}

// userResult is the answer to a change of a user.
type userResult struct {
	LoginName string `json:"loginName"`
	Success   bool   `json:"success"`
	Error     string `json:"error"`
	messageType
}

// The numbers of the messages about users.
const (
	updateUserMessage  = 259
	userMessage        = 260
	usersMessage       = 261
	currentUserMessage = 262
)

func (s *Server) userChanged(w http.ResponseWriter, status int, login, problem string) {
	writeJSON(w, status, userResult{
		LoginName: login, Success: problem == "Success", Error: problem,
		messageType: s.core.persona.messageType(updateUserMessage, "Other"),
	})
}

func (s *Server) httpCreateUser(w http.ResponseWriter, r *http.Request) {
	var m struct {
		LoginName string   `json:"loginName"`
		FullName  string   `json:"fullName"`
		Password  string   `json:"password"`
		Groups    []string `json:"groups"`
	}
	if !readJSON(w, r, &m) {
		return
	}
	if m.LoginName == "" {
		s.userChanged(w, http.StatusBadRequest, m.LoginName, "Error")
		return
	}
	w, done := s.answerLocked(w)
	defer done()
	switch u := s.core.log.User(m.LoginName); {
	case u == nil:
		s.core.log.CreateUser(
			&eventlog.User{Login: m.LoginName, FullName: m.FullName, Password: m.Password, Groups: m.Groups})
	case !u.HasPassword(m.Password): // with the right password it counts as a repeated request
		s.userChanged(w, http.StatusConflict, m.LoginName, "Conflict")
		return
	}
	w.Header().Set("Location", s.HTTPURL()+"/users/"+m.LoginName)
	s.userChanged(w, http.StatusCreated, m.LoginName, "Success")
}

// changeUser serves a request that changes the user in its path. With notify all nodes drop the user from their caches.
func (s *Server) changeUser(w http.ResponseWriter, r *http.Request, notify bool, change func(u *eventlog.User)) {
	login := r.PathValue("login")
	w, done := s.answerLocked(w)
	defer done()
	u := s.core.log.User(login)
	if u == nil {
		s.userChanged(w, http.StatusNotFound, login, "NotFound")
		return
	}
	// Replace the user and do not change it: connections keep the user that they authenticated as.
	next := *u
	change(&next)
	if notify {
		s.core.log.NotifyPasswordChanged(login)
	}
	s.core.log.UpdateUser(&next)
	s.userChanged(w, http.StatusOK, login, "Success")
}

// userDetails is a user in an answer. Only the user itself gets the time of its last change, and only others get links.
type userDetails struct {
	LoginName       string          `json:"loginName"`
	FullName        string          `json:"fullName"`
	Groups          []string        `json:"groups"`
	DateLastUpdated json.RawMessage `json:"dateLastUpdated,omitempty"`
	Disabled        bool            `json:"disabled"`
	Links           []relLink       `json:"links,omitempty"`
}

func (s *Server) ownDetails(u *eventlog.User) userDetails {
	written := s.core.log.UserWritten(u)
	return userDetails{
		LoginName: u.Login, FullName: u.FullName, Groups: u.Groups, Disabled: u.Disabled,
		DateLastUpdated: s.core.persona.orNull(written.Format("2006-01-02T15:04:05.9999999-07:00")),
	}
}

func (s *Server) userDetails(u *eventlog.User) userDetails {
	path := s.HTTPURL() + "/users/" + url.PathEscape(u.Login)
	d := userDetails{
		LoginName: u.Login, FullName: u.FullName, Groups: u.Groups, Disabled: u.Disabled,
		DateLastUpdated: s.core.persona.orNull(""),
		Links: []relLink{
			{path + "/command/reset-password", "reset-password"},
			{path + "/command/change-password", "change-password"}, {path, "edit"}, {path, "delete"},
		},
	}
	if u.Disabled {
		d.Links = append(d.Links, relLink{path + "/command/enable", "enable"})
	} else {
		d.Links = append(d.Links, relLink{path + "/command/disable", "disable"})
	}
	return d
}

// userAnswer is an answer about one user or several.
type userAnswer struct {
	Data    any    `json:"data"`
	Success bool   `json:"success"`
	Error   string `json:"error"`
	messageType
}

func (s *Server) writeUsers(w http.ResponseWriter, message int, data any) {
	writeJSON(w, http.StatusOK, userAnswer{
		Data: data, Success: true, Error: "Success", messageType: s.core.persona.messageType(message, "Other"),
	})
}

// noUser answers that there is no such user.
func (s *Server) noUser(w http.ResponseWriter, message int) {
	writeJSON(w, http.StatusNotFound, struct {
		Data    json.RawMessage `json:"data,omitempty"`
		Success bool            `json:"success"`
		Error   string          `json:"error"`
		messageType
	}{Data: s.core.persona.orNull(""), Error: "NotFound", messageType: s.core.persona.messageType(message, "Other")})
}

func (s *Server) httpUsers(w http.ResponseWriter, _ *http.Request) {
	w, done := s.answerLocked(w)
	defer done()
	users := []userDetails{}
	for _, u := range s.core.log.Users() {
		users = append(users, s.userDetails(u))
	}
	s.writeUsers(w, usersMessage, users)
}

// httpUser shows any user to administrators, and in some versions users to themselves. $current shows the user of the
// request in all versions.
func (s *Server) httpUser(w http.ResponseWriter, r *http.Request) {
	asks, ok := s.authenticated(w, r)
	if !ok {
		return
	}
	login := r.PathValue("login")
	self := asks.Login == login && s.core.persona.usersSeeThemselves
	message, describe := userMessage, s.userDetails
	if login == "$current" {
		login, self = asks.Login, true
		message, describe = currentUserMessage, s.ownDetails
	}
	if !self && !asks.IsAdmin() {
		unauthorized(w)
		return
	}
	w, done := s.answerLocked(w)
	defer done()
	u := s.core.log.User(login)
	if u == nil {
		s.noUser(w, message)
		return
	}
	s.writeUsers(w, message, describe(u))
}

func (s *Server) httpUpdateUser(w http.ResponseWriter, r *http.Request) {
	var m struct {
		FullName string   `json:"fullName"`
		Groups   []string `json:"groups"`
	}
	if readJSON(w, r, &m) {
		s.changeUser(w, r, true, func(u *eventlog.User) { u.FullName, u.Groups = m.FullName, m.Groups })
	}
}

func (s *Server) httpDeleteUser(w http.ResponseWriter, r *http.Request) {
	login := r.PathValue("login")
	w, done := s.answerLocked(w)
	defer done()
	u := s.core.log.User(login)
	if u == nil {
		s.userChanged(w, http.StatusNotFound, login, "NotFound")
		return
	}
	s.core.log.DeleteUser(u)
	s.core.log.NotifyPasswordChanged(login)
	s.userChanged(w, http.StatusOK, login, "Success")
}

func (s *Server) httpEnableUser(enabled bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.changeUser(w, r, !enabled, func(u *eventlog.User) { u.Disabled = !enabled })
	}
}

func (s *Server) httpResetPassword(w http.ResponseWriter, r *http.Request) {
	var m struct {
		NewPassword string `json:"newPassword"`
	}
	if readJSON(w, r, &m) {
		s.changeUser(w, r, true, func(u *eventlog.User) { u.SetPassword(m.NewPassword) })
	}
}

// httpChangePassword serves a user with the current password; in some versions only the user itself.
func (s *Server) httpChangePassword(w http.ResponseWriter, r *http.Request) {
	var m struct {
		CurrentPassword string `json:"currentPassword"`
		NewPassword     string `json:"newPassword"`
	}
	asks, ok := s.authenticated(w, r)
	if !ok || !readJSON(w, r, &m) {
		return
	}
	login := r.PathValue("login")
	s.core.mu.Lock()
	u := s.core.log.User(login)
	known := u == nil || u.HasPassword(m.CurrentPassword)
	s.core.mu.Unlock()
	if !known || asks.Login != login && s.core.persona.passwordIsOwn {
		unauthorized(w)
		return
	}
	s.changeUser(w, r, true, func(u *eventlog.User) { u.SetPassword(m.NewPassword) })
}
