package estest

import (
	"cmp"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

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
		l.createUser(&u)
		return
	}
	groups := slices.Clone(known.groups)
	for _, g := range u.groups {
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	u.fullName, u.groups = known.fullName, groups
	l.writeUser(&u, passwordChanged)
}

// createUser makes a new user known, and writes that down.
func (l *eventLog) createUser(u *user) {
	l.protectUser(u.login)
	l.writeUser(u, userCreated)
	l.listUser(u.login)
}

// updateUser puts a user in the place of the one with the same login, and writes that down.
func (l *eventLog) updateUser(u *user) { l.writeUser(u, userUpdated) }

// userWritten returns when a user was written down last.
func (l *eventLog) userWritten(u *user) time.Time {
	s := l.stream(userStream + u.login)
	return esproto.TicksToTime(s.at(s.last()).created).UTC()
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

// system is the server itself, and whoever acts for it.
var system = &user{login: "system", groups: []string{groupAdmins}}

// nobody is a user that has no rights, not even those that everyone has.
var nobody = &user{login: "nobody"}

func (u *user) isAdmin() bool { return u.in(groupAdmins) }

// isOperator reports whether a user may run the server: administrators may, too.
func (u *user) isOperator() bool { return u.isAdmin() || u.in(groupOps) }

// User returns the user with a login; nil if there is none.
func (l *eventLog) User(login string) *user { return l.users[login] }

// Users returns all users by their logins.
func (l *eventLog) Users() []*user {
	return slices.SortedFunc(maps.Values(l.users), func(a, b *user) int { return cmp.Compare(a.login, b.login) })
}

// userWith returns the user with these credentials; nil if there is none.
func (l *eventLog) userWith(login, password string) *user {
	u := l.users[login]
	if u == nil || u.disabled || !u.hasPassword(password) {
		return nil
	}
	return u
}
