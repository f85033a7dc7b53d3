package engine

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// monitor reads from the connection and watches over it: bytes are a sign of life, silence makes it send a heartbeat,
// further silence is an error. It also ends calls whose time is up. Partly received frames count as life, as they do
// for the server, and so do sent bytes that get on: the heartbeat waits behind them.
type monitor struct {
	c               *Conn
	started         bool
	received        int  // bytes that came since the last beat
	quietTicks      int  // beats since bytes came
	silenceReported bool // the reader of frames was told of the silence

	frames       int64 // how many frames have begun to come
	framesBefore int64 // how many had at the last beat
	missing      int   // bytes that the latest one lacks; 0 or less if it is complete

	silentSince  time.Time // when the silence began
	heartbeatEnd int64     // where the heartbeat ends that was sent in this silence; 0 for none
	timeoutFrom  time.Time // since when its answer is waited for
	lastSent     time.Time // when the client was last seen to send anything
	last         progress  // what the last beat saw
	stalledSince time.Time // since when a write gets on with nothing

	greeting []byte // how the peer began; nil once it has sent a frame
}

// frameStarted notes that a frame has begun to come of which so many bytes are still to come.
func (p *monitor) frameStarted(left int) {
	p.frames++
	p.missing = left
}

func (p *monitor) Read(b []byte) (int, error) {
	if !p.started {
		p.started, p.silentSince = true, time.Now()
		p.lastSent = p.silentSince
		if err := p.setReadDeadline(p.silentSince); err != nil {
			return 0, err
		}
	}
	p.c.wakeReceivers()
	for {
		n, err := p.c.nc.Read(b)
		if n > 0 {
			p.received += n
			p.missing -= n
			p.silenceReported = false
			if p.greeting != nil {
				p.greeting = append(p.greeting, b[:min(n, greetingSize-len(p.greeting))]...)
			}
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		silent := p.received == 0
		if err := p.tick(time.Now()); err != nil {
			return 0, err
		}
		if silent && !p.silenceReported {
			p.silenceReported = true
			return 0, nil // so that the buffer shrinks
		}
	}
}

// setReadDeadline sets when Read is interrupted next. Doing this once a beat instead of once a read keeps it off the fast path.
func (p *monitor) setReadDeadline(now time.Time) error {
	return p.c.nc.SetReadDeadline(now.Add(p.c.cfg.tickPeriod()))
}

func (p *monitor) tick(now time.Time) error {
	seen := p.c.measureProgress(&p.last)
	p.c.failOverdue(&seen, &p.last, p.incoming())
	p.c.freeMemory(p.received == 0 && !seen.advanced(&p.last, seen.appended))
	err := p.checkPeer(now, &seen)
	if err == nil {
		err = p.extendWriteDeadline(now, &seen)
	}
	if err == nil {
		err = p.setReadDeadline(now)
	}
	p.last, p.received, p.framesBefore = seen, 0, p.frames
	return err
}

// slowestFlow is how many bytes a second have to come of a frame that others wait for.
const minFrameRate = 4 << 10

// incoming is what a beat sees of the bytes that come.
func (p *monitor) incoming() incoming {
	if p.quietTicks++; p.received > 0 {
		p.quietTicks = 0
	}
	least := int(minFrameRate * p.c.cfg.tickPeriod() / time.Second)
	return incoming{
		busy:   p.quietTicks <= 1 || p.missing > 0,
		framed: p.frames == p.framesBefore && p.received > least,
	}
}

// maxMute is how long the client says nothing while the server sends, at most: what the server asks of a client that is
// silent for 2 s waits behind what it sends, and a second later it gives the connection up.
const maxSendPause = time.Second

// checkPeer asks for a sign of life, and gives a peer up that has shown none.
func (p *monitor) checkPeer(now time.Time, seen *progress) error {
	cfg := &p.c.cfg
	if seen.appended != p.last.appended {
		p.lastSent = now
	}
	switch {
	case p.received > 0:
		p.silentSince, p.heartbeatEnd = now, 0
		if cfg.HeartbeatInterval > 0 && now.Sub(p.lastSent) >= min(cfg.HeartbeatInterval, maxSendPause) {
			p.c.sendHeartbeat()
			p.lastSent = now
		}
	case cfg.HeartbeatInterval <= 0:
	case p.heartbeatEnd == 0:
		if now.Sub(p.silentSince) >= cfg.HeartbeatInterval {
			p.heartbeatEnd, p.timeoutFrom = p.c.sendHeartbeat(), p.silentSince.Add(cfg.HeartbeatInterval)
		}
	case seen.advanced(&p.last, p.heartbeatEnd-heartbeatSize):
		p.timeoutFrom = now
	case now.Sub(p.timeoutFrom) >= cfg.HeartbeatTimeout+p.c.extraTime(seen, p.heartbeatEnd):
		return fmt.Errorf("%w within %v", ErrHeartbeatTimeout, now.Sub(p.timeoutFrom).Round(time.Millisecond))
	}
	return nil
}

// extendWriteDeadline gives a write more time if what was sent gets on: the socket may have taken so much that there is room
// again only after a while.
func (p *monitor) extendWriteDeadline(now time.Time, seen *progress) error {
	stuck := p.last.written < p.last.handed && seen.written < seen.handed
	if !stuck || seen.advanced(&p.last, seen.handed) {
		p.stalledSince = now
	}
	if timeout := p.c.cfg.WriteTimeout; stuck && timeout > 0 {
		return p.c.nc.SetWriteDeadline(p.stalledSince.Add(timeout + timeout/8 + p.c.extraTime(seen, seen.handed)))
	}
	return nil
}

const (
	minTick = 5 * time.Millisecond
	maxTick = 250 * time.Millisecond
)

// tickPeriod is how often silence and time limits are looked at: a fraction of the shortest of them.
func (cfg *ConnConfig) tickPeriod() time.Duration {
	d := maxTick
	for _, limit := range [...]time.Duration{cfg.HeartbeatInterval, cfg.HeartbeatTimeout, cfg.OperationTimeout} {
		if limit > 0 {
			d = min(d, limit/4)
		}
	}
	return max(d, minTick)
}
