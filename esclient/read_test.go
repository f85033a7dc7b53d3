package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

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
	from := esclient.ReadOptions{From: esclient.FromNumber(10), MaxCount: 15, PageSize: 4}
	assert.Equal(t, words(10, 24), readAll(t, c, stream, from))
	assert.Equal(t, words(0, 4), readAll(t, c, stream, esclient.ReadOptions{MaxCount: 5}))
	after := esclient.ReadOptions{From: esclient.AfterNumber(10), MaxCount: 14, PageSize: 4}
	assert.Equal(t, words(11, 24), readAll(t, c, stream, after))
	assert.Equal(t, words(0, 2), readAll(t, c, stream, esclient.ReadOptions{From: esclient.FromStart(), MaxCount: 3}))
	assert.Empty(t, readAll(t, c, stream, esclient.ReadOptions{From: esclient.FromNumber(100)}))
}

// down is words from high to low.
func down(from, to int) []string {
	w := words(to, from)
	slices.Reverse(w)
	return w
}

func TestReadStreamBackward(t *testing.T) {
	c, stream := connect(t), name("s")
	appendNumbered(t, c, stream, 0, 99)
	for what, tc := range map[string]struct {
		opts esclient.ReadOptions
		want []string
	}{
		"all":              {esclient.ReadOptions{}, down(99, 0)},
		"in small pages":   {esclient.ReadOptions{PageSize: 7}, down(99, 0)},
		"in single events": {esclient.ReadOptions{PageSize: 1}, down(99, 0)},
		"from the end":     {esclient.ReadOptions{From: esclient.FromEnd(), MaxCount: 3}, down(99, 97)},
		"from a number":    {esclient.ReadOptions{From: esclient.FromNumber(7), PageSize: 3}, down(7, 0)},
		"from the first":   {esclient.ReadOptions{From: esclient.FromNumber(0)}, words(0, 0)},
		"before a number": {
			esclient.ReadOptions{From: esclient.AfterNumber(7), MaxCount: 5, PageSize: 3}, down(6, 2),
		},
		"before the first": {esclient.ReadOptions{From: esclient.AfterNumber(0)}, nil},
		"from beyond": {
			esclient.ReadOptions{From: esclient.FromNumber(1000), PageSize: 10, MaxCount: 12}, down(99, 88),
		},
		"from right behind": {
			esclient.ReadOptions{From: esclient.FromNumber(100), PageSize: 10, MaxCount: 12}, down(99, 88),
		},
		"no more than there": {esclient.ReadOptions{From: esclient.FromNumber(3), MaxCount: 100}, down(3, 0)},
	} {
		tc.opts.Backward = true
		assert.Equal(t, tc.want, readAll(t, c, stream, tc.opts), what)
	}
}

func TestStreamPages(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, 0, 9)
	for _, backward := range []bool{false, true} {
		opts := esclient.ReadOptions{Backward: backward, PageSize: 4}
		var got []string
		var sizes []int
		for end := false; !end; {
			page, err := c.ReadStreamPage(ctx, stream, opts)
			require.NoError(t, err)
			assert.Equal(t, int64(9), page.LastEventNumber)
			for i := range page.Events {
				got = append(got, string(page.Events[i].Data))
			}
			sizes = append(sizes, len(page.Events))
			opts.From, end = page.Next, page.EndOfStream
		}
		assert.Equal(t, []int{4, 4, 2}, sizes)
		if backward {
			slices.Reverse(got)
		}
		assert.Equal(t, words(0, 9), got)

		page, err := c.ReadStreamPage(ctx, stream, opts)
		require.NoError(t, err)
		assert.Empty(t, page.Events, "nothing lies behind the last page")
		assert.True(t, page.EndOfStream)
		assert.Equal(t, opts.From, page.Next)
	}
	page, err := c.ReadStreamPage(ctx, stream, esclient.ReadOptions{MaxCount: 3})
	require.NoError(t, err)
	assert.Len(t, page.Events, 3)
	assert.Equal(t, "with event 3", page.Next.String())
	appendNumbered(t, c, stream, 10, 11)
	page, err = c.ReadStreamPage(ctx, stream, esclient.ReadOptions{From: esclient.FromNumber(10)})
	require.NoError(t, err)
	assert.Len(t, page.Events, 2)
}

func TestReadingATruncatedStream(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, 0, 19)
	_, err := c.Append(ctx, "$$"+stream, esclient.Any,
		esclient.EventData{Type: "$metadata", ContentType: esclient.ContentTypeJSON, Data: []byte(`{"$tb":12}`)})
	require.NoError(t, err)
	assert.Equal(t, words(12, 19), readAll(t, c, stream, esclient.ReadOptions{PageSize: 3}))
	assert.Equal(t, down(19, 12), readAll(t, c, stream, esclient.ReadOptions{PageSize: 3, Backward: true}))
	assert.Empty(t, readAll(t, c, stream, esclient.ReadOptions{From: esclient.FromNumber(11), Backward: true}))

	page, err := c.ReadStreamPage(ctx, stream, esclient.ReadOptions{PageSize: 3})
	require.NoError(t, err)
	assert.Empty(t, page.Events)
	assert.False(t, page.EndOfStream, "an empty page is not the end")
	assert.Equal(t, esclient.FromNumber(12), page.Next)

	_, err = c.ReadEvent(ctx, stream, 11, esclient.ReadEventOptions{})
	assert.ErrorIs(t, err, esclient.ErrEventNotFound)
}

func TestReadEvent(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, 0, 9)
	for number, want := range map[int64]string{0: "0", 4: "4", 9: "9", esclient.LastEvent: "9"} {
		e, err := c.ReadEvent(ctx, stream, number, esclient.ReadEventOptions{})
		require.NoError(t, err)
		assert.Equal(t, want, string(e.Data))
		assert.Equal(t, stream, e.Stream)
		assert.Equal(t, "numbered", e.Type)
		assert.WithinDuration(t, time.Now(), e.Created.Time(), time.Hour)
		assert.Equal(t, esclient.UnknownPosition, e.Position)
	}
	links := name("links")
	_, err := c.Append(ctx, links, esclient.Any,
		esclient.EventData{Type: "$>", Data: []byte("4@" + stream)},
		esclient.EventData{Type: "$>", Data: []byte("44@" + stream)})
	require.NoError(t, err)
	e, err := c.ReadEvent(ctx, links, 0, esclient.ReadEventOptions{})
	require.NoError(t, err)
	assert.Equal(t, "$>", e.Type, "links are not resolved unless that is asked for")
	e, err = c.ReadEvent(ctx, links, 0, esclient.ReadEventOptions{ResolveLinks: true})
	require.NoError(t, err)
	assert.Equal(t, "4", string(e.Data))
	assert.Equal(t, links, e.Link.Stream)
	e, err = c.ReadEvent(ctx, links, 1, esclient.ReadEventOptions{ResolveLinks: true})
	require.NoError(t, err)
	assert.True(t, e.Unresolved)
}

func TestReadEventErrors(t *testing.T) {
	c, ctx, stream, deleted := connect(t), testContext(t), name("s"), name("deleted")
	appendNumbered(t, c, stream, 0, 2)
	appendNumbered(t, c, deleted, 0, 2)
	_, err := c.TombstoneStream(ctx, deleted, esclient.Any)
	require.NoError(t, err)
	trusting, ops := trusts(t, c), asOps(ctx)
	for what, tc := range map[string]struct {
		ctx    context.Context
		stream string
		number int64
		is     error
	}{
		"no such event":  {ctx, stream, 3, esclient.ErrEventNotFound},
		"no stream":      {ctx, name("missing"), 0, esclient.ErrStreamNotFound},
		"no last event":  {ctx, name("missing"), esclient.LastEvent, esclient.ErrStreamNotFound},
		"deleted":        {ctx, deleted, 0, esclient.ErrStreamDeleted},
		"denied":         {ops, "$settings", 0, esclient.ErrAccessDenied},
		"no metadata":    {ctx, "$$" + stream, esclient.LastEvent, esclient.ErrEventNotFound},
		"no name":        {ctx, "", 0, esclient.ErrInvalidArgument},
		"no number":      {ctx, stream, -2, esclient.ErrInvalidArgument},
		"not one stream": {ctx, esclient.AllStream, 0, esclient.ErrInvalidArgument},
	} {
		if errors.Is(tc.is, esclient.ErrAccessDenied) && trusting {
			continue
		}
		e, err := c.ReadEvent(tc.ctx, tc.stream, tc.number, esclient.ReadEventOptions{})
		assert.ErrorIs(t, err, tc.is, what)
		assert.Nil(t, e, what)
	}
	var failed *esclient.OperationError
	_, err = c.ReadEvent(ctx, stream, 3, esclient.ReadEventOptions{})
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, stream, failed.Stream)
	assert.ErrorContains(t, err, "read event 3 of")
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
	trusting := trusts(t, c)
	ops := asOps(ctx)
	for name, tc := range map[string]struct {
		stream string
		opts   esclient.ReadOptions
		ctx    context.Context
		is     error
	}{
		"no stream": {name("missing"), esclient.ReadOptions{}, ctx, esclient.ErrStreamNotFound},
		"denied": {
			"$settings", esclient.ReadOptions{}, ops, esclient.ErrAccessDenied,
		},
		"no name":   {"", esclient.ReadOptions{}, ctx, esclient.ErrInvalidArgument},
		"from":      {"s", esclient.ReadOptions{From: esclient.FromNumber(-1)}, ctx, esclient.ErrInvalidArgument},
		"max count": {"s", esclient.ReadOptions{MaxCount: -1}, ctx, esclient.ErrInvalidArgument},
		"from start": {
			"s", esclient.ReadOptions{From: esclient.FromStart(), Backward: true}, ctx, esclient.ErrInvalidArgument,
		},
		"from end": {"s", esclient.ReadOptions{From: esclient.FromEnd()}, ctx, esclient.ErrInvalidArgument},
		"after all": {
			"s", esclient.ReadOptions{From: esclient.AfterNumber(math.MaxInt64)}, ctx, esclient.ErrInvalidArgument,
		},
		"position": {
			"s", esclient.ReadOptions{From: esclient.FromPosition(esclient.StartPosition)}, ctx,
			esclient.ErrInvalidArgument,
		},
		"all streams": {esclient.AllStream, esclient.ReadOptions{}, ctx, esclient.ErrInvalidArgument},
		"page size":   {"s", esclient.ReadOptions{PageSize: 4097}, ctx, esclient.ErrInvalidArgument},
		"page size -": {"s", esclient.ReadOptions{PageSize: -1}, ctx, esclient.ErrInvalidArgument},
	} {
		if errors.Is(tc.is, esclient.ErrAccessDenied) && trusting {
			continue
		}
		var n int
		for e, err := range c.ReadStream(tc.ctx, tc.stream, tc.opts) {
			n++
			assert.Nil(t, e, name)
			assert.ErrorIs(t, err, tc.is, name)
		}
		assert.Equal(t, 1, n, "%s: one error ends the loop", name)
		_, err := c.ReadStreamPage(tc.ctx, tc.stream, tc.opts)
		assert.ErrorIs(t, err, tc.is, name)
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
