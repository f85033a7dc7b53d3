package eventstore

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// TestTheMarkHoldsOnlyUnsettledEvents has an event that is stuck while very many others are settled.
func TestTheMarkHoldsOnlyUnsettledEvents(t *testing.T) {
	t.Parallel()
	client, err := esclient.Open(estest.Run(t).ConnectionString())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	sub, err := client.SubscribeCatchUp(context.Background(), "s", esclient.CatchUpOptions{})
	require.NoError(t, err)
	t.Cleanup(sub.Stop)
	mark := lowWaterMark{stream: "s", sub: sub}
	event := func(n int64) *esclient.Event { return &esclient.Event{Stream: "s", Number: n} }

	stuck := event(0)
	mark.add(stuck)
	const inFlight, total = 8, 20_000
	var open []*esclient.Event
	for n := range int64(total) {
		e := event(n + 1)
		mark.add(e)
		if open = append(open, e); len(open) == inFlight {
			mark.settle(open[n%inFlight]) // in any order
			open = append(open[:n%inFlight], open[n%inFlight+1:]...)
		}
		require.LessOrEqual(t, len(mark.pending), 2*(inFlight+1)+minCompaction)
	}
	assert.True(t, mark.mark().checkpoint.IsZero(), "nothing before the stuck event")
	for _, e := range open {
		mark.settle(e)
	}
	assert.Equal(t, total, mark.settle(event(5)), "an event that was not added changes nothing")
	assert.Equal(t, total+1, mark.settle(stuck))
	assert.Empty(t, mark.pending)

	// The log goes back: the old log's messages say nothing about the new one.
	old, fresh := event(total+1), event(0)
	mark.add(old)
	mark.add(fresh)
	before := mark.settle(fresh)
	assert.Equal(t, before, mark.settle(old))
	assert.Empty(t, mark.pending)
}
