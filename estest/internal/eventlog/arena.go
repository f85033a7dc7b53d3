package eventlog

// The log only grows, so the arena allocates in chunks: that is faster than single allocations and takes less memory.
const (
	arenaChunk   = 32 << 10 // Go clears a larger one as a whole, which then comes from memory twice
	arenaLargest = 4 << 10  // larger payloads get memory of their own
	recordChunk  = 128
)

// arena hands out memory that is never given back.
type arena struct {
	bytes   []byte
	records []Record
}

// reserve returns an empty slice with a capacity of n bytes. Before the next call of reserve, keep can return the
// unused rest.
func (a *arena) reserve(n int) []byte {
	if n > arenaLargest {
		return make([]byte, 0, n)
	}
	if cap(a.bytes)-len(a.bytes) < n {
		a.bytes = make([]byte, 0, arenaChunk)
	}
	start := len(a.bytes)
	a.bytes = a.bytes[:start+n]
	return a.bytes[start : start : start+n]
}

// keep returns the unused rest of a reservation: n bytes were reserved, and used is the used part.
func (a *arena) keep(n int, used []byte) []byte {
	if n <= arenaLargest && len(used) <= n {
		a.bytes = a.bytes[:len(a.bytes)-n+len(used)]
	}
	return used[:len(used):len(used)]
}

func (a *arena) record() *Record {
	if len(a.records) == 0 {
		a.records = make([]Record, recordChunk)
	}
	r := &a.records[0]
	a.records = a.records[1:]
	return r
}
