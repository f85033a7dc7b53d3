package engine

import (
	"encoding/binary"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// A heartbeat carries in its correlation id where it ends among the bytes that were ever appended. So its answer tells
// how far the peer has read; and since a server's frames keep their order, also that what the peer had queued by then
// has come.

const heartbeatSize = esproto.LengthSize + esproto.HeaderSize

// sendHeartbeat returns where the heartbeat ends.
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

// appendHeartbeatLocked does not wait for room, so that heartbeats are never late. It the writer is to be
// kicked.
func (c *Conn) appendHeartbeatLocked() (end int64) {
	end = c.mu.appended + heartbeatSize
	c.mu.pending = esproto.AppendFrame(c.mu.pending, esproto.CmdHeartbeatRequest, c.heartbeatID(end), nil)
	c.mu.appended = end
	return end
}

// heartbeatID differs from the ids of all calls.
func (c *Conn) heartbeatID(end int64) esproto.CorrelationID {
	id := c.correlationID(uint64(end))
	id[0] = ^id[0]
	return id
}

// heartbeatAnswered takes the answer to a heartbeat.
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
