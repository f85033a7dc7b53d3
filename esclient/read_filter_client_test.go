package esclient_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

var filteringPersonas = []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310}

// TestTheClientFiltersAsTheServer checks that a subscription delivers the same events with either filter.
func TestTheClientFiltersAsTheServer(t *testing.T) {
	undertest.AdminOnly(t, "filters are for $all")
	for _, persona := range filteringPersonas {
		c, ctx := connectTo(t, persona), testContext(t)
		prefix := filterable(t, c)
		_, err := c.Append(ctx, prefix+"-links", esclient.Any,
			esclient.EventData{Type: "$>", Data: []byte("0@" + prefix + "-a")})
		require.NoError(t, err)
		for what, tc := range map[string]struct {
			filter esclient.Filter
			want   []string
		}{
			"stream prefix": {esclient.Filter{StreamPrefixes: []string{prefix + "-a"}}, filtered(1, "-a")},
			"stream prefixes": {
				esclient.Filter{StreamPrefixes: []string{"none", prefix + "-b", prefix + "-a"}},
				filtered(1, "-a", "-b"),
			},
			"stream regex": {esclient.Filter{StreamRegex: "^" + prefix + "-[bc]$"}, filtered(1, "-b")},
			"type prefix":  {esclient.Filter{TypePrefixes: []string{prefix}}, filtered(10, "-a", "-b")},
			"type regex":   {esclient.Filter{TypeRegex: prefix + "-r.re"}, filtered(10, "-a", "-b")},
			"links":        {esclient.Filter{StreamRegex: prefix + "-l"}, []string{"0-a"}},
			"nothing":      {esclient.Filter{StreamPrefixes: []string{prefix + "-c"}}, nil},
		} {
			for _, size := range []int{1, 3, 500} {
				s, err := c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{
					PageSize: size, Filter: &tc.filter, FilterInClient: true, ResolveLinks: true,
				})
				require.NoError(t, err)
				assert.Equal(t, tc.want, take(t, s.Next, len(tc.want)), "%s, %s, %d", persona, what, size)
				nothingMore(t, s.Next)
				s.Stop()
			}
		}
	}
}

// TestTheClientFiltersPushedEvents checks that dropped events move the checkpoint, and that another subscription goes
// on there.
func TestTheClientFiltersPushedEvents(t *testing.T) {
	undertest.AdminOnly(t, "filters are for $all")
	for _, persona := range filteringPersonas {
		c, ctx, prefix := connectTo(t, persona), testContext(t), name("f")
		filter := &esclient.Filter{StreamRegex: "^" + prefix + "-(a|c)", CheckpointInterval: 1}
		for _, gaps := range []bool{false, true} {
			s, err := c.SubscribeVolatile(ctx, esclient.AllStream, esclient.VolatileOptions{
				FillGaps: gaps, Filter: filter, FilterInClient: true,
			})
			require.NoError(t, err)
			appendNumbered(t, c, prefix+"-a", 0, 4)
			appendNumbered(t, c, prefix+"-b", 0, 4)
			appendNumbered(t, c, prefix+"-c", 5, 9)
			assert.Equal(t, words(0, 9), take(t, s.Next, 10))
			positions := appendEach(t, c, prefix+"-b", 5, 7)
			waitsUntilPassed(t, s, positions[2])

			again, err := c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{
				Start: s.Checkpoint().Start(), Filter: filter, FilterInClient: true,
			})
			require.NoError(t, err)
			appendNumbered(t, c, prefix+"-a", 10, 10)
			assert.Equal(t, words(10, 10), take(t, s.Next, 1))
			assert.Equal(t, words(10, 10), take(t, again.Next, 1), "a subscription goes on after the other one")
			s.Stop()
			again.Stop()
		}
	}
}

// waitsUntilPassed has Next wait, with nothing to return, until the checkpoint of a subscription reaches a position.
func waitsUntilPassed(t *testing.T, s *esclient.Subscription, p esclient.Position) {
	t.Helper()
	waiting, stop := context.WithCancel(testContext(t))
	defer stop()
	done := make(chan error, 1)
	go func() {
		_, err := s.Next(waiting)
		done <- err
	}()
	passed := func() bool {
		at, ok := s.Checkpoint().Position()
		return ok && at.Compare(p) >= 0
	}
	require.Eventually(t, passed, patience, time.Millisecond)
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
}

func TestAFilteringClientMovesTheCheckpointWhileReading(t *testing.T) {
	undertest.AdminOnly(t, "filters are for $all")
	for _, persona := range filteringPersonas {
		c, ctx, prefix := connectTo(t, persona), testContext(t), name("f")
		positions := appendEach(t, c, prefix+"-a", 0, 199)
		s, err := c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{
			PageSize: 20, Filter: &esclient.Filter{StreamPrefixes: []string{prefix + "-b"}}, FilterInClient: true,
		})
		require.NoError(t, err)
		waitsUntilPassed(t, s, positions[199])
		s.Stop()
	}
}

func TestFilteringInTheClientSurvivesEverything(t *testing.T) {
	for _, persona := range filteringPersonas {
		srv, c := embeddedAsAdmin(t, estest.WithPersona(persona))
		ctx, prefix := testContext(t), name("f")
		const total = 300
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
			PageSize: 10, BufferSize: 20, FilterInClient: true,
			Filter: &esclient.Filter{StreamPrefixes: []string{prefix + "-yes"}},
		})
		require.NoError(t, err)
		defer s.Stop()
		assert.Equal(t, words(0, total-1), take(t, s.Next, total))
	}
}

func TestARegexThatTheClientCannotCompile(t *testing.T) {
	undertest.AdminOnly(t, "filters are for $all")
	for _, persona := range filteringPersonas {
		c, ctx := connectTo(t, persona), testContext(t)
		for field, filter := range map[string]*esclient.Filter{
			"StreamRegex": {StreamRegex: "(?!x)a"}, "TypeRegex": {TypeRegex: `(a)\1`},
		} {
			if knowsFilters(t, c) {
				continue // it is the server's matter
			}
			_, err := c.SubscribeVolatile(ctx, esclient.AllStream, esclient.VolatileOptions{
				Filter: filter, FilterInClient: true,
			})
			_, caught := catchUpReady(ctx, c, esclient.AllStream, esclient.CatchUpOptions{
				Filter: filter, FilterInClient: true,
			})
			for _, err := range []error{err, caught} {
				require.ErrorIs(t, err, esclient.ErrNotSupported)
				require.ErrorIs(t, err, esclient.ErrInvalidArgument)
				require.ErrorContains(t, err, field)
			}
		}
	}
}

// TestExcludeSystemEvents writes events that only the name of the stream and the type together distinguish from events
// of users.
func TestExcludeSystemEvents(t *testing.T) {
	undertest.AdminOnly(t, "filters are for $all")
	for _, persona := range filteringPersonas {
		c, ctx, prefix := connectTo(t, persona), testContext(t), name("f")
		put := func(stream, typ, data string) {
			_, err := c.Append(ctx, stream, esclient.Any, esclient.EventData{Type: typ, Data: []byte(data)})
			require.NoError(t, err)
		}
		put(prefix+"-a", "t", "first")
		put("$"+prefix, "t", "in a system stream")
		put(prefix+"-a", "$t", "of a system type")
		put(prefix+"-links", "$>", "0@"+prefix+"-a")
		require.NoError(t, c.CreatePersistent(ctx, prefix+"-a", "g", esclient.DefaultPersistentSettings()))
		_, err := c.TombstoneStream(ctx, prefix+"-a", esclient.Any)
		require.NoError(t, err)
		put(prefix+"-b", "t", "last")

		s, err := c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{
			PageSize: 2, Filter: esclient.ExcludeSystemEvents(), FilterInClient: true,
		})
		require.NoError(t, err)
		next := func(ctx context.Context) (*esclient.Event, error) {
			for {
				e, err := s.Next(ctx)
				if err != nil {
					return nil, err
				}
				assert.NotEqual(t, "$", e.Stream[:1])
				assert.NotEqual(t, "$", e.Type[:1])
				if strings.HasPrefix(e.Stream, prefix) {
					return e, nil
				}
			}
		}
		assert.Equal(t, []string{"first", "last"}, take(t, next, 2))
		put("$"+prefix, "t", "pushed")
		put(prefix+"-b", "$t", "pushed")
		put(prefix+"-b", "t", "live")
		assert.Equal(t, []string{"live"}, take(t, next, 1))
		s.Stop()

		if !knowsFilters(t, c) {
			continue
		}
		for _, backward := range []bool{false, true} {
			var got []string
			opts := esclient.ReadAllOptions{Filter: esclient.ExcludeSystemEvents(), Backward: backward, PageSize: 3}
			for e, err := range c.ReadAll(ctx, opts) {
				require.NoError(t, err)
				if strings.HasPrefix(e.Stream, prefix) {
					got = append(got, fmt.Sprintf("%s %s", e.Type, e.Data))
				}
			}
			want := []string{"t first", "t last", "t live"}
			if backward {
				want = []string{"t live", "t last", "t first"}
			}
			assert.Equal(t, want, got)
		}
	}
}

func TestFilterValidate(t *testing.T) {
	require.NoError(t, esclient.ExcludeSystemEvents().Validate())
	var none *esclient.Filter
	require.NoError(t, none.Validate())
	for _, f := range []esclient.Filter{
		{}, {StreamRegex: "a", TypeRegex: "a"}, {StreamRegex: "a", SearchWindow: -1}, {TypePrefixes: []string{""}},
		{TypeRegex: "a", CheckpointInterval: -1},
	} {
		assert.ErrorIs(t, f.Validate(), esclient.ErrInvalidArgument)
	}
}

// TestFilteringMovesToTheClientAfterAnElection has a cluster's other node, of an older version, take over: it
// has no filters.
func TestFilteringMovesToTheClientAfterAnElection(t *testing.T) {
	srv, c := embeddedAsAdmin(t, estest.WithPersona(estest.Persona2310))
	ctx, prefix := testContext(t), name("f")
	filter := &esclient.Filter{StreamPrefixes: []string{prefix + "-yes"}}
	put := func(n int) {
		for _, stream := range []string{prefix + "-no", prefix + "-yes"} {
			_, err := srv.Append(stream, estest.Event{Type: "t", Data: fmt.Append(nil, n)})
			require.NoError(t, err)
		}
	}
	put(0)
	caught, err := c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{
		Filter: filter, FilterInClient: true,
	})
	require.NoError(t, err)
	defer caught.Stop()
	volatile, err := c.SubscribeVolatile(ctx, esclient.AllStream, esclient.VolatileOptions{
		Filter: filter, FilterInClient: true, FillGaps: true,
	})
	require.NoError(t, err)
	defer volatile.Stop()
	assert.Equal(t, words(0, 0), take(t, caught.Next, 1))
	put(1)
	assert.Equal(t, words(1, 1), take(t, caught.Next, 1))
	assert.Equal(t, words(1, 1), take(t, volatile.Next, 1))

	for _, cmd := range []esproto.Command{
		esproto.CmdFilteredReadAllEventsForward, esproto.CmdFilteredReadAllEventsBackward,
		esproto.CmdFilteredSubscribeToStream,
	} {
		srv.Intercept(cmd, estest.BadRequest(fmt.Sprintf("unknown command: %d", byte(cmd))))
	}
	srv.DropConnections()
	for n := 2; n < 10; n++ {
		put(n)
	}
	assert.Equal(t, words(2, 9), take(t, caught.Next, 8))
	assert.Equal(t, words(2, 9), take(t, volatile.Next, 8))
	put(10)
	assert.Equal(t, words(10, 10), take(t, caught.Next, 1))
	assert.Equal(t, words(10, 10), take(t, volatile.Next, 1))
}
