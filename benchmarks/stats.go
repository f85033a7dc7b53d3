package main

import (
	"math"
	"slices"
)

// spread is a figure over the rounds that gave one.
type spread struct{ Median, Min, Max float64 }

// figure is one column of the table.
type figure struct {
	key   string // in the JSON file
	title string
	of    func(r result) float64 // NaN if there is none
	bench benchUnit
}

func each(f func(r result) float64) func(result) float64 {
	return func(r result) float64 { return f(r) / float64(r.Events) }
}

var figures = []figure{
	{"eventsPerSecond", "events/s", func(r result) float64 { return float64(r.Events) / r.Seconds },
		benchUnit{"events/s", 1, higher}},
	{"megabytesPerSecond", "MB/s", func(r result) float64 { return float64(r.Bytes) / r.Seconds / 1e6 },
		benchUnit{"MB/s", 1, higher}},
	{"clientCPUMicrosPerEvent", "CPU µs", each(func(r result) float64 { return r.CPU * 1e6 }),
		benchUnit{"cpu-ns/op", 1e3, lower}},
	{"allocsPerEvent", "allocs", each(func(r result) float64 { return float64(r.Allocs) }),
		benchUnit{"allocs/op", 1, lower}},
	{"bytesPerEvent", "B", each(func(r result) float64 { return float64(r.AllocB) }),
		benchUnit{"B/op", 1, lower}},
	{"p50Micros", "p50 µs", latency(func(r result) float64 { return r.P50 }), benchUnit{"p50-ns", 1e3, lower}},
	{"p99Micros", "p99 µs", latency(func(r result) float64 { return r.P99 }), benchUnit{"p99-ns", 1e3, lower}},
	{"p999Micros", "p99.9 µs", latency(func(r result) float64 { return r.P999 }), benchUnit{"p99.9-ns", 1e3, lower}},
	{"writeCallsPerEvent", "writes", func(r result) float64 {
		if r.Writes < 0 {
			return math.NaN()
		}
		return float64(r.Writes) / float64(r.Events)
	}, benchUnit{"writes/op", 1, lower}},
	{"peakHeapMegabytes", "heap MB", func(r result) float64 { return float64(r.PeakHeap) / 1e6 },
		benchUnit{"peak-heap-MB", 1, lower}},
}

func latency(f func(r result) float64) func(result) float64 {
	return func(r result) float64 {
		if f(r) == 0 {
			return math.NaN()
		}
		return f(r) * 1e6
	}
}

// over returns the spread of a figure; ok is false if no round gave it.
func (m *measured) over(f figure) (s spread, ok bool) {
	var values []float64
	for _, r := range m.Rounds {
		if v := f.of(r); r.Failed == "" && !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return s, false
	}
	slices.Sort(values)
	mid := len(values) / 2
	s = spread{Median: values[mid], Min: values[0], Max: values[len(values)-1]}
	if len(values)%2 == 0 {
		s.Median = (values[mid-1] + values[mid]) / 2
	}
	return s, true
}

// failure is why some rounds failed.
type failure struct {
	Why    string `json:"why"`
	Rounds int    `json:"rounds"`
}

// troubles returns the rounds that failed, and the number of connections that the other rounds lost.
func (m *measured) troubles() (failed []failure, drops int64) {
	for _, r := range m.Rounds {
		drops += r.Drops
		if r.Failed == "" {
			continue
		}
		i := slices.IndexFunc(failed, func(f failure) bool { return f.Why == r.Failed })
		if i < 0 {
			i = len(failed)
			failed = append(failed, failure{Why: r.Failed})
		}
		failed[i].Rounds++
	}
	return failed, drops
}
