package esclient_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// TestLinksThatLeadToNoEvent holds that all kinds of reads and subscriptions, on all versions, tell the same links from
// others.
func TestLinksThatLeadToNoEvent(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		c, ctx := connectTo(t, persona), testContext(t)
		target, inner, links := name("target"), name("inner"), name("links")
		appendNumbered(t, c, target, 0, 1)
		append1 := func(stream, typ, data string) {
			_, err := c.Append(ctx, stream, esclient.Any, esclient.EventData{Type: typ, Data: []byte(data)})
			require.NoError(t, err)
		}
		append1(inner, "$>", "0@"+target)
		data := []string{
			"0@" + target, "2@" + target, "0@" + name("none"), "nonsense", "x@" + target, "", "5@", "0@" + inner,
			"1@" + target,
		}
		want := []bool{false, true, true, true, true, true, true, true, false}
		caught, err := c.SubscribeVolatile(ctx, links, esclient.VolatileOptions{ResolveLinks: true})
		require.NoError(t, err)
		defer caught.Stop()
		for _, d := range data {
			append1(links, "$>", d)
		}

		check := func(what string, n int, e *esclient.Event) {
			assert.Equal(t, want[n], e.Unresolved, "%s, %s: %q", persona, what, data[n])
			assert.Equal(t, int64(n), e.Original().Number, what)
			assert.Equal(t, data[n], string(e.Original().Data), what)
		}
		for n := range data {
			e, err := c.ReadEvent(ctx, links, int64(n), esclient.ReadEventOptions{ResolveLinks: true})
			require.NoError(t, err)
			check("event", n, e)
			e, err = caught.Next(ctx)
			require.NoError(t, err)
			check("volatile", n, e)
			e, err = c.ReadEvent(ctx, links, int64(n), esclient.ReadEventOptions{})
			require.NoError(t, err)
			assert.False(t, e.Unresolved, "the read asked for links")
		}
		for _, backward := range []bool{false, true} {
			n, step := 0, 1
			if backward {
				n, step = len(data)-1, -1
			}
			for e, err := range c.ReadStream(ctx, links, esclient.ReadOptions{ResolveLinks: true, Backward: backward}) {
				require.NoError(t, err)
				check("stream", n, e)
				n += step
			}
		}
		n := 0
		for e, err := range c.ReadAll(ctx, esclient.ReadAllOptions{ResolveLinks: true}) {
			require.NoError(t, err)
			if e.Original().Stream == links {
				check("$all", n, e)
				n++
			}
		}
		assert.Equal(t, len(data), n)
		catchUp, err := c.SubscribeCatchUp(ctx, links, esclient.CatchUpOptions{ResolveLinks: true})
		require.NoError(t, err)
		defer catchUp.Stop()
		for n := range data {
			e, err := catchUp.Next(ctx)
			require.NoError(t, err)
			check("catch-up", n, e)
		}
	}
}

func TestLinkTarget(t *testing.T) {
	for data, want := range map[string]struct {
		stream string
		number int64
		ok     bool
	}{
		"3@a-b":                 {"a-b", 3, true},
		"0@a@b":                 {"a@b", 0, true},
		"-1@a":                  {"a", -1, true},
		"9223372036854775807@a": {"a", 1<<63 - 1, true},
		"9223372036854775808@a": {},
		"x@a":                   {},
		"3@":                    {},
		"3":                     {},
		"@a":                    {},
		"":                      {},
	} {
		e := esclient.Event{Type: "$>", Data: []byte(data)}
		stream, number, ok := e.LinkTarget()
		assert.Equal(t, want.ok, ok, "%q", data)
		assert.Equal(t, want.stream, stream, "%q", data)
		assert.Equal(t, want.number, number, "%q", data)
		e.Type = "t"
		_, _, ok = e.LinkTarget()
		assert.False(t, ok, "an event of another type")
	}
}
