package main

import (
	"os"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"time"
)

// result is the measurement of a worker. Counts are totals of the measurement; a value that is missing is negative.
type result struct {
	Events   int
	Bytes    int64 // of event data
	Seconds  float64
	CPU      float64 // seconds of this process, user and system
	Allocs   uint64
	AllocB   uint64
	Writes   int64 // write calls
	PeakHeap uint64
	Drops    int64 // connections lost
	// Latencies of single operations, in seconds; zero if the work has none.
	P50, P99, P999 float64
	Failed         string `json:",omitempty"` // why there is no result
}

// meter measures a worker's own process between start and stop. A contender that is connected and prepared calls
// settle, works on its warm-up, calls start, works, and calls stop.
type meter struct {
	tell      func(seen int) // tells the leader how many events have come, so that it writes more
	writes    atomic.Int64
	drops     atomic.Int64
	unwatched bool // write calls cannot be counted

	latencies [][]time.Duration // a slice for each goroutine, with room, so that recording does not allocate
	idleHeap  uint64            // before the work began
	began     time.Time
	cpu       time.Duration
	mem       runtime.MemStats
	stopPeak  chan struct{}
	peak      chan uint64

	profile *os.File // for a CPU profile; nil for none
}

// record makes room for the latencies of so many goroutines with so many operations each.
func (m *meter) record(goroutines, operations int) {
	m.latencies = make([][]time.Duration, goroutines)
	for i := range m.latencies {
		m.latencies[i] = make([]time.Duration, 0, operations)
	}
}

// settle records the memory of the contender before its work; the peak heap is the increase over that.
func (m *meter) settle() {
	runtime.GC()
	runtime.ReadMemStats(&m.mem)
	m.idleHeap = m.mem.HeapAlloc
	m.stopPeak, m.peak = make(chan struct{}), make(chan uint64)
	go watchHeap(m.stopPeak, m.peak)
}

// start takes little time, as work may be under way.
func (m *meter) start() {
	runtime.ReadMemStats(&m.mem)
	m.writes.Store(0)
	if m.profile != nil {
		_ = pprof.StartCPUProfile(m.profile) // its one error is a profile under way
	}
	m.cpu = cpuTime()
	m.began = time.Now()
}

func (m *meter) stop() result {
	r := result{Seconds: time.Since(m.began).Seconds(), CPU: (cpuTime() - m.cpu).Seconds(), Writes: m.writes.Load()}
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	r.Allocs, r.AllocB = after.Mallocs-m.mem.Mallocs, after.TotalAlloc-m.mem.TotalAlloc
	if m.profile != nil {
		pprof.StopCPUProfile()
	}
	close(m.stopPeak)
	if peak := <-m.peak; peak > m.idleHeap {
		r.PeakHeap = peak - m.idleHeap
	}
	r.Drops = m.drops.Load()
	if m.unwatched {
		r.Writes = -1
	}
	all := slices.Concat(m.latencies...)
	slices.Sort(all)
	r.P50, r.P99, r.P999 = quantile(all, 0.5), quantile(all, 0.99), quantile(all, 0.999)
	return r
}

// counter is for work that is measured in events that come: seen, called for each of them on any goroutine, starts the
// measurement after the warm-up, and all is closed with the last one.
func (m *meter) counter(j job) (seen func(), all <-chan struct{}) {
	var count atomic.Int64
	started, done := make(chan struct{}), make(chan struct{})
	telling := j.ahead() * j.fanOut() / 3
	return func() {
		n := int(count.Add(1))
		if j.pushed() && n%telling == 0 {
			m.tell(n)
		}
		switch n {
		case j.WarmUp:
			m.start()
			close(started)
		case j.total():
			<-started // events may come on several goroutines
			close(done)
		}
	}, done
}

// quantile of sorted durations, in seconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Seconds()
}

const heapSampling = 5 * time.Millisecond

// watchHeap looks at the heap until stop is closed, then tells the most that it has seen.
func watchHeap(stop <-chan struct{}, peak chan<- uint64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	tick := time.NewTicker(heapSampling)
	defer tick.Stop()
	for most := uint64(0); ; {
		metrics.Read(sample)
		most = max(most, sample[0].Value.Uint64())
		select {
		case <-tick.C:
		case <-stop:
			peak <- most
			return
		}
	}
}
