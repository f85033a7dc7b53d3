package esproto

import (
	"encoding/binary"

	"github.com/google/uuid"
)

// GUID is a UUID in the byte order in which .NET writes a Guid: the first three groups little-endian, the last two as
// printed. Event ids have this order on the wire.
type GUID [16]byte

// NewGUID returns u in wire order.
func NewGUID(u uuid.UUID) GUID { return GUID(swap([16]byte(u))) }

// ParseGUID reads an id from the wire. ok is false if b has not exactly 16 bytes.
func ParseGUID(b []byte) (g GUID, ok bool) {
	if len(b) != len(g) {
		return g, false
	}
	return GUID(b), true
}

// UUID returns the id in RFC 4122 order, as it is printed.
func (g GUID) UUID() uuid.UUID { return uuid.UUID(swap([16]byte(g))) }

// String returns the id in the form of the server's web interface.
func (g GUID) String() string { return g.UUID().String() }

func swap(b [16]byte) [16]byte {
	binary.BigEndian.PutUint32(b[:], binary.LittleEndian.Uint32(b[:]))
	binary.BigEndian.PutUint16(b[4:], binary.LittleEndian.Uint16(b[4:]))
	binary.BigEndian.PutUint16(b[6:], binary.LittleEndian.Uint16(b[6:]))
	return b
}
