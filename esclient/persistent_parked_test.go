package esclient_test

import (
	"iter"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

func TestParkedEventsWhoseTargetIsGone(t *testing.T) {
	c := connect(t)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 0)
	_, err := c.Append(asAdmin(ctx), "$persistentsubscription-"+stream+"::"+group+"-parked", esclient.Any,
		esclient.EventData{
			Type: "$>", Data: []byte("99@" + stream), Metadata: []byte(`{"reason":"x","subscriptionEventNumber":99}`),
		},
		esclient.EventData{Type: "other", Metadata: []byte("not the server's")})
	require.NoError(t, err)
	parked := readParked(t, c, stream, group)
	require.Len(t, parked, 2)
	assert.True(t, parked[0].Event.Unresolved)
	assert.Equal(t, "x", parked[0].Reason)
	assert.EqualValues(t, 99, parked[0].Number)
	assert.Zero(t, parked[0].Added)
	assert.EqualValues(t, -1, parked[1].Number)
}

func TestReadParkedRefusesAndStops(t *testing.T) {
	c, ctx := connect(t), asAdmin(testContext(t))
	needsRefusals(t, c)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 2)
	park(t, c, subscribe(t, c, stream, group, esclient.PersistentOptions{}), stream, group, 3)
	ops := asOps(ctx)
	for what, tc := range map[string]struct {
		events iter.Seq2[esclient.ParkedEvent, error]
		is     error
	}{
		"no group": {c.ReadParked(ctx, stream, ""), esclient.ErrInvalidArgument},
		"denied":   {c.ReadParked(ops, stream, group), esclient.ErrAccessDenied},
	} {
		n := 0
		for e, err := range tc.events {
			n++
			assert.ErrorIs(t, err, tc.is, what)
			assert.Zero(t, e, what)
		}
		assert.Equal(t, 1, n, "%s: one error ends the loop", what)
	}
	for e, err := range c.ReadParked(ctx, stream, group) {
		require.NoError(t, err)
		assert.Equal(t, "0", string(e.Event.Data))
		break
	}
}
