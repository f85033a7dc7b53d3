package engine

// Memory is where Receivers keep what they want of payloads that they were only lent. It belongs to the reader, so only
// Receive may use it.
type Memory struct{ free []byte }

const (
	memoryChunk = 9472    // a size of which the runtime gets six at a time: of 8 KiB it has to get each by itself
	largestPart = 1 << 10 // what is larger gets an allocation of its own
)

// Copy returns a copy of b, nil for nil, with no capacity to grow into what follows. Small ones share memory: whoever
// keeps one keeps 9 KiB of those that came before and after it.
func (m *Memory) Copy(b []byte) []byte {
	switch {
	case b == nil:
		return nil
	case len(b) == 0:
		return []byte{} // not a part of b, which would keep that
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

// Memory returns where a Receiver on the connection keeps what it was lent.
func (c *Conn) Memory() *Memory { return &c.reader.memory }
