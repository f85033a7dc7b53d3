package eventlog_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// The users of the requests.
var (
	admin  = &eventlog.User{Login: "root", Groups: []string{eventlog.Admins}}
	ops    = &eventlog.User{Login: "op", Groups: []string{eventlog.Operators}}
	plain  = &eventlog.User{Login: "plain"}
	member = &eventlog.User{Login: "member", Groups: []string{"team"}}
)

func TestRights(t *testing.T) {
	everybody := []*eventlog.User{nil, plain, member, ops, admin}
	admins := []*eventlog.User{admin}
	for _, tc := range []struct {
		name     string
		facts    eventlog.Facts
		stream   string
		right    eventlog.Right
		metadata string // of the stream s
		settings string // $settings
		allowed  []*eventlog.User
	}{
		{name: "a stream of users", stream: "s", right: eventlog.RightRead, allowed: everybody},
		{name: "a stream of the server", stream: "$s", right: eventlog.RightRead, allowed: admins},
		{name: "the metadata of a stream of the server", stream: "$$$s", right: eventlog.RightRead, allowed: admins},
		{name: "all may not be written to", stream: "$all", right: eventlog.RightWrite},
		{name: "all may not be deleted", stream: "$all", right: eventlog.RightDelete},
		{name: "metadata may not be deleted", stream: "$$s", right: eventlog.RightDelete},
		{name: "metadata of metadata", stream: "$$$$s", right: eventlog.RightRead},
		{name: "metadata of metadata as the server's", stream: "$$$$s", right: eventlog.RightRead,
			facts: eventlog.Facts{NestedMetadataIsSystem: true}, allowed: admins},
		{name: "no name", stream: "", right: eventlog.RightRead, allowed: everybody},
		{name: "no name as all", stream: "", right: eventlog.RightRead,
			facts: eventlog.Facts{EmptyNameIsAll: true}, allowed: admins},
		{name: "no credentials", stream: "s", right: eventlog.RightRead,
			facts: eventlog.Facts{DeniesAnonymous: true}, allowed: everybody[1:]},
		{name: "a login", stream: "s", right: eventlog.RightRead, metadata: `{"$acl":{"$r":"plain"}}`,
			allowed: []*eventlog.User{plain, admin}},
		{name: "a group", stream: "s", right: eventlog.RightWrite, metadata: `{"$acl":{"$w":["team","$ops"]}}`,
			allowed: []*eventlog.User{member, ops, admin}},
		{name: "another right", stream: "s", right: eventlog.RightRead, metadata: `{"$acl":{"$w":"plain"}}`,
			allowed: everybody},
		{name: "an empty list", stream: "s", right: eventlog.RightDelete, metadata: `{"$acl":{"$d":[]}}`,
			allowed: admins},
		{name: "to read metadata", stream: "$$s", right: eventlog.RightRead, metadata: `{"$acl":{"$mr":"member"}}`,
			allowed: []*eventlog.User{member, admin}},
		{name: "to write metadata", stream: "$$s", right: eventlog.RightWrite, metadata: `{"$acl":{"$mw":"member"}}`,
			allowed: []*eventlog.User{member, admin}},
		{name: "everybody", stream: "s", right: eventlog.RightRead, metadata: `{"$acl":{"$r":"$all"}}`,
			allowed: everybody},
		{name: "a list with null", stream: "s", right: eventlog.RightRead, metadata: `{"$acl":{"$r":[null]}}`,
			allowed: everybody},
		{name: "an unknown right", stream: "s", right: eventlog.RightRead,
			metadata: `{"$acl":{"$r":"plain","$x":"plain"}}`, allowed: everybody},
		{name: "defaults of users' streams", stream: "s", right: eventlog.RightRead,
			settings: `{"$userStreamAcl":{"$r":"team"}}`, allowed: []*eventlog.User{member, admin}},
		{name: "defaults of the server's streams", stream: "$s", right: eventlog.RightRead,
			settings: `{"$systemStreamAcl":{"$r":"$ops"}}`, allowed: []*eventlog.User{ops, admin}},
		{name: "defaults of another right", stream: "s", right: eventlog.RightWrite,
			settings: `{"$userStreamAcl":{"$r":"team"}}`, allowed: everybody},
		{name: "the stream's own before the defaults", stream: "s", right: eventlog.RightRead,
			metadata: `{"$acl":{"$r":"plain"}}`, settings: `{"$userStreamAcl":{"$r":"team"}}`,
			allowed: []*eventlog.User{plain, admin}},
		{name: "settings that are none", stream: "s", right: eventlog.RightRead, settings: `{"$userStreamAcl":7}`,
			allowed: everybody},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, tc.facts)
			if tc.metadata != "" {
				b.set("s", tc.metadata)
			}
			if tc.settings != "" {
				b.SystemAppend("$settings", "update", true, []byte(tc.settings), nil)
			}
			var allowed []*eventlog.User
			for _, u := range everybody {
				if b.Allowed(u, tc.right, tc.stream) {
					allowed = append(allowed, u)
				}
			}
			assert.Equal(t, tc.allowed, allowed)
			assert.False(t, b.Allowed(eventlog.NoRights, tc.right, tc.stream))
		})
	}
}

// A process follows the events of $settings. A new process reads the events that are visible there.
func TestSettingsAreReadAtTheBeginning(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	b.SystemAppend("$settings", "update", true, []byte(`{"$userStreamAcl":{"$r":"team"}}`), nil)
	b.Restart()
	assert.False(t, b.Allowed(plain, eventlog.RightRead, "s"))
	b.set("$settings", `{"$tb":1}`)
	assert.False(t, b.Allowed(plain, eventlog.RightRead, "s"))
	b.Restart()
	assert.True(t, b.Allowed(plain, eventlog.RightRead, "s"))
}

func TestWhoMayManageGroups(t *testing.T) {
	for _, operators := range []bool{false, true} {
		b := newBench(t, eventlog.Facts{GroupsNeedOperator: operators})
		assert.True(t, b.MayManageGroups(admin))
		assert.Equal(t, operators, b.MayManageGroups(ops))
		assert.False(t, b.MayManageGroups(plain))
		assert.False(t, b.MayManageGroups(nil))
		b.set("$settings", `{"$acl":{"$w":"plain"}}`)
		assert.Equal(t, !operators, b.MayManageGroups(plain))
	}
}

// The log refuses a forbidden write and does not change.
func TestRefusals(t *testing.T) {
	for _, first := range []bool{false, true} {
		b := newBench(t, eventlog.Facts{DeniedText: "no", RefusedReadHasText: first, ReadRightIsFirst: first})
		b.write("s", events(1)...)
		b.set("s", `{"$acl":{"$r":[],"$w":[],"$d":[]}}`)
		before := b.End()
		assert.Equal(t, denied, b.Append(plain, "s", anyVersion, events(2)).Result)
		assert.Equal(t, denied, b.Delete(plain, "s", anyVersion, true).Result)
		assert.Equal(t, before, b.End())
		page := b.Read(plain, "s", 0, esproto.MaxReadCount+1, true)
		all := b.ReadAll(plain, eventlog.Position{}, &eventlog.Scan{Forward: true, Count: 1, Window: 1})
		if first {
			assert.Equal(t, esproto.ReadStreamEventsCompleted_AccessDenied, page.Result, "before the size")
			assert.Equal(t, "no", page.Text)
			assert.Equal(t, "no", all.Text)
		} else {
			assert.Equal(t, esproto.ReadStreamEventsCompleted_Error, page.Result)
			assert.Empty(t, all.Text)
		}
		assert.Equal(t, esproto.ReadAllEventsCompleted_AccessDenied, all.Result)
		assert.Equal(t, esproto.ReadStreamEventsCompleted_AccessDenied, b.Read(plain, "s", 0, 1, true).Result)
	}
}

func TestUsers(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	b.Lead("instance", eventlog.BuiltinUsers())
	assert.NotNil(t, b.Login("admin", "changeit"))
	assert.Nil(t, b.Login("admin", "wrong"))
	assert.Nil(t, b.Login("absent", "changeit"))

	b.AddUser(eventlog.User{Login: "a", Password: "p", Groups: []string{"g"}})
	b.AddUser(eventlog.User{Login: "a", Password: "q", Groups: []string{"h", "g"}})
	assert.Nil(t, b.Login("a", "p"))
	u := b.Login("a", "q")
	assert.Equal(t, []string{"g", "h"}, u.Groups)
	var logins []string
	for _, u := range b.Users() {
		logins = append(logins, u.Login)
	}
	assert.Equal(t, []string{"a", "admin", "ops"}, logins)

	next := *u
	next.Disabled = true
	b.UpdateUser(&next)
	assert.Nil(t, b.Login("a", "q"))
	assert.Equal(t, b.now, b.UserWritten(b.User("a")))
	b.DeleteUser(b.User("a"))
	assert.Nil(t, b.User("a"))
	for _, r := range b.Records().From(0) {
		assert.NotContains(t, string(r.Data()), "changeit", "no password is written down")
	}
}
