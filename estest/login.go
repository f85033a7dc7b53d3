package estest

import (
	"encoding/binary"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// credentials cuts the credentials off a payload. Servers that know tokens read the first letter of the login as part
// of a token's length. So they take a login that does not begin in ASCII for a token, and for an invalid one.
func (p *persona) credentials(b []byte) (c esproto.Credentials, rest []byte, ok bool) {
	if p.loginMayBeToken && len(b) >= 2 && b[1] >= 0x80 {
		n := -int(int16(binary.LittleEndian.Uint16(b)))
		if len(b)-2 < n {
			return c, nil, false
		}
		return c, b[2+n:], true
	}
	c, rest, err := esproto.SplitCredentials(b)
	if err != nil || c.Password == "" && len(rest) == 0 && !p.emptyPasswordMayEnd {
		return c, nil, false
	}
	return c, rest, true
}

// userOf returns the user for whom a frame acts: the one of its own credentials, or the one of the connection, or nil.
// ok is false if that user failed to authenticate.
func (c *conn) userOf(creds *esproto.Credentials) (u *eventlog.User, ok bool) {
	if creds == nil && c.refused != nil && c.core.persona.retriesFailedLogin {
		creds = c.refused
	}
	if creds != nil {
		u = c.core.login(creds.Login, creds.Password)
		return u, u != nil
	}
	if c.user == nil && c.core.insecure {
		return insecureAnonymous, true
	}
	return c.user, c.refused == nil
}

func (c *conn) authenticate(f *frame) error {
	if c.core.starting() {
		return nil
	}
	if f.creds == nil {
		c.notAuthenticated(f.id, "No user credentials provided.")
		return nil
	}
	user := c.core.login(f.creds.Login, f.creds.Password)
	if c.core.persona.authenticatesLater && !c.core.insecure {
		// Until the check is done, the connection has no user, not even the previous one.
		c.user, c.refused = nil, f.creds
		c.pending.Store(&pendingLogin{id: f.id, user: user, creds: f.creds, before: c.pending.Load()})
		return nil
	}
	c.settleLogin(f.id, user, f.creds)
	return nil
}

// pendingLogin is an Authenticate without an answer yet.
type pendingLogin struct {
	id     esproto.CorrelationID
	user   *eventlog.User
	creds  *esproto.Credentials
	before *pendingLogin
}

// finishLogin answers the pending logins.
func (c *conn) finishLogin() {
	if c.pending.Load() == nil {
		return
	}
	c.core.mu.Lock()
	defer c.core.mu.Unlock()
	c.settlePending(c.pending.Swap(nil))
}

func (c *conn) settlePending(p *pendingLogin) {
	if p != nil {
		c.settlePending(p.before)
		c.settleLogin(p.id, p.user, p.creds)
	}
}

func (c *conn) settleLogin(id esproto.CorrelationID, user *eventlog.User, creds *esproto.Credentials) {
	c.user, c.refused = user, nil
	if user == nil {
		c.refused = creds
		c.notAuthenticated(id, "Unauthorized")
		return
	}
	c.send(esproto.CmdAuthenticated, id, nil)
}

func (c *conn) notAuthenticated(id esproto.CorrelationID, text string) {
	c.send(esproto.CmdNotAuthenticated, id, func(b []byte) []byte { return append(b, text...) })
}
