package eventlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Right is what a user may want to do to a stream.
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

// Everyone is the role that all users have, and nobody in particular.
const Everyone = "$all"

// acl is who has which right; nil where it does not say.
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

// parseRoles reads a role or a list of roles. An empty list is not the same as none: it leaves the administrators.
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

// defaults are the rights on streams whose metadata does not say.
type defaults struct{ user, system acl }

// parseDefaults reads an event of $settings. What it leaves out is as built in, right by right; if it is not what it
// should be, everything is.
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

// LoadDefaults reads $settings as a process does when it begins. Later it takes every event that is written there.
func (l *Log) LoadDefaults() {
	var data []byte
	if s := l.Stream(settingsStream); s != nil && !s.HardDeleted() && s.Last() >= 0 {
		if r := s.Visible(s.Last(), l.now()); r != nil {
			data = r.Data
		}
	}
	l.defaults = parseDefaults(data)
}

// Allowed reports whether u, nil for nobody in particular, has a right on a stream. The rights on a metadata stream are
// the metadata rights on the stream that it belongs to. If that is a metadata stream itself, it has no metadata of its
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
	if u == Nobody || u == nil && l.facts.DeniesAnonymous {
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

// Roles returns who has a right on a stream: logins, groups, and Everyone. Administrators have all rights besides.
func (l *Log) Roles(r Right, name string) []string {
	if s := l.Stream(name); s != nil && s.meta.acl != nil && s.meta.acl[r] != nil {
		return s.meta.acl[r]
	}
	if strings.HasPrefix(name, "$") {
		return l.defaults.system[r]
	}
	return l.defaults.user[r]
}

// MayManageGroups reports whether u may create, update and delete persistent subscription groups.
func (l *Log) MayManageGroups(u *User) bool {
	if !l.facts.GroupsNeedOperator {
		return l.Allowed(u, RightWrite, settingsStream)
	}
	return u.IsOperator()
}
