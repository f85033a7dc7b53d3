package discovery_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

var errRefused = errors.New("connection refused")

func ep(s string) discovery.Endpoint {
	e, err := discovery.ParseEndpoint(s)
	if err != nil {
		panic(err)
	}
	return e
}

func eps(list ...string) []discovery.Endpoint {
	var out []discovery.Endpoint
	for _, s := range list {
		out = append(out, ep(s))
	}
	return out
}

// next asks n times and returns the endpoints.
func next(t *testing.T, d discovery.Discoverer, n int) []string {
	t.Helper()
	var out []string
	for range n {
		target, err := d.Next(t.Context())
		require.NoError(t, err)
		out = append(out, target.Endpoint.String())
	}
	return out
}

func TestStaticGoesRound(t *testing.T) {
	t.Parallel()
	given := eps("a", "b:7", "[::1]")
	s, err := discovery.NewStatic(discovery.StaticConfig{Endpoints: given})
	require.NoError(t, err)
	assert.Equal(t, []string{"a:1113", "b:7", "[::1]:1113", "a:1113", "b:7", "[::1]:1113", "a:1113"}, next(t, s, 7))
	assert.Equal(t, eps("a", "b:7", "[::1]"), given, "the caller's list stays as it was")
	target, err := s.Next(t.Context())
	require.NoError(t, err)
	assert.False(t, target.Leader(), "no node said so")
}

func TestStaticShuffle(t *testing.T) {
	t.Parallel()
	given := eps("a", "b", "c", "d", "e", "f")
	first := make(map[string]bool)
	for range 200 {
		s, err := discovery.NewStatic(discovery.StaticConfig{Endpoints: given, Shuffle: true})
		require.NoError(t, err)
		list := next(t, s, 6)
		assert.ElementsMatch(t, []string{"a:1113", "b:1113", "c:1113", "d:1113", "e:1113", "f:1113"}, list)
		assert.Equal(t, list, next(t, s, 6), "the order stays")
		first[list[0]] = true
	}
	assert.Len(t, first, 6, "each comes first for some client")
}

func TestStaticPassesOverFailedNodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := discovery.NewStatic(discovery.StaticConfig{Endpoints: eps("a", "b", "c")})
		require.NoError(t, err)
		s.Report(ep("a:1113"), errRefused)
		assert.Equal(t, []string{"b:1113", "c:1113", "b:1113"}, next(t, s, 3))
		time.Sleep(discovery.DefaultHoldOff)
		assert.Equal(t, []string{"a:1113"}, next(t, s, 1), "its time is up, and it has waited longest")

		s.Report(ep("a:1113"), context.Canceled)
		s.Report(ep("b:1113"), errRefused)
		time.Sleep(time.Millisecond)
		s.Report(ep("c:1113"), errRefused)
		s.Report(ep("c:1113"), nil)
		assert.Equal(t, []string{"c:1113", "a:1113", "c:1113"}, next(t, s, 3), "only b is held off")
	})
}

func TestStaticTriesFailedNodesIfThereAreNoOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := discovery.NewStatic(discovery.StaticConfig{Endpoints: eps("a", "b")})
		require.NoError(t, err)
		var order []string
		for range 6 {
			target, err := s.Next(t.Context())
			require.NoError(t, err)
			order = append(order, target.Endpoint.Host)
			s.Report(target.Endpoint, errRefused)
			time.Sleep(10 * time.Millisecond)
		}
		assert.Equal(t, []string{"a", "b", "a", "b", "a", "b"}, order)
	})
}

func TestStaticEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s, err := discovery.NewStatic(discovery.StaticConfig{Endpoints: eps("a")})
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errRefused)
	_, err = s.Next(ctx)
	assert.ErrorIs(t, err, discovery.ErrNoNode)
	assert.ErrorIs(t, err, errRefused)
}

func TestStaticConfigRefuses(t *testing.T) {
	t.Parallel()
	for field, cfg := range map[string]discovery.StaticConfig{
		"Endpoints":    {},
		"Endpoints[1]": {Endpoints: []discovery.Endpoint{{Host: "a"}, {Host: "[::1]"}}},
	} {
		_, err := discovery.NewStatic(cfg)
		var bad *discovery.ConfigError
		require.ErrorAs(t, err, &bad, field)
		assert.Equal(t, field, bad.Field)
		assert.ErrorContains(t, err, field)
	}
}
