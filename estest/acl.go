package estest

import (
	"encoding/json"
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

func parseACL(raw json.RawMessage) *acl {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return nil
	}
	var a acl
	for r, key := range rightKeys {
		a[r] = parseRoles(fields[key])
	}
	return &a
}

// parseRoles reads a role or a list of roles. An empty list is not the same as none: it leaves the administrators.
func parseRoles(raw json.RawMessage) []string {
	var one string
	var list []string
	switch {
	case raw == nil || string(raw) == "null":
		return nil
	case json.Unmarshal(raw, &one) == nil:
		return []string{one}
	case json.Unmarshal(raw, &list) == nil:
		return append([]string{}, list...)
	}
	return nil
}

var (
	defaultUserACL   = acl{{everyone}, {everyone}, {everyone}, {everyone}, {everyone}}
	defaultSystemACL = acl{{groupAdmins}, {groupAdmins}, {groupAdmins}, {groupAdmins}, {groupAdmins}}
	allACL           = acl{{groupAdmins}, {}, {}, {groupAdmins}, {groupAdmins}}
)

const (
	settingsStream = "$settings"
	allStream      = "$all"
)

// defaultACL reads the defaults that $settings sets, and falls back, right by right, to the built-in ones.
func (c *core) defaultACL(name string) *acl {
	system := strings.HasPrefix(name, "$")
	def := defaultUserACL
	key := "$userStreamAcl"
	if system {
		def, key = defaultSystemACL, "$systemStreamAcl"
	}
	s := c.stream(settingsStream)
	if s == nil || s.last() < 0 || s.hardDeleted() {
		return &def
	}
	var settings map[string]json.RawMessage
	if json.Unmarshal(s.at(s.last()).data, &settings) != nil || settings[key] == nil {
		return &def
	}
	if set := parseACL(settings[key]); set != nil {
		for r := range set {
			if set[r] != nil {
				def[r] = set[r]
			}
		}
	}
	return &def
}

// allowed reports whether u, nil for nobody in particular, has a right on a stream. The rights on a metadata stream are
// the metadata rights on the stream that it belongs to.
func (c *core) allowed(u *user, r right, name string) bool {
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
		if isMetastream(name) {
			return false
		}
	}
	if name == allStream && (r == rightWrite || r == rightDelete) {
		return false
	}
	if u == nobody || u == nil && c.persona.denyAnonymous {
		return false
	}
	if u.isAdmin() {
		return true
	}
	roles := c.roles(r, name)
	if slices.Contains(roles, everyone) {
		return true
	}
	if u == nil {
		return false
	}
	return slices.Contains(roles, u.login) || slices.ContainsFunc(u.groups, func(g string) bool { return slices.Contains(roles, g) })
}

func (c *core) roles(r right, name string) []string {
	if s := c.stream(name); s != nil && s.meta.acl != nil && s.meta.acl[r] != nil {
		return s.meta.acl[r]
	}
	if name == allStream {
		return allACL[r]
	}
	return c.defaultACL(name)[r]
}

// mayManageGroups reports whether u may create, update and delete persistent subscription groups.
func (c *core) mayManageGroups(u *user) bool {
	if !c.persona.since(era5) {
		return c.allowed(u, rightWrite, settingsStream)
	}
	return u.isAdmin() || u.in(groupOps)
}
