package discovery_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

func TestParsePreference(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]discovery.Preference{
		"leader": discovery.PreferLeader, "Master": discovery.PreferLeader,
		"FOLLOWER": discovery.PreferFollower, "slave": discovery.PreferFollower,
		"ReadOnlyReplica": discovery.PreferReadOnlyReplica, "read-only replica": discovery.PreferReadOnlyReplica,
		"read_only_replica": discovery.PreferReadOnlyReplica, "random": discovery.PreferRandom,
	} {
		got, err := discovery.ParsePreference(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
		again, err := discovery.ParsePreference(got.String())
		require.NoError(t, err)
		assert.Equal(t, got, again)
	}
	for _, in := range []string{"", "leaders", "Preference(7)"} {
		_, err := discovery.ParsePreference(in)
		var bad *discovery.ConfigError
		require.ErrorAs(t, err, &bad, in)
		assert.Equal(t, "Preference", bad.Field)
		assert.ErrorContains(t, err, "leader, follower, readonlyreplica, random")
	}
	assert.Equal(t, "Preference(-1)", discovery.Preference(-1).String())
}
