package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestBenchMeasuresAndCleansUp(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s target, server *estest.Server) {
		results := decode[benchJSON](s.ok("bench", "--events", "50", "--concurrency", "4", "--json"))
		require.Len(t, results, 3)
		for i, operation := range []string{"append", "batch", "read"} {
			assert.Equal(t, operation, results[i].Operation)
			assert.Positive(t, results[i].EventsPerSecond)
		}
		assert.Equal(t, int64(50), results[1].Events)
		assert.Equal(t, int64(100), results[2].Events)
		assert.LessOrEqual(t, results[0].P50MS, results[0].P99MS)
		assert.LessOrEqual(t, results[0].P99MS, results[0].MaxMS)
		assert.Len(t, s.ok("bench", "--events", "1").rows(), 3)
		assert.Empty(t, s.ok("streams", "--json").out)
		s.run("", "bench", "--events", "0").expect(exitUsage, "--events and --concurrency")
	})
}

func TestBenchEndsWhereTheServerRefuses(t *testing.T) {
	t.Parallel()
	server := estest.Run(t)
	server.Intercept(esproto.CmdWriteEvents, estest.BadRequest("no room"))
	on(t, server).run("", "bench", "--events", "50").expect(exitFailed, "no room")
}
