package estest

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"

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
	stored   *storedUser // of a user that was restored and has not logged in yet: password is not known
	groups   []string
	disabled bool
}

// credentials cuts the credentials off a payload. Servers that know tokens look for the length of one where the first
// letter of the login is: a login that does not begin in ASCII is one, and none that anybody has issued.
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

// builtinUsers are those that every new server has.
func builtinUsers() []*user {
	return []*user{
		{login: "admin", fullName: "Event Store Administrator", password: "changeit", groups: []string{groupAdmins}},
		{login: "ops", fullName: "Event Store Operations", password: "changeit", groups: []string{groupOps}},
	}
}

// The server keeps its users in streams, and lists them in another.
const (
	usersStream     = "$users"
	userStream      = "$user-" // and the login
	userCreated     = "$UserCreated"
	userUpdated     = "$UserUpdated"
	passwordStream  = "$users-password-notifications"
	passwordChanged = "$PasswordChanged"
)

// storedUser is a user as its stream has it.
type storedUser struct {
	LoginName string   `json:"loginName"`
	FullName  string   `json:"fullName,omitempty"`
	Salt      []byte   `json:"salt"`
	Hash      []byte   `json:"hash"`
	Disabled  bool     `json:"disabled,omitempty"`
	Groups    []string `json:"groups,omitempty"`
}

// userMetadata protects the stream of a user.
var userMetadata = []byte(`{"$acl":{"$w":"$admins","$d":"$admins","$mw":"$admins"}}`)

// addUser adds a user, or gives one who is there the password, and the groups that he has not yet.
func (l *eventLog) addUser(u user) {
	known := l.users[u.login]
	if known == nil {
		l.saveUser(&u, userCreated)
		return
	}
	groups := slices.Clone(known.groups)
	for _, g := range u.groups {
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	u.fullName, u.groups = known.fullName, groups
	l.saveUser(&u, passwordChanged)
}

// saveUser makes a user known, new or in place of what it was, and writes that down.
func (l *eventLog) saveUser(u *user, eventType string) {
	if eventType == userCreated {
		l.protectUser(u.login)
	}
	l.writeUser(u, eventType)
	if eventType == userCreated {
		l.listUser(u.login)
	}
}

func (l *eventLog) protectUser(login string) {
	l.systemAppend("$$"+userStream+login, metadataType, true, userMetadata, nil)
}

func (l *eventLog) writeUser(u *user, eventType string) {
	l.users[u.login] = u
	stored := storedUser{LoginName: u.login, FullName: u.fullName, Disabled: u.disabled, Groups: u.groups}
	if u.stored != nil {
		stored.Salt, stored.Hash = u.stored.Salt, u.stored.Hash
	} else {
		salt := newGUID()
		stored.Salt, stored.Hash = salt[:], passwordHash(u.password, salt[:])
	}
	l.systemAppend(userStream+u.login, eventType, true, indented(stored), nil)
}

func (l *eventLog) listUser(login string) {
	l.systemAppend(usersStream, "$User", false, []byte(login), nil)
}

// passwordHash is how the server keeps passwords. It is nil only where policy forbids the algorithm: nobody logs in
// then.
func passwordHash(password string, salt []byte) []byte {
	hash, err := pbkdf2.Key(sha1.New, password, salt, 1000, 20)
	if err != nil {
		return nil
	}
	return hash
}

// restoreUsers reads the users from their streams.
func (l *eventLog) restoreUsers() {
	for name, s := range l.streams {
		login, ok := strings.CutPrefix(name, userStream)
		if !ok || s.last() < 0 || s.softDeleted() || s.hardDeleted() {
			continue
		}
		var stored storedUser
		if err := json.Unmarshal(s.at(s.last()).data, &stored); err != nil {
			l.logger.Error("a user cannot be read", "user", login, "error", err)
			continue
		}
		l.users[login] = &user{
			login: login, fullName: stored.FullName, groups: stored.Groups, disabled: stored.Disabled, stored: &stored,
		}
	}
}

// hasPassword remembers the password of a restored user when it is told for the first time: hashing it takes long.
func (u *user) hasPassword(password string) bool {
	if u.stored == nil {
		return u.password == password
	}
	hash := passwordHash(password, u.stored.Salt)
	if hash == nil || subtle.ConstantTimeCompare(hash, u.stored.Hash) != 1 {
		return false
	}
	u.setPassword(password)
	return true
}

func (u *user) setPassword(password string) { u.password, u.stored = password, nil }

func (l *eventLog) deleteUser(u *user) {
	delete(l.users, u.login)
	l.systemAppend("$$"+userStream+u.login, metadataType, true, softDeleteData, nil)
}

// notifyPasswordChanged writes down, for an hour, that what is remembered of a user holds no more.
func (l *eventLog) notifyPasswordChanged(login string) {
	if l.stream(passwordStream) == nil {
		l.systemAppend("$$"+passwordStream, metadataType, true, []byte(`{"$maxAge":3600}`), nil)
	}
	l.systemAppend(passwordStream, passwordChanged, true, indented(map[string]string{"loginName": login}), nil)
}

func (u *user) in(group string) bool { return u != nil && slices.Contains(u.groups, group) }

// nobody is a user that has no rights, not even those that everyone has.
var nobody = &user{login: "nobody"}

func (u *user) isAdmin() bool { return u.in(groupAdmins) }

// isOperator reports whether a user may run the server: administrators may, too.
func (u *user) isOperator() bool { return u.isAdmin() || u.in(groupOps) }

// userWith returns the user with these credentials; nil if there is none.
func (l *eventLog) userWith(login, password string) *user {
	u := l.users[login]
	if u == nil || u.disabled || !u.hasPassword(password) {
		return nil
	}
	return u
}

// userOf tells for whom a frame acts: the user of its own credentials, else that of the connection, else nobody. ok is
// false if that user failed to authenticate.
func (c *conn) userOf(creds *esproto.Credentials) (u *user, ok bool) {
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
		// Until the check is done nobody is authenticated, not even who was before.
		c.user, c.refused = nil, f.creds
		c.pending.Store(&pendingLogin{id: f.id, user: user, creds: f.creds, before: c.pending.Load()})
		return nil
	}
	c.settleLogin(f.id, user, f.creds)
	return nil
}

// pendingLogin is an Authenticate whose answer is still to come.
type pendingLogin struct {
	id     esproto.CorrelationID
	user   *user
	creds  *esproto.Credentials
	before *pendingLogin
}

// finishLogin answers what is pending.
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

func (c *conn) settleLogin(id esproto.CorrelationID, user *user, creds *esproto.Credentials) {
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
