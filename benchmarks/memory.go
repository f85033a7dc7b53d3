package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// memoryVariable tells the process of a server how many bytes of memory it shall own from the beginning.
const memoryVariable = "WATERMILL_BENCHMARKS_MEMORY"

// keepMemory makes Go's runtime return unused memory to the system lazily: it stays with the process until another
// process needs it. Other systems than Linux do so anyway. The setting holds for all processes, so that a small one
// does not allocate its memory again after each collection.
func keepMemory() string {
	return "GODEBUG=" + strings.TrimPrefix(os.Getenv("GODEBUG")+",madvdontneed=0", ",")
}

// warmMemory gives this process the memory that it will need, all of it used before, like that of a server that has
// been running for a while, and keeps it at that. The first use of a page costs more than storing some events does, in
// a virtual machine several times as much: that would be the machine's figure, not the contender's.
//
// The server collects garbage only when that memory is full. A server has many objects and little garbage, so with one
// core a collection takes half a second, in which calls wait for up to 50 ms. Some contenders would meet one and others
// not.
func warmMemory() error {
	value := os.Getenv(memoryVariable)
	if value == "" {
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return fmt.Errorf("%s: %w", memoryVariable, err)
	}
	b := make([]byte, min(n, availableMemory()/2))
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
	runtime.KeepAlive(b)
	runtime.GC() // from now on the runtime hands it out
	debug.SetMemoryLimit(int64(len(b)))
	debug.SetGCPercent(-1)
	return nil
}

// availableMemory returns how many bytes the system can spare, if it reports that.
func availableMemory() int {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return math.MaxInt
	}
	for line := range strings.Lines(string(info)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return math.MaxInt
}

// What the embedded server takes for an event besides its data, and for everything else; both are ample.
const (
	eventMemory = 500
	basicMemory = 64 << 20
)

// storedBytes is the memory of a server for events that are written once. Large events leave more garbage.
func (j *job) storedBytes() int { return j.total() / j.fanOut() * (j.Size + j.Size/2 + eventMemory) }

// memory is how many bytes a server takes that some contenders use, in all rounds.
func (s *scenario) memory(rounds int, contenders ...string) int {
	if s.job.prepared() {
		return basicMemory + 2*s.job.storedBytes() // since a heap grows to twice the live data
	}
	n := basicMemory
	for _, c := range s.contenders {
		if slices.Contains(contenders, c) {
			n += rounds * s.job.storedBytes()
		}
	}
	return n
}
