package engine

import (
	"encoding/binary"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// The correlation id of a heartbeat contains the position of its end, in bytes since the connection was made. The
// response carries the same id. So it shows how far the peer has read. And since a server keeps its frames in order,
// all frames that the server had queued before the response have come.

const heartbeatSize = esproto.LengthSize + esproto.HeaderSize

// sendHeartbeat sends a heartbeat and returns the position of its end; 0 if the connection is dead.
func (c *Conn) sendHeartbeat() (end int64) {
	c.mu.Lock()
	if c.mu.err != nil {
		c.mu.Unlock()
		return 0
	}
	end = c.appendHeartbeatLocked()
	c.unlockAndKick()
	return end
}

// appendHeartbeatLocked appends a heartbeat to the write buffer and returns the position of its end. It does not wait
// for room, so that heartbeats are never late. The caller must kick the writer.
func (c *Conn) appendHeartbeatLocked() (end int64) {
	end = c.mu.appended + heartbeatSize
	c.mu.pending = esproto.AppendFrame(c.mu.pending, esproto.CmdHeartbeatRequest, c.heartbeatID(end), nil)
	c.mu.appended = end
	return end
}

// heartbeatID returns the correlation id of the heartbeat that ends at a position. No Receiver has such an id.
func (c *Conn) heartbeatID(end int64) esproto.CorrelationID {
	id := c.correlationID(uint64(end))
	id[0] = ^id[0]
	return id
}

// heartbeatAnswered handles the response to a heartbeat.
func (c *Conn) heartbeatAnswered(id esproto.CorrelationID) {
	end := int64(binary.LittleEndian.Uint64(id[8:]))
	if id != c.heartbeatID(end) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if end <= c.mu.appended {
		c.mu.peerRead = max(c.mu.peerRead, end)
	}
}
