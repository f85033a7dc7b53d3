package esclient_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// readAll reads a stream and returns the data of its events.
func readAll(t testing.TB, c *esclient.Client, stream string, opts esclient.ReadOptions) (data []string) {
	t.Helper()
	for e, err := range c.ReadStream(testContext(t), stream, opts) {
		require.NoError(t, err)
		data = append(data, string(e.Data))
	}
	return data
}

func words(from, to int) (w []string) {
	for n := from; n <= to; n++ {
		w = append(w, fmt.Sprint(n))
	}
	return w
}

func TestReadStreamInPages(t *testing.T) {
	c, stream := connect(t), name("s")
	appendNumbered(t, c, stream, 0, 99)
	for _, size := range []int{1, 7, 100, 4096} {
		assert.Equal(t, words(0, 99), readAll(t, c, stream, esclient.ReadOptions{PageSize: size}), "pages of %d", size)
	}
	assert.Equal(t, words(90, 99), readAll(t, c, stream, esclient.ReadOptions{From: esclient.FromNumber(90)}))
	assert.Equal(t, words(10, 24), readAll(t, c, stream, esclient.ReadOptions{From: esclient.FromNumber(10), MaxCount: 15, PageSize: 4}))
	assert.Equal(t, words(0, 4), readAll(t, c, stream, esclient.ReadOptions{MaxCount: 5}))
	assert.Empty(t, readAll(t, c, stream, esclient.ReadOptions{From: esclient.FromNumber(100)}))
}

func TestABrokenLoopLeavesNothingBehind(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, 0, 20)
	for e, err := range c.ReadStream(ctx, stream, esclient.ReadOptions{PageSize: 5}) {
		require.NoError(t, err)
		if e.Number == 7 {
			break
		}
	}
	_, err := c.Ping(ctx)
	assert.NoError(t, err)
}

func TestReadErrors(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	for name, tc := range map[string]struct {
		stream string
		opts   esclient.ReadOptions
		ctx    context.Context
		is     error
	}{
		"no stream":   {name("missing"), esclient.ReadOptions{}, ctx, esclient.ErrStreamNotFound},
		"denied":      {"$settings", esclient.ReadOptions{}, esclient.WithCredentials(ctx, esclient.Credentials{Login: "ops", Password: "changeit"}), esclient.ErrAccessDenied},
		"no name":     {"", esclient.ReadOptions{}, ctx, esclient.ErrInvalidArgument},
		"from":        {"s", esclient.ReadOptions{From: esclient.FromNumber(-1)}, ctx, esclient.ErrInvalidArgument},
		"max count":   {"s", esclient.ReadOptions{MaxCount: -1}, ctx, esclient.ErrInvalidArgument},
		"page size":   {"s", esclient.ReadOptions{PageSize: 4097}, ctx, esclient.ErrInvalidArgument},
		"page size -": {"s", esclient.ReadOptions{PageSize: -1}, ctx, esclient.ErrInvalidArgument},
	} {
		var n int
		for e, err := range c.ReadStream(tc.ctx, tc.stream, tc.opts) {
			n++
			assert.Nil(t, e, name)
			assert.ErrorIs(t, err, tc.is, name)
		}
		assert.Equal(t, 1, n, "%s: one error ends the loop", name)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range c.ReadStream(canceled, "s", esclient.ReadOptions{}) {
		assert.ErrorIs(t, err, context.Canceled)
	}
}

func TestLinks(t *testing.T) {
	c, ctx, target, links := connect(t), testContext(t), name("target"), name("links")
	appendNumbered(t, c, target, 0, 0)
	_, err := c.Append(ctx, links, esclient.Any,
		esclient.EventData{Type: "$>", Data: []byte("0@" + target)},
		esclient.EventData{Type: "$>", Data: []byte("7@" + target)},
		esclient.EventData{Type: "plain", Data: []byte("x")})
	require.NoError(t, err)
	var got []*esclient.Event
	for e, err := range c.ReadStream(ctx, links, esclient.ReadOptions{ResolveLinks: true}) {
		require.NoError(t, err)
		got = append(got, e)
	}
	require.Len(t, got, 3)
	assert.Equal(t, target, got[0].Stream)
	assert.Equal(t, "0", string(got[0].Data))
	require.NotNil(t, got[0].Link)
	assert.Equal(t, links, got[0].Original().Stream)
	assert.False(t, got[0].Unresolved)
	assert.True(t, got[1].Unresolved, "its target does not exist")
	assert.Equal(t, links, got[1].Stream)
	assert.Equal(t, int64(1), got[1].Original().Number)
	assert.Nil(t, got[2].Link)
	assert.False(t, got[2].Unresolved)
}
