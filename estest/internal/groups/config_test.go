package groups

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// The configuration is put together from the entries that have been written before.
func TestTheConfigurationIsOneObject(t *testing.T) {
	for n := range 3 {
		whole := configuration{Version: "2", Updated: "now", UpdatedBy: "admin", Entries: []configEntry{}}
		var texts [][]byte
		start := "3"
		for i := range n {
			e := configEntry{Stream: "a<b", Group: "ä", MessageTimeout: int64(i), StartPosition: &start}
			whole.Entries = append(whole.Entries, e)
			texts = append(texts, eventlog.IndentedBy(entryIndent, e))
		}
		parts := configuration{Version: "2", Updated: "now", UpdatedBy: "admin", Entries: []configEntry{}}
		require.Equal(t, string(eventlog.Indented(whole)), string(parts.text(texts)))
	}
}
