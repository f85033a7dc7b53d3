package eventlog

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
	Admins    = "$admins" // may do everything
	Operators = "$ops"    // may run the server
)

// User is a user of the server.
type User struct {
	Login    string
	FullName string
	Password string
	stored   *storedUser // of a user that was restored and has not logged in yet: password is not known
	Groups   []string
	Disabled bool
}

// BuiltinUsers returns the users of every new server.
func BuiltinUsers() []*User {
	return []*User{
		{Login: "admin", FullName: "Event Store Administrator", Password: "changeit", Groups: []string{Admins}},
		{Login: "ops", FullName: "Event Store Operations", Password: "changeit", Groups: []string{Operators}},
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

// storedUser is a user in the form of the event in the user's stream.
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

// AddUser adds a user. A user that exists gets the password and the missing groups.
func (l *Log) AddUser(u User) {
	known := l.users[u.Login]
	if known == nil {
		l.CreateUser(&u)
		return
	}
	groups := slices.Clone(known.Groups)
	for _, g := range u.Groups {
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
	}
	u.FullName, u.Groups = known.FullName, groups
	l.writeUser(&u, passwordChanged)
}

// CreateUser adds a new user and writes it to the log.
func (l *Log) CreateUser(u *User) {
	l.protectUser(u.Login)
	l.writeUser(u, userCreated)
	l.listUser(u.Login)
}

// UpdateUser replaces the user of the same login and writes that to the log.
func (l *Log) UpdateUser(u *User) { l.writeUser(u, userUpdated) }

// UserWritten returns the time of the last event about a user.
func (l *Log) UserWritten(u *User) time.Time {
	s := l.Stream(userStream + u.Login)
	return esproto.TicksToTime(s.At(s.Last()).Created).UTC()
}

func (l *Log) protectUser(login string) {
	l.SystemAppend("$$"+userStream+login, MetadataType, true, userMetadata, nil)
}

func (l *Log) writeUser(u *User, eventType string) {
	l.users[u.Login] = u
	stored := storedUser{LoginName: u.Login, FullName: u.FullName, Disabled: u.Disabled, Groups: u.Groups}
	if u.stored != nil {
		stored.Salt, stored.Hash = u.stored.Salt, u.stored.Hash
	} else {
		salt := NewGUID()
		stored.Salt, stored.Hash = salt[:], passwordHash(u.Password, salt[:])
	}
	l.SystemAppend(userStream+u.Login, eventType, true, Indented(stored), nil)
}

func (l *Log) listUser(login string) {
	l.SystemAppend(usersStream, "$User", false, []byte(login), nil)
}

// passwordHash returns the hash of a password in the server's form. If policy forbids the algorithm, it is nil, and no
// login succeeds.
func passwordHash(password string, salt []byte) []byte {
	hash, err := pbkdf2.Key(sha1.New, password, salt, 1000, 20)
	if err != nil {
		return nil
	}
	return hash
}

// restoreUsers reads the users from their streams.
func (l *Log) restoreUsers() {
	for name, s := range l.streams {
		login, ok := strings.CutPrefix(name, userStream)
		if !ok || s.Last() < 0 || s.SoftDeleted() || s.HardDeleted() {
			continue
		}
		var stored storedUser
		if err := json.Unmarshal(s.At(s.Last()).Data(), &stored); err != nil {
			l.logger.Error("a user cannot be read", "user", login, "error", err)
			continue
		}
		l.users[login] = &User{
			Login: login, FullName: stored.FullName, Groups: stored.Groups, Disabled: stored.Disabled, stored: &stored,
		}
	}
}

// HasPassword reports whether the password is right. It remembers the first right password of a restored user, because
// a hash takes long.
func (u *User) HasPassword(password string) bool {
	if u.stored == nil {
		return u.Password == password
	}
	hash := passwordHash(password, u.stored.Salt)
	if hash == nil || subtle.ConstantTimeCompare(hash, u.stored.Hash) != 1 {
		return false
	}
	u.SetPassword(password)
	return true
}

// SetPassword changes the password. UpdateUser writes the change to the log.
func (u *User) SetPassword(password string) { u.Password, u.stored = password, nil }

// DeleteUser removes a user and deletes its stream.
func (l *Log) DeleteUser(u *User) {
	delete(l.users, u.Login)
	l.SystemAppend("$$"+userStream+u.Login, MetadataType, true, SoftDeleteData, nil)
}

// NotifyPasswordChanged writes an event, for an hour, that tells other nodes to forget a user's password.
func (l *Log) NotifyPasswordChanged(login string) {
	if l.Stream(passwordStream) == nil {
		l.SystemAppend("$$"+passwordStream, MetadataType, true, []byte(`{"$maxAge":3600}`), nil)
	}
	l.SystemAppend(passwordStream, passwordChanged, true, Indented(map[string]string{"loginName": login}), nil)
}

func (u *User) in(group string) bool { return u != nil && slices.Contains(u.Groups, group) }

// System is the user for whom the server itself acts.
var System = &User{Login: "system", Groups: []string{Admins}}

// NoRights is a user without any right, even without the rights of Everyone.
var NoRights = &User{Login: "nobody"}

// IsAdmin reports whether the user is an administrator, who may do everything.
func (u *User) IsAdmin() bool { return u.in(Admins) }

// IsOperator reports whether the user may run the server. Administrators may, too.
func (u *User) IsOperator() bool { return u.IsAdmin() || u.in(Operators) }

// User returns the user of a login; nil without one.
func (l *Log) User(login string) *User { return l.users[login] }

// Users returns all users by their logins.
func (l *Log) Users() []*User {
	return slices.SortedFunc(maps.Values(l.users), func(a, b *User) int { return cmp.Compare(a.Login, b.Login) })
}

// Login returns the user with these credentials; nil without one.
func (l *Log) Login(login, password string) *User {
	u := l.users[login]
	if u == nil || u.Disabled || !u.HasPassword(password) {
		return nil
	}
	return u
}
