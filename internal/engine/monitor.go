package engine

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// monitor is the io.Reader of the reader goroutine. It reads from the socket with a deadline of one tick, and at each
// tick it checks the peer, the operation timeouts and the pending write.
//
// Received bytes are a sign of life, even of an incomplete frame, as they are for the server. After some silence the
// monitor sends a heartbeat, and after more silence the connection dies. Progress of the sent bytes is a sign of life,
// too: the heartbeat waits behind them.
type monitor struct {
	c       *Conn
	started bool // Read was called

	received        int  // bytes since the last tick
	quietTicks      int  // ticks since bytes came
	silenceReported bool // Read has returned no bytes in this silence, see Read

	frames       int64 // frames that have begun to come
	framesBefore int64 // frames at the last tick
	missing      int   // bytes that the latest frame lacks; 0 or less if it is complete

	due          time.Time // when the next tick is due
	silentSince  time.Time // start of the silence
	heartbeatEnd int64     // position of the end of the heartbeat that was sent in this silence; 0 for none
	timeoutFrom  time.Time // start of the heartbeat timeout
	lastSent     time.Time // when a tick last saw that the client had sent anything
	last         progress  // at the last tick
	stalledSince time.Time // since when the pending write makes no progress

	greeting []byte // the first bytes of the peer; nil once a whole frame has come
}

// frameStarted notes that a frame has begun to come, of which so many bytes are still missing.
func (m *monitor) frameStarted(missing int) {
	m.frames++
	m.missing = missing
}

// Read wakes the Receivers of earlier frames and reads bytes. Once in each silence it returns 0 bytes, so that the
// caller can shrink its buffer.
func (m *monitor) Read(b []byte) (int, error) {
	if !m.started {
		m.started, m.silentSince = true, time.Now()
		m.lastSent = m.silentSince
		if err := m.setReadDeadline(m.silentSince); err != nil {
			return 0, err
		}
	}
	m.c.wakeReceivers()
	for {
		n, err := m.c.nc.Read(b)
		if n > 0 {
			m.received += n
			m.missing -= n
			m.silenceReported = false
			if m.greeting != nil {
				m.greeting = append(m.greeting, b[:min(n, greetingSize-len(m.greeting))]...)
			}
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		silent := m.received == 0
		if err := m.tick(time.Now()); err != nil {
			return 0, err
		}
		if silent && !m.silenceReported {
			m.silenceReported = true
			return 0, nil
		}
	}
}

// setReadDeadline makes Read return at the next tick. Once in a tick is enough, so reads do not set deadlines.
func (m *monitor) setReadDeadline(now time.Time) error {
	m.due = now.Add(m.c.cfg.tickPeriod())
	return m.c.nc.SetReadDeadline(m.due)
}

// excuseDelay takes the time between the due tick and this one out of the silence. In that time the process did not
// run, as on a laptop that sleeps or in a paused virtual machine. The bytes that came in that time have not been read
// yet.
func (m *monitor) excuseDelay(now time.Time) {
	late := now.Sub(m.due)
	if late <= 0 {
		return
	}
	m.silentSince, m.timeoutFrom = m.silentSince.Add(late), m.timeoutFrom.Add(late)
	m.stalledSince = m.stalledSince.Add(late)
}

// tick checks everything that depends on time. Its error ends the connection.
func (m *monitor) tick(now time.Time) error {
	m.excuseDelay(now)
	current := m.c.measureProgress(&m.last)
	m.c.failOverdue(&current, &m.last, m.incoming())
	m.c.freeMemory(m.received == 0 && !current.advanced(&m.last, current.appended))
	err := m.checkPeer(now, &current)
	if err == nil {
		err = m.extendWriteDeadline(now, &current)
	}
	if err == nil {
		err = m.setReadDeadline(now)
	}
	m.last, m.received, m.framesBefore = current, 0, m.frames
	return err
}

// minFrameRate, in bytes a second, is the least rate of a large frame that stops the clock of calls behind it, see
// timeout.go.
const minFrameRate = 4 << 10

// incoming describes the bytes that came since the last tick, for timeoutCheck.
func (m *monitor) incoming() incoming {
	if m.quietTicks++; m.received > 0 {
		m.quietTicks = 0
	}
	least := int(minFrameRate * m.c.cfg.tickPeriod() / time.Second)
	return incoming{
		busy:     m.quietTicks <= 1 || m.missing > 0,
		oneFrame: m.frames == m.framesBefore && m.received > least,
	}
}

// maxSendPause is the longest time that the client sends nothing while bytes come. A server sends a heartbeat after 2 s
// without bytes from the client, and closes the connection a second later. Its heartbeat would wait behind the other
// bytes that the server sends, so the client sends its own first.
const maxSendPause = time.Second

// checkPeer sends a heartbeat after silence. It returns an error if the heartbeat timeout is over.
func (m *monitor) checkPeer(now time.Time, current *progress) error {
	cfg := &m.c.cfg
	if current.appended != m.last.appended {
		m.lastSent = now
	}
	switch {
	case m.received > 0:
		m.silentSince, m.heartbeatEnd = now, 0
		if cfg.HeartbeatInterval > 0 && now.Sub(m.lastSent) >= min(cfg.HeartbeatInterval, maxSendPause) {
			m.c.sendHeartbeat()
			m.lastSent = now
		}
	case cfg.HeartbeatInterval <= 0:
	case m.heartbeatEnd == 0:
		if now.Sub(m.silentSince) >= cfg.HeartbeatInterval {
			m.heartbeatEnd, m.timeoutFrom = m.c.sendHeartbeat(), m.silentSince.Add(cfg.HeartbeatInterval)
		}
	case current.advanced(&m.last, m.heartbeatEnd-heartbeatSize):
		m.timeoutFrom = now
	case now.Sub(m.timeoutFrom) >= cfg.HeartbeatTimeout+m.c.extraTime(current, m.heartbeatEnd):
		return fmt.Errorf("%w within %v", ErrHeartbeatTimeout, now.Sub(m.timeoutFrom).Round(time.Millisecond))
	}
	return nil
}

// extendWriteDeadline extends the deadline of the pending write as long as sent bytes make progress. The socket may
// hold so many bytes that it takes long until it accepts more.
func (m *monitor) extendWriteDeadline(now time.Time, current *progress) error {
	stuck := m.last.written < m.last.handed && current.written < current.handed
	if !stuck || current.advanced(&m.last, current.handed) {
		m.stalledSince = now
	}
	if timeout := m.c.cfg.WriteTimeout; stuck && timeout > 0 {
		return m.c.nc.SetWriteDeadline(m.stalledSince.Add(timeout + timeout/8 + m.c.extraTime(current, current.handed)))
	}
	return nil
}

const (
	minTick = 5 * time.Millisecond
	maxTick = 250 * time.Millisecond
)

// tickPeriod returns the time between ticks: a quarter of the shortest time limit, within bounds.
func (cfg *ConnConfig) tickPeriod() time.Duration {
	d := maxTick
	for _, limit := range [...]time.Duration{cfg.HeartbeatInterval, cfg.HeartbeatTimeout, cfg.OperationTimeout} {
		if limit > 0 {
			d = min(d, limit/4)
		}
	}
	return max(d, minTick)
}
