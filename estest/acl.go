package estest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// right is what a user may want to do to a stream.
type right int

const (
	rightRead right = iota
	rightWrite
	rightDelete
	rightMetaRead
	rightMetaWrite
	rights // how many there are
)

var rightKeys = [rights]string{"$r", "$w", "$d", "$mr", "$mw"}

// everyone is the role that all users have, and nobody in particular.
const everyone = "$all"

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
	builtinUserACL   = acl{{everyone}, {everyone}, {everyone}, {everyone}, {everyone}}
	builtinSystemACL = acl{{groupAdmins}, {groupAdmins}, {groupAdmins}, {groupAdmins}, {groupAdmins}}
)

const (
	settingsStream = "$settings"
	allStream      = "$all"
)

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

// loadDefaults reads $settings as a process does when it begins. Later it takes every event that is written there.
func (l *eventLog) loadDefaults() {
	var data []byte
	if s := l.stream(settingsStream); s != nil && !s.hardDeleted() && s.last() >= 0 {
		if r := s.visible(s.last(), l.now()); r != nil {
			data = r.data
		}
	}
	l.defaults = parseDefaults(data)
}

// allowed reports whether u, nil for nobody in particular, has a right on a stream. The rights on a metadata stream are
// the metadata rights on the stream that it belongs to. If that is a metadata stream itself, it has no metadata of its
// own.
func (l *eventLog) allowed(u *user, r right, name string) bool {
	if name == "" && l.facts.EmptyNameIsAll {
		name = allStream
	}
	if isMetastream(name) {
		name = name[2:]
		switch r {
		case rightRead:
			r = rightMetaRead
		case rightWrite:
			r = rightMetaWrite
		case rightDelete:
			return false
		}
		if isMetastream(name) && !l.facts.NestedMetadataIsSystem {
			return false
		}
	}
	if name == allStream && (r == rightWrite || r == rightDelete) {
		return false
	}
	if u == nobody || u == nil && l.facts.DeniesAnonymous {
		return false
	}
	if u.isAdmin() {
		return true
	}
	roles := l.roles(r, name)
	if slices.Contains(roles, everyone) {
		return true
	}
	if u == nil {
		return false
	}
	return slices.Contains(roles, u.login) || slices.ContainsFunc(u.groups, func(g string) bool {
		return slices.Contains(roles, g)
	})
}

func (l *eventLog) roles(r right, name string) []string {
	if s := l.stream(name); s != nil && s.meta.acl != nil && s.meta.acl[r] != nil {
		return s.meta.acl[r]
	}
	if strings.HasPrefix(name, "$") {
		return l.defaults.system[r]
	}
	return l.defaults.user[r]
}

// mayManageGroups reports whether u may create, update and delete persistent subscription groups.
func (l *eventLog) mayManageGroups(u *user) bool {
	if !l.facts.GroupsNeedOperator {
		return l.allowed(u, rightWrite, settingsStream)
	}
	return u.isOperator()
}
