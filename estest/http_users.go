package estest

import "net/http"

func (s *Server) handleUsers(mux *http.ServeMux) {
	mux.HandleFunc("POST /users/", s.adminOnly(s.httpCreateUser))
	mux.HandleFunc("POST /users", s.adminOnly(s.httpCreateUser))
	mux.HandleFunc("GET /users/{login}", s.adminOnly(s.httpUser))
	mux.HandleFunc("DELETE /users/{login}", s.adminOnly(s.httpDeleteUser))
	mux.HandleFunc("POST /users/{login}/command/enable", s.adminOnly(s.httpEnableUser(true)))
	mux.HandleFunc("POST /users/{login}/command/disable", s.adminOnly(s.httpEnableUser(false)))
	mux.HandleFunc("POST /users/{login}/command/reset-password", s.adminOnly(s.httpResetPassword))
	mux.HandleFunc("POST /users/{login}/command/change-password", s.httpChangePassword)
}

// userResult is what the server says after it has changed a user.
type userResult struct {
	LoginName string `json:"loginName"`
	Success   bool   `json:"success"`
	Error     string `json:"error"`
	MsgTypeID int    `json:"msgTypeId"`
}

func userChanged(w http.ResponseWriter, status int, login, problem string) {
	writeJSON(w, status, userResult{LoginName: login, Success: problem == "Success", Error: problem})
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
		userChanged(w, http.StatusBadRequest, m.LoginName, "Error")
		return
	}
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	if s.core.users[m.LoginName] != nil {
		userChanged(w, http.StatusConflict, m.LoginName, "Conflict")
		return
	}
	s.core.saveUser(&user{login: m.LoginName, fullName: m.FullName, password: m.Password, groups: m.Groups}, userCreated)
	w.Header().Set("Location", s.HTTPURL()+"/users/"+m.LoginName)
	userChanged(w, http.StatusCreated, m.LoginName, "Success")
}

// changeUser serves a request about the user that its path names.
func (s *Server) changeUser(w http.ResponseWriter, r *http.Request, eventType string, change func(u *user)) {
	login := r.PathValue("login")
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	u := s.core.users[login]
	if u == nil {
		userChanged(w, http.StatusNotFound, login, "NotFound")
		return
	}
	// A user is replaced, not changed: connections hold on to what they authenticated as.
	next := *u
	change(&next)
	s.core.saveUser(&next, eventType)
	userChanged(w, http.StatusOK, login, "Success")
}

func (s *Server) httpUser(w http.ResponseWriter, r *http.Request) {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	u := s.core.users[r.PathValue("login")]
	if u == nil {
		userChanged(w, http.StatusNotFound, r.PathValue("login"), "NotFound")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"success": true, "error": "Success",
		"data": map[string]any{"loginName": u.login, "fullName": u.fullName, "groups": u.groups, "disabled": u.disabled},
	})
}

func (s *Server) httpDeleteUser(w http.ResponseWriter, r *http.Request) {
	login := r.PathValue("login")
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	u := s.core.users[login]
	if u == nil {
		userChanged(w, http.StatusNotFound, login, "NotFound")
		return
	}
	s.core.deleteUser(u)
	userChanged(w, http.StatusOK, login, "Success")
}

func (s *Server) httpEnableUser(enabled bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.changeUser(w, r, userUpdated, func(u *user) { u.disabled = !enabled })
	}
}

func (s *Server) httpResetPassword(w http.ResponseWriter, r *http.Request) {
	var m struct {
		NewPassword string `json:"newPassword"`
	}
	if readJSON(w, r, &m) {
		s.changeUser(w, r, passwordChanged, func(u *user) { u.setPassword(m.NewPassword) })
	}
}

// httpChangePassword is for users themselves, who must know the current password.
func (s *Server) httpChangePassword(w http.ResponseWriter, r *http.Request) {
	var m struct {
		CurrentPassword string `json:"currentPassword"`
		NewPassword     string `json:"newPassword"`
	}
	if _, ok := s.authorized(w, r); !ok || !readJSON(w, r, &m) {
		return
	}
	s.core.mu.Lock()
	known := s.core.login(r.PathValue("login"), m.CurrentPassword) != nil
	s.core.mu.Unlock()
	if !known {
		unauthorized(w)
		return
	}
	s.changeUser(w, r, passwordChanged, func(u *user) { u.setPassword(m.NewPassword) })
}
