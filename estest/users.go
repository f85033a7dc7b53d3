package estest

import (
	"slices"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Groups that mean something to the server.
const (
	groupAdmins = "$admins"
	groupOps    = "$ops"
)

// user is somebody who may log in.
type user struct {
	login    string
	fullName string
	password string
	groups   []string
	disabled bool
}

// builtinUsers are those that every new server has.
func builtinUsers() map[string]*user {
	return map[string]*user{
		"admin": {login: "admin", fullName: "Event Store Administrator", password: "changeit", groups: []string{groupAdmins}},
		"ops":   {login: "ops", fullName: "Event Store Operations", password: "changeit", groups: []string{groupOps}},
	}
}

func (u *user) in(group string) bool { return u != nil && slices.Contains(u.groups, group) }

func (u *user) isAdmin() bool { return u.in(groupAdmins) }

// login returns the user with these credentials; nil if there is none.
func (c *core) login(login, password string) *user {
	u := c.users[login]
	if u == nil || u.disabled || u.password != password {
		return nil
	}
	return u
}

// userOf tells for whom a frame acts: the user of its own credentials, else that of the connection, else nobody. ok is
// false if that user failed to authenticate.
func (c *conn) userOf(creds *esproto.Credentials) (u *user, ok bool) {
	if creds != nil {
		u = c.core.login(creds.Login, creds.Password)
		return u, u != nil
	}
	return c.user, !c.refused
}

func (c *conn) authenticate(f *frame, creds *esproto.Credentials) {
	if creds == nil {
		c.notAuthenticated(f.id, "No user credentials provided.")
		return
	}
	c.user = c.core.login(creds.Login, creds.Password)
	if c.refused = c.user == nil; c.refused {
		c.notAuthenticated(f.id, "Unauthorized")
		return
	}
	c.send(esproto.CmdAuthenticated, f.id, nil)
}

func (c *conn) notAuthenticated(id esproto.CorrelationID, text string) {
	c.send(esproto.CmdNotAuthenticated, id, func(b []byte) []byte { return append(b, text...) })
}
