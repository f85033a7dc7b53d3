package main

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"golang.org/x/perf/benchfmt"
)

// readBench reads results as benchstat does.
func readBench(t *testing.T, text []byte) (results []*benchfmt.Result, units benchfmt.UnitMetadataMap) {
	t.Helper()
	r := benchfmt.NewReader(bytes.NewReader(text), benchFile)
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			results = append(results, rec.Clone())
		case *benchfmt.SyntaxError:
			t.Error(rec)
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return results, r.Units()
}

func TestBenchstatReadsTheResults(t *testing.T) {
	r := &report{
		Machine: machine{CPU: "Some CPU", OS: "linux", Arch: "amd64"}, Server: "embedded", Cores: 2,
		Scenarios: []*outcome{{Name: "append, 256 in flight, 4 KiB", Contenders: []measured{
			{Name: "esclient AppendFrom", Rounds: []result{
				{Events: 1000, Bytes: 2e6, Seconds: 0.5, CPU: 0.004, Allocs: 3000, AllocB: 64_000,
					Writes: 250, P50: 2e-6, PeakHeap: 7e6},
				{Failed: "it fell"},
				{Events: 1000, Bytes: 2e6, Seconds: 0.25, Writes: -1},
			}},
			{Name: "broken", Rounds: []result{{Failed: "no"}}},
		}}},
	}
	text, err := r.benchText()
	if err != nil {
		t.Fatal(err)
	}
	results, units := readBench(t, text)
	if len(results) != 2 {
		t.Fatalf("%d results, want those of two rounds:\n%s", len(results), text)
	}
	first, second := results[0], results[1]
	if got := first.Name.String(); got != "Append/256_in_flight/4_KiB/by=esclient_AppendFrom-2" || first.Iters != 1000 {
		t.Errorf("it is named %s and has %d iterations", got, first.Iters)
	}
	for key, want := range map[string]string{
		"goos": "linux", "goarch": "amd64", "cpu": "Some CPU", "server": "embedded",
		"pkg": "github.com/watermill-eventstore/watermill-eventstore/benchmarks",
	} {
		if got := first.GetConfig(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	// The reader makes seconds and bytes of nanoseconds and megabytes.
	for unit, want := range map[string]float64{
		"sec/op": 0.5e-3, "events/s": 2000, "B/s": 4e6, "cpu-sec/op": 4e-6, "allocs/op": 3, "B/op": 64,
		"p50-sec": 2e-6, "writes/op": 0.25, "peak-heap-B": 7e6,
	} {
		if got, ok := first.Value(unit); !ok || math.Abs(got-want) > want*1e-9 {
			t.Errorf("%v %s, want %v", got, unit, want)
		}
	}
	for _, unit := range []string{"p99-sec", "p99.9-sec"} {
		if _, ok := first.Value(unit); ok {
			t.Errorf("there is a value of %s, which was not measured", unit)
		}
	}
	if _, ok := second.Value("writes/op"); ok {
		t.Error("there are write calls, which could not be counted")
	}
	for unit, want := range map[string]int{
		"events/s": 1, "B/s": 1, "sec/op": -1, "cpu-sec/op": -1, "B/op": -1, "p99.9-sec": -1, "peak-heap-B": -1,
	} {
		if got := units.GetBetter(unit); got != want {
			t.Errorf("%s: %d is better, want %d", unit, got, want)
		}
	}
}

// As in go test, a run on one core has no number at its end.
func TestBenchmarksAreNamedByScenario(t *testing.T) {
	var names []string
	for _, s := range scenarios() {
		for _, c := range s.contenders {
			names = append(names, benchName(s.name, c, 1).String())
		}
	}
	for _, want := range []string{
		"Append/1_in_flight/by=raw_frames", "Read/pages_of_500/16_B/by=go-gesclient", "Catch-up/by=esclient",
		"Persistent_with_acks/in-flight_10/by=esclient", "Router/handlers_of_1_ms/256_keys/by=64_at_a_time",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("no benchmark is named %s: %v", want, names)
		}
	}
	slices.Sort(names)
	if distinct := len(slices.Compact(slices.Clone(names))); distinct != len(names) {
		t.Errorf("%d names for %d results", distinct, len(names))
	}
}
