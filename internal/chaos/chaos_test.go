package chaos

import (
	"flag"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

var (
	chaosSeed  = flag.Uint64("chaos.seed", 1, "what the schedule of faults is made of")
	chaosRound = flag.Int("chaos.round", -1, "the only round to run; -1 for all")
)

// settings are the settings of the rounds, in turn. The short run uses the first ones.
var settings = []setting{
	{persona: estest.Persona2310, nodes: 1},
	{persona: estest.Persona5011, nodes: 3, projections: true},
	{persona: estest.Persona2310, nodes: 1, plain: true},
	{persona: estest.Persona414, nodes: 1},
	{persona: estest.Persona2310, nodes: 3},
	{persona: estest.Persona5011, nodes: 3, plain: true},
	{persona: estest.Persona5011, nodes: 1, projections: true},
	{persona: estest.Persona414, nodes: 3},
	{persona: estest.Persona2310, nodes: 3, plain: true},
	{persona: estest.Persona5011, nodes: 1, plain: true},
}

// chaos runs rounds with faults each, and fails the test for every broken promise.
func chaos(t *testing.T, rounds, faults int) {
	require.Less(t, *chaosRound, rounds, "-chaos.round is none of the rounds")
	all := newReport()
	for round := range rounds {
		if *chaosRound >= 0 && round != *chaosRound {
			continue
		}
		s := settings[round%len(settings)]
		w := runRound(t, *chaosSeed+uint64(round), faults, s)
		all.add(w.report)
		t.Logf("round %d (%v, seed %d) took %v", round, s, *chaosSeed, time.Since(w.report.started).Round(time.Second))
		if !assert.Zero(t, w.report.breaches(), "broken promises%s", w.report) {
			t.Logf("again: -chaos.seed=%d -chaos.round=%d", *chaosSeed, round)
		}
	}
	t.Logf("in all:%s", all)
}

// heapLimit is how much larger the heap may be after a round than before, without the servers.
const heapLimit = 16 << 20

func runRound(t *testing.T, seed uint64, faults int, s setting) *world {
	leaks := goleak.IgnoreCurrent()
	before := heap()
	w := newWorld(t, seed, s)
	w.run(faults, s)
	require.NoError(t, goleak.Find(leaks))
	report := w.report
	w = &world{report: report} // frees the memory of the servers
	assert.Eventually(t, func() bool { return heap() < before+heapLimit }, 10*time.Second, 100*time.Millisecond,
		"%d bytes of heap were held before the round, and many more are still held after it", before)
	return w
}

// heap returns the bytes in use. The second collection frees the memory of pools.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (w *world) start(s setting) {
	w.startReaders(s)
	w.startGroups(s)
	w.startWriters(s)
	w.startModels(s)
}

// judge compares everything with the log.
func (w *world) judge() {
	log := w.readLog()
	places := make(map[string][]place)
	for stream, events := range log {
		for _, e := range events {
			places[e.payload] = append(places[e.payload], place{stream, e.number})
		}
	}
	w.addSolo(places)
	resets := w.resets.Load()
	for _, p := range w.writers {
		p.judge(places, resets)
	}
	for _, g := range w.groups {
		g.judge(log[g.stream], w.server())
		g.judgeClients(w.server())
	}
	for _, r := range w.readers {
		r.judge(log)
	}
	for _, m := range w.models {
		m.judge()
	}
}

func TestPromisesHoldUnderFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some 20 s, which -short saves; go test without -short runs it")
	}
	chaos(t, 3, 90)
}
