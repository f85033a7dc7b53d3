package engine

// Memory allocates copies of the parts of a payload that a [Receiver] keeps, if the payload itself is only borrowed
// from the read buffer. It belongs to the reader goroutine, so only [Receiver.Receive] may use it.
type Memory struct {
	// Shared is other memory that the Receivers of a connection share. It is nil at first, and again after a silence.
	Shared any

	free []byte
}

const (
	memoryChunk = 9472    // a size class of which the runtime allocates six per span; of 8 KiB, only one
	largestPart = 1 << 10 // larger parts get allocations of their own
)

// Copy returns a copy of b, and nil for nil. Small copies share a chunk of 9 KiB, which is freed when no copy in it is
// used any more. The capacity of a copy is its length, so that an append cannot overwrite the next copy.
func (m *Memory) Copy(b []byte) []byte {
	switch {
	case b == nil:
		return nil
	case len(b) == 0:
		return []byte{} // not b itself, which would keep the array of b alive
	case len(b) > largestPart:
		return append([]byte(nil), b...)
	}
	if len(m.free) < len(b) {
		m.free = make([]byte, memoryChunk)
	}
	c := m.free[:len(b):len(b)]
	m.free = m.free[len(b):]
	copy(c, b)
	return c
}

// Memory returns the [Memory] for the Receivers on the connection.
func (c *Conn) Memory() *Memory { return &c.reader.memory }
