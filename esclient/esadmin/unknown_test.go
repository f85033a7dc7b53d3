package esadmin_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// Servers of some versions do not tell all values of a group. A missing value is not zero.
func TestMissingGroupValuesAreNotZero(t *testing.T) {
	for _, version := range personas {
		t.Run(string(version), func(t *testing.T) {
			_, c, m := manageOf(t, version)
			stream, group := group(t, c, esclient.DefaultPersistentSettings())
			info, err := m.Group(testContext(t), stream, group)
			require.NoError(t, err)
			assert.Equal(t, int64(-1), info.LastCheckpoint, "there is none")
			assert.Equal(t, int64(-1), info.LastKnownEvent, "there is none")
			outstanding, parked := 0, int64(0)
			if version == estest.Persona414 {
				outstanding = -1
			}
			if version != estest.Persona2310 {
				parked = -1
			}
			assert.Equal(t, outstanding, info.Outstanding)
			assert.Equal(t, parked, info.Parked)
		})
	}
}

// Groups on $all, which gRPC clients create, are in the list. They have positions instead of numbers.
func TestGroupsOnAllAreListed(t *testing.T) {
	srv, c, m := manageOf(t, estest.Persona2310)
	ctx := testContext(t)
	require.NoError(t, srv.CreateGroupOnAll("audit"))
	require.Error(t, srv.CreateGroupOnAll("audit"), "there is one")
	settings := esclient.DefaultPersistentSettings()
	settings.StartFrom = 0
	stream, group := group(t, c, settings)
	appendWords(t, c, stream, 0, 2)

	check := func() {
		t.Helper()
		groups, err := m.Groups(ctx, "")
		require.NoError(t, err)
		seen := map[string]int64{}
		for _, g := range groups {
			seen[g.Stream+"::"+g.Group] = g.LastKnownEvent
			assert.Equal(t, int64(-1), g.LastCheckpoint, g.Stream)
			assert.Equal(t, "Live", g.Status)
			assert.Zero(t, g.Subscribers)
		}
		assert.Equal(t, map[string]int64{"$all::audit": -1, stream + "::" + group: 2}, seen)
	}
	check()
	groups, err := m.Groups(ctx, "$all")
	require.NoError(t, err)
	require.Len(t, groups, 1)

	info, err := m.Group(ctx, "$all", "audit")
	require.NoError(t, err)
	assert.Equal(t, int64(-1), info.LastKnownEvent)
	assert.Equal(t, int64(-1), info.LastCheckpoint)
	assert.Zero(t, info.Settings.StartFrom)
	assert.Equal(t, 30*time.Second, info.Settings.MessageTimeout)
	assert.Positive(t, info.ReadBuffer, "events wait in it")
	configured, err := c.GroupSettings(ctx, "$all", "audit")
	require.NoError(t, err)
	assert.Equal(t, info.Settings, configured)
	of, err := c.GroupSettings(ctx, stream, group)
	require.NoError(t, err)
	assert.Equal(t, settings, of, "the others are found beside it")

	require.NoError(t, srv.Restart())
	_, err = c.Ping(ctx)
	require.NoError(t, err)
	check()

	require.NoError(t, m.ReplayParked(ctx, "$all", "audit", 0))
	for e, err := range c.ReadParked(ctx, "$all", "audit") {
		assert.Fail(t, "nothing is parked", "%v %v", e, err)
	}
	for what, err := range map[string]error{
		"create": c.CreatePersistent(ctx, "$all", "mine", settings),
		"update": c.UpdatePersistent(ctx, "$all", "audit", settings),
		"delete": c.DeletePersistent(ctx, "$all", "audit"),
	} {
		var wrong *esclient.ArgumentError
		require.ErrorAs(t, err, &wrong, what)
	}
}

func TestNoGroupsOnAllBefore2110(t *testing.T) {
	for _, version := range []estest.Persona{estest.Persona414, estest.Persona5011} {
		srv, _, m := manageOf(t, version)
		require.ErrorContains(t, srv.CreateGroupOnAll("audit"), "have no groups on $all")
		_, err := m.Groups(testContext(t), "$all")
		require.ErrorIs(t, err, esclient.ErrGroupNotFound)
	}
}
