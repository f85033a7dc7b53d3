package eventlog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// link appends a link with these data.
func (b *bench) link(data string) *eventlog.Record {
	return b.SystemAppend("links", eventlog.LinkType, false, []byte(data), nil)
}

func TestLinks(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	b.write("s", events(1, 2, 3)...)
	b.set("s", `{"$tb":1}`)
	b.write("odd@name", events(4)...)
	b.write("old", events(5)...)
	b.set("old", `{"$maxAge":60}`)
	b.write("soft", events(6)...)
	b.remove("soft", false)
	b.write("hard", events(7)...)
	b.remove("hard", true)
	b.now = b.now.Add(time.Hour)
	for data, want := range map[string]uint64{ // the id of the event; 0 if the link leads nowhere
		"1@s": 2, "2@s": 3, " 2 @s": 3, "-1@s": 3, "0@s": 0, "3@s": 0, "0@absent": 0, "0@odd@name": 4, "0@old": 0,
		"0@soft": 0, "0@hard": 0, "1": 0, "@s": 0, "x@s": 0, "": 0,
	} {
		r := b.link(data)
		event, link := b.Resolve(r)
		assert.Same(t, r, link, data)
		pushed, _ := b.ResolvePushed(r, false)
		assert.Same(t, event, pushed, data)
		if want == 0 {
			assert.Nil(t, event, data)
			continue
		}
		require.NotNil(t, event, data)
		assert.Equal(t, id(want), event.ID, data)
	}
	r := b.Stream("s").At(1)
	event, link := b.Resolve(r)
	assert.Same(t, r, event)
	assert.Nil(t, link, "an event that is no link is itself")
}

func TestLinksOfVersions(t *testing.T) {
	b := newBench(t, eventlog.Facts{BadLinkIsEvent: true, PushedLinkIsCut: true})
	b.write("odd@name", events(1)...)
	b.write("odd", events(2)...)
	bad := b.link("x@odd")
	event, link := b.Resolve(bad)
	assert.Same(t, bad, event)
	assert.Nil(t, link)
	event, link = b.ResolvePushed(bad, true)
	assert.Nil(t, event, "a push takes it for a dead link")
	assert.Same(t, bad, link)

	r := b.link("0@odd@name")
	event, _ = b.Resolve(r)
	assert.Equal(t, id(1), event.ID)
	event, _ = b.ResolvePushed(r, false)
	assert.Equal(t, id(1), event.ID)
	event, _ = b.ResolvePushed(r, true)
	assert.Equal(t, id(2), event.ID, "a group reads the name up to the second @")
}

func TestRightsOnTheTargetOfALink(t *testing.T) {
	for _, checks := range []bool{false, true} {
		b := newBench(t, eventlog.Facts{ChecksRightsOnLinkTarget: checks})
		b.write("secret", events(1)...)
		b.set("secret", `{"$acl":{"$r":[]}}`)
		r := b.link("0@secret")
		_, _, ok := b.ResolveFor(plain, r, true)
		assert.Equal(t, !checks, ok)
		_, _, ok = b.ResolveFor(admin, r, true)
		assert.True(t, ok)
		event, link, ok := b.ResolveFor(plain, r, false)
		assert.True(t, ok)
		assert.Same(t, r, event)
		assert.Nil(t, link)
	}
}
