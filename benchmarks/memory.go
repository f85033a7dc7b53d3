package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
)

// memoryVariable tells the process of a server how many bytes of memory it shall own from the beginning.
const memoryVariable = "WATERMILL_BENCHMARKS_MEMORY"

// keepMemory lets Go's runtime tell the system of memory that it does not use, instead of giving it back at once: it
// stays with the process while nobody else has need of it. Systems other than Linux have it like this anyway.
const keepMemory = "madvdontneed=0"

// warmMemory gives this process the memory that it will need, all of it used before, like that of a server that has
// been running for a while. The first use of a page costs more than storing some events does, in a virtual machine
// several times as much: that would be the machine's figure, not the contender's.
func warmMemory() error {
	value := os.Getenv(memoryVariable)
	if value == "" {
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return fmt.Errorf("%s: %w", memoryVariable, err)
	}
	b := make([]byte, n)
	for i := 0; i < n; i += os.Getpagesize() {
		b[i] = 1
	}
	runtime.KeepAlive(b)
	runtime.GC() // from now on the runtime hands it out
	return nil
}

// What the embedded server takes for an event besides its data, and for everything else; both are ample.
const (
	eventMemory = 500
	basicMemory = 64 << 20
)

// storedBytes is what a server takes for so many events of a job. Allocations are larger than what they hold.
func (j *job) storedBytes(events int) int { return events * (j.Size + j.Size/8 + eventMemory) }

// memory is how many bytes some contenders make their server store in all rounds.
func (s *scenario) memory(rounds int, contenders ...string) int {
	j, n := s.job, basicMemory
	for _, c := range s.contenders {
		if !j.prepared() && slices.Contains(contenders, c) {
			n += rounds * j.storedBytes(j.total()/j.fanOut())
		}
	}
	return n
}
