package esclient_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// appendEach appends numbered events one by one and returns their positions in the log.
func appendEach(t testing.TB, c *esclient.Client, stream string, from, to int) (positions []esclient.Position) {
	t.Helper()
	for n := from; n <= to; n++ {
		res, err := c.Append(testContext(t), stream, esclient.Any, numbered(n, n)...)
		require.NoError(t, err)
		positions = append(positions, res.Position)
	}
	return positions
}

// readLog reads $all and returns the data of a stream's events. It stops at the event whose data is last.
func readLog(t testing.TB, c *esclient.Client, opts esclient.ReadAllOptions, stream, last string) (data []string) {
	t.Helper()
	previous := esclient.UnknownPosition
	for e, err := range c.ReadAll(testContext(t), opts) {
		if !assert.NoError(t, err) {
			break
		}
		if previous != esclient.UnknownPosition {
			assert.Equal(t, opts.Backward, e.Position.Compare(previous) < 0, "%v follows %v", e.Position, previous)
		}
		if previous = e.Position; e.Stream != stream {
			continue
		}
		if data = append(data, string(e.Data)); string(e.Data) == last {
			break
		}
	}
	return data
}

func TestReadAll(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	c, stream := connect(t), name("s")
	positions := appendEach(t, c, stream, 0, 19)
	at := func(n int) esclient.Start { return esclient.FromPosition(positions[n]) }
	behind := func(n int) esclient.Start { return esclient.AfterPosition(positions[n]) }
	for what, tc := range map[string]struct {
		opts esclient.ReadAllOptions
		want []string
	}{
		"everything":     {esclient.ReadAllOptions{}, words(0, 19)},
		"from the start": {esclient.ReadAllOptions{From: esclient.FromStart()}, words(0, 19)},
		"from":           {esclient.ReadAllOptions{From: at(5), PageSize: 3}, words(5, 19)},
		"after":          {esclient.ReadAllOptions{From: behind(5), PageSize: 3}, words(6, 19)},
		"after, single":  {esclient.ReadAllOptions{From: behind(5), PageSize: 1}, words(6, 19)},
		"after the last": {esclient.ReadAllOptions{From: behind(19)}, nil},
		"back":           {esclient.ReadAllOptions{Backward: true}, down(19, 0)},
		"back from the end": {
			esclient.ReadAllOptions{Backward: true, From: esclient.FromEnd(), PageSize: 6}, down(19, 0),
		},
		"back from":   {esclient.ReadAllOptions{Backward: true, From: at(5), PageSize: 3}, down(5, 0)},
		"back before": {esclient.ReadAllOptions{Backward: true, From: behind(5), PageSize: 3}, down(4, 0)},
	} {
		t.Run(what, func(t *testing.T) {
			last := "19"
			if tc.opts.Backward {
				last = "0"
			}
			assert.Equal(t, tc.want, readLog(t, c, tc.opts, stream, last))
		})
	}
}

// TestReadAllStopsAtACount also counts events of other writers in between.
func TestReadAllStopsAtACount(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	c, stream := connect(t), name("s")
	positions := appendEach(t, c, stream, 0, 19)
	collect := func(opts esclient.ReadAllOptions) (read []esclient.Position) {
		for e, err := range c.ReadAll(testContext(t), opts) {
			if !assert.NoError(t, err) {
				break
			}
			read = append(read, e.Position)
			if opts.MaxCount == 0 && e.Position == positions[19] {
				break
			}
		}
		return read
	}
	log := collect(esclient.ReadAllOptions{From: esclient.FromPosition(positions[0])})
	require.GreaterOrEqual(t, len(log), 20)
	five := slices.Index(log, positions[5])
	back := slices.Clone(log[:five+1])
	slices.Reverse(back)
	at, behind := esclient.FromPosition(positions[5]), esclient.AfterPosition(positions[5])
	for what, tc := range map[string]struct {
		opts esclient.ReadAllOptions
		want []esclient.Position
	}{
		"after, one":     {esclient.ReadAllOptions{From: behind, MaxCount: 1}, log[five+1 : five+2]},
		"some":           {esclient.ReadAllOptions{From: at, MaxCount: 7, PageSize: 3}, log[five : five+7]},
		"back from, one": {esclient.ReadAllOptions{Backward: true, From: at, MaxCount: 1}, back[:1]},
		"back from, two": {esclient.ReadAllOptions{Backward: true, From: at, MaxCount: 2}, back[:2]},
		"back before, three": {
			esclient.ReadAllOptions{Backward: true, From: behind, MaxCount: 3, PageSize: 2}, back[1:4],
		},
	} {
		t.Run(what, func(t *testing.T) { assert.Equal(t, tc.want, collect(tc.opts)) })
	}
}

func TestAllPages(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	_, c := embedded(t) // $all has the events of the test, and those of the server before
	ctx, stream := testContext(t), name("s")
	positions := appendEach(t, c, stream, 0, 9)

	opts := esclient.ReadAllOptions{From: esclient.FromPosition(positions[0]), PageSize: 4}
	var got []string
	for {
		page, err := c.ReadAllPage(ctx, opts)
		require.NoError(t, err)
		for i := range page.Events {
			got = append(got, string(page.Events[i].Data))
		}
		opts.From = page.Next
		if page.EndOfStream {
			break
		}
	}
	assert.Equal(t, words(0, 9), got)
	more := appendEach(t, c, stream, 10, 10)
	page, err := c.ReadAllPage(ctx, opts)
	require.NoError(t, err)
	require.Len(t, page.Events, 1, "the next event is at the former end")
	assert.Equal(t, more[0], page.Events[0].Position)

	page, err = c.ReadAllPage(ctx, esclient.ReadAllOptions{Backward: true, PageSize: 2})
	require.NoError(t, err)
	assert.Len(t, page.Events, 2)
	assert.Positive(t, page.From.Compare(more[0]), "it begins at the end, which lies behind the last event")
	assert.Equal(t, esclient.AfterPosition(positions[9]), page.Next)

	before := esclient.AfterPosition(esclient.StartPosition)
	page, err = c.ReadAllPage(ctx, esclient.ReadAllOptions{Backward: true, From: before})
	require.NoError(t, err)
	assert.Empty(t, page.Events)
	assert.True(t, page.EndOfStream)
}

func TestReadAllErrors(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	c, ctx := connect(t), testContext(t)
	trusting := trusts(t, c)
	ops := asOps(ctx)
	for what, tc := range map[string]struct {
		ctx  context.Context
		opts esclient.ReadAllOptions
		is   error
	}{
		"denied":     {ops, esclient.ReadAllOptions{}, esclient.ErrAccessDenied},
		"denied too": {ops, esclient.ReadAllOptions{Backward: true}, esclient.ErrAccessDenied},
		"number":     {ctx, esclient.ReadAllOptions{From: esclient.FromNumber(1)}, esclient.ErrInvalidArgument},
		"negative": {
			ctx, esclient.ReadAllOptions{From: esclient.FromPosition(esclient.EndPosition)},
			esclient.ErrInvalidArgument,
		},
		"from start": {
			ctx, esclient.ReadAllOptions{From: esclient.FromStart(), Backward: true}, esclient.ErrInvalidArgument,
		},
		"from end":  {ctx, esclient.ReadAllOptions{From: esclient.FromEnd()}, esclient.ErrInvalidArgument},
		"max count": {ctx, esclient.ReadAllOptions{MaxCount: -1}, esclient.ErrInvalidArgument},
		"page size": {ctx, esclient.ReadAllOptions{PageSize: 4097}, esclient.ErrInvalidArgument},
		"between": {ctx, esclient.ReadAllOptions{From: esclient.FromPosition(esclient.Position{Commit: 1, Prepare: 1})},
			esclient.ErrServer},
	} {
		if errors.Is(tc.is, esclient.ErrAccessDenied) && trusting {
			continue
		}
		var n int
		for e, err := range c.ReadAll(tc.ctx, tc.opts) {
			n++
			assert.Nil(t, e, what)
			assert.ErrorIs(t, err, tc.is, what)
		}
		assert.Equal(t, 1, n, "%s: one error ends the loop", what)
		_, err := c.ReadAllPage(tc.ctx, tc.opts)
		assert.ErrorIs(t, err, tc.is, what)
		var argument *esclient.ArgumentError
		assert.ErrorIs(t, err, tc.is, what)
		if errors.Is(tc.is, esclient.ErrInvalidArgument) && assert.ErrorAs(t, err, &argument) {
			assert.Contains(t, argument.Argument, "ReadAllOptions.", what)
		}
	}
}
