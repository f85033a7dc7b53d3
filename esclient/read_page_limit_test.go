package esclient_test

import (
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// emptyEvents is a page with so many events of two bytes each, and nothing else.
func emptyEvents(tag byte, n int) []byte {
	return slices.Repeat([]byte{tag<<3 | 2, 0}, n)
}

func TestAPageOfMoreEventsThanWereAskedForIsRefused(t *testing.T) {
	const many = 1 << 20
	srv, c := embedded(t)
	ctx := testContext(t)
	for _, r := range []struct {
		read, completed esproto.Command
		tag             byte
	}{
		{esproto.CmdReadStreamEventsForward, esproto.CmdReadStreamEventsForwardCompleted, 1},
		{esproto.CmdReadStreamEventsBackward, esproto.CmdReadStreamEventsBackwardCompleted, 1},
		{esproto.CmdReadAllEventsForward, esproto.CmdReadAllEventsForwardCompleted, 3},
		{esproto.CmdReadAllEventsBackward, esproto.CmdReadAllEventsBackwardCompleted, 3},
		{esproto.CmdFilteredReadAllEventsForward, esproto.CmdFilteredReadAllEventsForwardCompleted, 3},
		{esproto.CmdFilteredReadAllEventsBackward, esproto.CmdFilteredReadAllEventsBackwardCompleted, 3},
	} {
		srv.Intercept(r.read, estest.ReplyBytes(r.completed, emptyEvents(r.tag, many)))
	}
	first := func(read func(func(*esclient.Event, error) bool)) (err error) {
		for e, rerr := range read {
			assert.Nil(t, e)
			err = rerr
			break
		}
		return err
	}
	filter := &esclient.Filter{StreamPrefixes: []string{"a"}}
	for what, read := range map[string]func() error{
		"stream": func() error { return first(c.ReadStream(ctx, "s", esclient.ReadOptions{PageSize: 10})) },
		"stream, backward": func() error {
			return first(c.ReadStream(ctx, "s", esclient.ReadOptions{PageSize: 10, Backward: true}))
		},
		"the last of a larger page": func() error {
			return first(c.ReadStream(ctx, "s", esclient.ReadOptions{PageSize: 4096, MaxCount: 1}))
		},
		"page": func() error {
			_, err := c.ReadStreamPage(ctx, "s", esclient.ReadOptions{PageSize: esclient.MaxPageSize})
			return err
		},
		"all": func() error { return first(c.ReadAll(ctx, esclient.ReadAllOptions{PageSize: 10})) },
		"all, backward": func() error {
			return first(c.ReadAll(ctx, esclient.ReadAllOptions{PageSize: 10, Backward: true}))
		},
		"all, filtered": func() error {
			return first(c.ReadAll(ctx, esclient.ReadAllOptions{PageSize: 10, Filter: filter}))
		},
		"all, filtered, backward": func() error {
			return first(c.ReadAll(ctx, esclient.ReadAllOptions{PageSize: 10, Filter: filter, Backward: true}))
		},
		"all, page": func() error {
			_, err := c.ReadAllPage(ctx, esclient.ReadAllOptions{PageSize: 10})
			return err
		},
		"catch-up": func() error {
			sub, err := c.SubscribeCatchUp(ctx, "s", esclient.CatchUpOptions{PageSize: 10})
			if err != nil {
				return err
			}
			defer sub.Stop()
			_, err = sub.Next(ctx)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := read()
			runtime.ReadMemStats(&after)
			require.ErrorContains(t, err, "a page of 1048576 events")
			assert.ErrorIs(t, err, esproto.ErrMalformed)
			assert.NoError(t, ctx.Err())
			assert.Less(t, (after.TotalAlloc-before.TotalAlloc)>>20, uint64(32), "MiB, of a frame of 2")
		})
	}
}
