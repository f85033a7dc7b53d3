package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// knowsFilters asks the server.
func knowsFilters(t testing.TB, c *esclient.Client) bool {
	t.Helper()
	filter := &esclient.Filter{StreamPrefixes: []string{"none"}}
	_, err := c.ReadAllPage(testContext(t), esclient.ReadAllOptions{Filter: filter})
	if err != nil {
		require.ErrorIs(t, err, esclient.ErrNotSupported)
	}
	return err == nil
}

// connectFiltering returns a client of a server that knows filters.
func connectFiltering(t testing.TB) *esclient.Client {
	t.Helper()
	undertest.AdminOnly(t, "filters are for $all")
	c := connectTo(t, estest.Persona2310)
	if undertest.Real() != "" && !knowsFilters(t, c) {
		t.Skip("servers have filters from 20.6 on, and the one in " + undertest.ServerURL + " is older")
	}
	return c
}

// filterable writes 20 events each to two streams and one event type of its own to every tenth, and returns a prefix
// that only these streams and types have.
func filterable(t testing.TB, c *esclient.Client) (prefix string) {
	t.Helper()
	prefix = name("f")
	for n := range 20 {
		for _, stream := range []string{"-a", "-b"} {
			e := esclient.EventData{Type: "usual", Data: fmt.Append(nil, n, stream)}
			if n%10 == 0 {
				e.Type = prefix + "-rare"
			}
			_, err := c.Append(testContext(t), prefix+stream, esclient.Any, e)
			require.NoError(t, err)
		}
	}
	return prefix
}

// filtered are the events that filterable has written, by stream and step.
func filtered(step int, streams ...string) (data []string) {
	for n := 0; n < 20; n += step {
		for _, stream := range streams {
			data = append(data, fmt.Sprint(n, stream))
		}
	}
	return data
}

func TestFilteredReads(t *testing.T) {
	c := connectFiltering(t)
	prefix := filterable(t, c)
	for what, tc := range map[string]struct {
		filter esclient.Filter
		want   []string
	}{
		"stream prefix": {esclient.Filter{StreamPrefixes: []string{prefix + "-a"}}, filtered(1, "-a")},
		"stream prefixes": {
			esclient.Filter{StreamPrefixes: []string{"none", prefix + "-b", prefix + "-a"}}, filtered(1, "-a", "-b"),
		},
		"stream regex": {esclient.Filter{StreamRegex: "^" + prefix + "-[bc]$"}, filtered(1, "-b")},
		"type prefix":  {esclient.Filter{TypePrefixes: []string{prefix}}, filtered(10, "-a", "-b")},
		"type regex":   {esclient.Filter{TypeRegex: prefix + "-r.re"}, filtered(10, "-a", "-b")},
		"nothing":      {esclient.Filter{StreamPrefixes: []string{prefix + "-c"}}, nil},
		"in narrow windows": {
			esclient.Filter{TypePrefixes: []string{prefix}, SearchWindow: 7}, filtered(10, "-a", "-b"),
		},
	} {
		for _, backward := range []bool{false, true} {
			want := slices.Clone(tc.want)
			if backward {
				slices.Reverse(want)
			}
			var got []string
			opts := esclient.ReadAllOptions{Filter: &tc.filter, Backward: backward, PageSize: 3}
			for e, err := range c.ReadAll(testContext(t), opts) {
				require.NoError(t, err, what)
				got = append(got, string(e.Data))
			}
			assert.Equal(t, want, got, "%s, backward: %v", what, backward)
		}
	}
}

func TestFilteredReadsFromAPosition(t *testing.T) {
	c := connectFiltering(t)
	prefix := filterable(t, c)
	f := &esclient.Filter{StreamPrefixes: []string{prefix + "-a"}, SearchWindow: 5}
	var events []*esclient.Event
	for e, err := range c.ReadAll(testContext(t), esclient.ReadAllOptions{Filter: f}) {
		require.NoError(t, err)
		events = append(events, e)
	}
	require.Len(t, events, 20)
	at := events[8].Position
	for what, tc := range map[string]struct {
		opts        esclient.ReadAllOptions
		first, last int
	}{
		"from":   {esclient.ReadAllOptions{From: esclient.FromPosition(at)}, 8, 19},
		"after":  {esclient.ReadAllOptions{From: esclient.AfterPosition(at)}, 9, 19},
		"back":   {esclient.ReadAllOptions{From: esclient.FromPosition(at), Backward: true}, 8, 0},
		"before": {esclient.ReadAllOptions{From: esclient.AfterPosition(at), Backward: true}, 7, 0},
	} {
		tc.opts.Filter = f
		var numbers []int64
		for e, err := range c.ReadAll(testContext(t), tc.opts) {
			require.NoError(t, err, what)
			numbers = append(numbers, e.Number)
		}
		require.NotEmpty(t, numbers, what)
		assert.Equal(t, []int64{int64(tc.first), int64(tc.last)}, []int64{numbers[0], numbers[len(numbers)-1]}, what)
	}
}

func TestAFilteredPageMayBeEmpty(t *testing.T) {
	c, ctx := connectFiltering(t), testContext(t)
	first, err := c.Append(ctx, name("s"), esclient.Any, numbered(0, 0)...)
	require.NoError(t, err)
	prefix := filterable(t, c)
	opts := esclient.ReadAllOptions{
		From:   esclient.FromPosition(first.Position),
		Filter: &esclient.Filter{TypePrefixes: []string{prefix}, SearchWindow: 4},
	}
	var got []string
	var empty int
	for {
		page, err := c.ReadAllPage(ctx, opts)
		require.NoError(t, err)
		if len(page.Events) == 0 {
			empty++
		}
		for i := range page.Events {
			got = append(got, string(page.Events[i].Data))
		}
		if opts.From = page.Next; page.EndOfStream {
			break
		}
	}
	assert.Equal(t, filtered(10, "-a", "-b"), got)
	assert.Greater(t, empty, 3, "only the end is the end")
}

func TestFilteredCatchUp(t *testing.T) {
	c, ctx := connectFiltering(t), testContext(t)
	prefix := filterable(t, c)
	s, err := c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{
		PageSize: 3,
		Filter:   &esclient.Filter{TypePrefixes: []string{prefix}, SearchWindow: 7, CheckpointInterval: 5},
	})
	require.NoError(t, err)
	defer s.Stop()
	assert.Equal(t, filtered(10, "-a", "-b"), take(t, s.Next, 4))
	nothingMore(t, s.Next)
	read := s.Checkpoint()

	// What does not pass moves the checkpoint as well.
	positions := appendEach(t, c, prefix+"-a", 0, 11)
	waiting, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := s.Next(waiting)
		done <- err
	}()
	moved := func() bool { return isAfter(t, s.Checkpoint(), esclient.CheckpointAtPosition(positions[0]), true) }
	require.Eventually(t, moved, 10*time.Second, time.Millisecond)
	stop()
	assert.ErrorIs(t, <-done, context.Canceled)
	assert.True(t, isAfter(t, s.Checkpoint(), read, false))

	_, err = c.Append(ctx, prefix+"-b", esclient.Any, esclient.EventData{Type: prefix, Data: []byte("live")})
	require.NoError(t, err)
	again, err := c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{
		Start:  s.Checkpoint().Start(),
		Filter: &esclient.Filter{TypePrefixes: []string{prefix}},
	})
	require.NoError(t, err)
	defer again.Stop()
	assert.Equal(t, []string{"live"}, take(t, again.Next, 1), "a subscription goes on at the other one's checkpoint")
	assert.Equal(t, []string{"live"}, take(t, s.Next, 1))
}

func TestFilteredVolatile(t *testing.T) {
	c, ctx, prefix := connectFiltering(t), testContext(t), name("f")
	for _, gaps := range []bool{false, true} {
		s, err := c.SubscribeVolatile(ctx, esclient.AllStream, esclient.VolatileOptions{
			FillGaps: gaps, Filter: &esclient.Filter{StreamRegex: "^" + prefix + "-(a|c)"},
		})
		require.NoError(t, err)
		begun := s.Checkpoint()
		assert.False(t, begun.IsZero())
		appendNumbered(t, c, prefix+"-a", 0, 4)
		appendNumbered(t, c, prefix+"-b", 0, 4)
		appendNumbered(t, c, prefix+"-c", 5, 9)
		assert.Equal(t, words(0, 9), take(t, s.Next, 10))
		nothingMore(t, s.Next)
		assert.True(t, isAfter(t, s.Checkpoint(), begun, false))
		s.Stop()
	}
}

func TestFilteredCatchUpSurvivesEverything(t *testing.T) {
	undertest.AdminOnly(t, "filters are for $all")
	srv, c := embedded(t, estest.WithPersona(estest.Persona2310))
	ctx, prefix := testContext(t), name("f")
	const total = 500
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for n := range total {
			for _, stream := range []string{"-no", "-yes"} {
				_, err := c.Append(ctx, prefix+stream, esclient.ExpectedVersion(n-1), numbered(n, n)...)
				if !assert.NoError(t, err) {
					return
				}
			}
			if n%25 == 0 {
				srv.DropConnections()
			}
		}
	})
	s, err := c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{
		PageSize: 10, BufferSize: 20,
		Filter: &esclient.Filter{StreamPrefixes: []string{prefix + "-yes"}, SearchWindow: 15, CheckpointInterval: 3},
	})
	require.NoError(t, err)
	defer s.Stop()
	assert.Equal(t, words(0, total-1), take(t, s.Next, total))
}

func TestFiltersTakeANewerServer(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona5011, estest.Persona414} {
		undertest.AdminOnly(t, "filters are for $all")
		c, ctx := connectTo(t, persona), testContext(t)
		if undertest.Real() != "" && knowsFilters(t, c) {
			t.Skip("tests the refusal by servers before 20.6, and the one in " + undertest.ServerURL + " is newer")
		}
		f := &esclient.Filter{StreamPrefixes: []string{"a"}}
		for _, backward := range []bool{false, true} {
			n := 0
			for _, err := range c.ReadAll(ctx, esclient.ReadAllOptions{Filter: f, Backward: backward}) {
				n++
				assert.ErrorIs(t, err, esclient.ErrNotSupported)
				assert.ErrorContains(t, err, "20.6")
			}
			assert.Equal(t, 1, n)
		}
		_, err := c.SubscribeVolatile(ctx, esclient.AllStream, esclient.VolatileOptions{Filter: f})
		assert.ErrorIs(t, err, esclient.ErrNotSupported)
		_, err = catchUpReady(ctx, c, esclient.AllStream, esclient.CatchUpOptions{Filter: f})
		assert.ErrorIs(t, err, esclient.ErrNotSupported)
		_, err = c.Ping(ctx)
		assert.NoError(t, err)
	}
}

// connectTo is connect with options for the embedded server.
func connectTo(t testing.TB, persona estest.Persona) *esclient.Client {
	t.Helper()
	if undertest.Real() != "" {
		return connect(t)
	}
	_, c := embedded(t, estest.WithPersona(persona))
	return c
}

func TestFilterErrors(t *testing.T) {
	c, ctx := connectFiltering(t), testContext(t)
	trusting := trusts(t, c)
	ops := asOps(ctx)
	good := &esclient.Filter{StreamPrefixes: []string{"a"}}
	for what, tc := range map[string]struct {
		ctx    context.Context
		filter *esclient.Filter
		is     error
	}{
		"denied":    {ops, good, esclient.ErrAccessDenied},
		"nonsense":  {ctx, &esclient.Filter{StreamRegex: "("}, esclient.ErrServer},
		"empty":     {ctx, &esclient.Filter{}, esclient.ErrInvalidArgument},
		"no prefix": {ctx, &esclient.Filter{TypePrefixes: []string{"a", ""}}, esclient.ErrInvalidArgument},
		"no UTF-8":  {ctx, &esclient.Filter{TypeRegex: "\xff"}, esclient.ErrInvalidArgument},
		"two tests": {
			ctx, &esclient.Filter{TypeRegex: "a", StreamPrefixes: []string{"a"}}, esclient.ErrInvalidArgument,
		},
		"window":      {ctx, &esclient.Filter{TypeRegex: "a", SearchWindow: -1}, esclient.ErrInvalidArgument},
		"checkpoints": {ctx, &esclient.Filter{TypeRegex: "a", CheckpointInterval: -1}, esclient.ErrInvalidArgument},
	} {
		if errors.Is(tc.is, esclient.ErrAccessDenied) && trusting {
			continue
		}
		for _, backward := range []bool{false, true} {
			_, err := c.ReadAllPage(tc.ctx, esclient.ReadAllOptions{Filter: tc.filter, Backward: backward})
			assert.ErrorIs(t, err, tc.is, what)
		}
		_, err := c.SubscribeVolatile(tc.ctx, esclient.AllStream, esclient.VolatileOptions{Filter: tc.filter})
		assert.ErrorIs(t, err, tc.is, what)
		if !errors.Is(tc.is, esclient.ErrInvalidArgument) {
			assert.NotErrorIs(t, err, esclient.ErrNotSupported, what)
			continue
		}
		var argument *esclient.ArgumentError
		require.ErrorAs(t, err, &argument)
		assert.True(t, strings.HasPrefix(argument.Argument, "Filter"), what)
	}
	_, err := c.SubscribeCatchUp(ctx, "s", esclient.CatchUpOptions{Filter: good})
	assert.ErrorIs(t, err, esclient.ErrInvalidArgument, "single streams are not filtered")
	_, err = c.ReadAllPage(ctx, esclient.ReadAllOptions{})
	assert.NoError(t, err, "the connection is not harmed")
}

// TestAFilteredReplyMustBeOne holds that the reply to the other kind of read denies, and does nothing else.
func TestAFilteredReplyMustBeOne(t *testing.T) {
	s := newScript(t)
	c := s.client(nil)
	go func() {
		reply := &esproto.ReadAllEventsCompleted{Result: esproto.ReadAllEventsCompleted_Success.Enum()}
		payload, err := proto.Marshal(reply)
		assert.NoError(t, err)
		s.next(esproto.CmdFilteredReadAllEventsForward).reply(esproto.CmdReadAllEventsForwardCompleted, payload)
	}()
	filter := &esclient.Filter{StreamPrefixes: []string{"a"}}
	_, err := c.ReadAllPage(testContext(t), esclient.ReadAllOptions{Filter: filter})
	assert.ErrorContains(t, err, "ReadAllEventsForwardCompleted")
}
