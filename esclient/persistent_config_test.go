package esclient

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheServersConfigurationOfGroupsIsRead(t *testing.T) {
	t.Parallel()
	want := PersistentSettings{
		ResolveLinks: true, StartFrom: 7, MessageTimeout: 30 * time.Second, LiveBufferSize: 500, ReadBatchSize: 20,
		BufferSize: 400, MaxRetryCount: 10, CheckpointAfter: 2 * time.Second, CheckpointMinCount: 5,
		CheckpointMaxCount: 1000, MaxSubscriberCount: 3, Strategy: Pinned,
	}
	const rest = `"resolveLinkTos":true,"messageTimeout":30000,"liveBufferSize":500,"historyBufferSize":400,` +
		`"maxRetryCount":10,"readBatchSize":20,"checkPointAfter":2000,"minCheckPointCount":5,` +
		`"maxCheckPointCount":1000,"maxSubscriberCount":3,"namedConsumerStrategy":"Pinned"`
	for version, start := range map[string]string{
		"4.1 to 20.10":   `"startFrom":7`,
		"21.10 to 23.10": `"startPosition":"7"`,
	} {
		cfg, err := parseGroupConfig([]byte(`{"version":"2","updated":"2024-01-02T03:04:05Z","entries":[` +
			`{"stream":"$all","group":"g","startPosition":"C:0/P:0"},` +
			`{"stream":"s","group":"g",` + start + `,` + rest + `}]}`))
		require.NoError(t, err, version)
		got, ok := cfg.find("s", "g")
		require.True(t, ok, version)
		assert.Equal(t, want, got, version)
		_, ok = cfg.find("s", "other")
		assert.False(t, ok, version)
	}
}

func TestAnOldConfigurationOfGroupsNamesNoStrategy(t *testing.T) {
	t.Parallel()
	cfg, err := parseGroupConfig([]byte(
		`{"version":"1","entries":[{"stream":"s","group":"a","preferRoundRobin":true},{"stream":"s","group":"b"}]}`))
	require.NoError(t, err)
	a, _ := cfg.find("s", "a")
	b, _ := cfg.find("s", "b")
	assert.Equal(t, RoundRobin, a.Strategy)
	assert.Equal(t, DispatchToSingle, b.Strategy)
	assert.Zero(t, b.MaxRetryCount, "zeros are left out")
}

func TestAnUnreadableConfigurationOfGroupsIsRefused(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "no JSON", "[]", "{}", `{"version":"2","entries":[{"messageTimeout":"x"}]}`} {
		_, err := parseGroupConfig([]byte(data))
		assert.Error(t, err, data)
	}
}
