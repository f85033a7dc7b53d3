package eventlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Right is an action on a stream that a user may have the right to.
type Right int

// The rights.
const (
	RightRead      Right = iota // to read the stream, and to subscribe to it
	RightWrite                  // to append to it
	RightDelete                 // to delete it
	RightMetaRead               // to read its metadata
	RightMetaWrite              // to write its metadata
	rights                      // how many there are
)

var rightKeys = [rights]string{"$r", "$w", "$d", "$mr", "$mw"}

// Everyone is a role that all users have, also clients without credentials.
const Everyone = "$all"

// acl lists the roles that have each right. A right is nil if the ACL does not name it.
type acl [rights][]string

func parseACL(raw json.RawMessage) (*acl, error) {
	fields, err := parseObject(raw)
	if err != nil {
		return nil, err
	}
	var a acl
	for key, raw := range fields {
		r := slices.Index(rightKeys[:], key)
		if r < 0 {
			return nil, fmt.Errorf("%q is no right", key)
		}
		if a[r], err = parseRoles(raw); err != nil {
			return nil, err
		}
	}
	return &a, nil
}

// parseRoles reads a role or a list of roles. An empty list leaves the right to the administrators alone.
func parseRoles(raw json.RawMessage) ([]string, error) {
	var one *string
	if json.Unmarshal(raw, &one) == nil && one != nil {
		return []string{*one}, nil
	}
	var list []*string
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return nil, fmt.Errorf("%s is neither a role nor a list of roles", raw)
	}
	roles := make([]string, len(list))
	for i, role := range list {
		if role == nil {
			return nil, errors.New("a role is null")
		}
		roles[i] = *role
	}
	return roles, nil
}

var (
	builtinUserACL   = acl{{Everyone}, {Everyone}, {Everyone}, {Everyone}, {Everyone}}
	builtinSystemACL = acl{{Admins}, {Admins}, {Admins}, {Admins}, {Admins}}
)

// AllStream is the name by which users have rights on the whole log. No stream has it.
const AllStream = "$all"

const settingsStream = "$settings"

// defaults are the rights on streams whose metadata name none.
type defaults struct{ user, system acl }

// parseDefaults reads an event of $settings. A right that the event does not name is the built-in one. All rights are
// built in if the event is malformed.
func parseDefaults(data []byte) defaults {
	builtin := defaults{user: builtinUserACL, system: builtinSystemACL}
	fields, err := parseObject(data)
	if err != nil {
		return builtin
	}
	d := builtin
	for key, def := range map[string]*acl{"$userStreamAcl": &d.user, "$systemStreamAcl": &d.system} {
		raw, ok := fields[key]
		if !ok {
			continue
		}
		set, err := parseACL(raw)
		if err != nil {
			return builtin
		}
		for r := range set {
			if set[r] != nil {
				def[r] = set[r]
			}
		}
	}
	return d
}

// LoadDefaults reads the default rights from $settings, as a process does when it begins. Later the log follows each
// event that is written there.
func (l *Log) LoadDefaults() {
	var data []byte
	if s := l.Stream(settingsStream); s != nil && !s.HardDeleted() && s.Last() >= 0 {
		if r := s.Visible(s.Last(), l.now()); r != nil {
			data = r.Data()
		}
	}
	l.defaults = parseDefaults(data)
}

// Allowed reports whether a user has a right on a stream. A nil user is a client without credentials. The rights on a
// metadata stream are the metadata rights on the stream that it belongs to. A metadata stream has no metadata of its
// own.
func (l *Log) Allowed(u *User, r Right, name string) bool {
	if name == "" && l.facts.EmptyNameIsAll {
		name = AllStream
	}
	if isMetastream(name) {
		name = name[2:]
		switch r {
		case RightRead:
			r = RightMetaRead
		case RightWrite:
			r = RightMetaWrite
		case RightDelete:
			return false
		}
		if isMetastream(name) && !l.facts.NestedMetadataIsSystem {
			return false
		}
	}
	if name == AllStream && (r == RightWrite || r == RightDelete) {
		return false
	}
	if u == NoRights || u == nil && l.facts.DeniesAnonymous {
		return false
	}
	if u.IsAdmin() {
		return true
	}
	roles := l.Roles(r, name)
	if slices.Contains(roles, Everyone) {
		return true
	}
	if u == nil {
		return false
	}
	return slices.Contains(roles, u.Login) || slices.ContainsFunc(u.Groups, func(g string) bool {
		return slices.Contains(roles, g)
	})
}

// Roles returns the logins and groups that have a right on a stream, among them Everyone. Administrators have all
// rights besides.
func (l *Log) Roles(r Right, name string) []string {
	if s := l.Stream(name); s != nil && s.meta.acl != nil && s.meta.acl[r] != nil {
		return s.meta.acl[r]
	}
	if strings.HasPrefix(name, "$") {
		return l.defaults.system[r]
	}
	return l.defaults.user[r]
}

// MayManageGroups reports whether a user may create, update and delete persistent subscription groups.
func (l *Log) MayManageGroups(u *User) bool {
	if !l.facts.GroupsNeedOperator {
		return l.Allowed(u, RightWrite, settingsStream)
	}
	return u.IsOperator()
}
