package engine

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// pulse reads from the connection and watches over it: bytes are a sign of life, silence makes it send a heartbeat,
// further silence is an error. It also ends calls whose time is up. Partly received frames count as life, as they do
// for the server, and so do sent bytes that get on: the heartbeat waits behind them.
type pulse struct {
	c     *Conn
	armed bool
	got   int  // bytes that came since the last beat
	quiet int  // beats since bytes came
	told  bool // the reader of frames was told of the silence

	frames int64 // how many frames have begun to come
	before int64 // how many had at the last beat
	left   int   // bytes that the latest one lacks; 0 or less if it is complete

	since   time.Time // when the silence began
	asked   int64     // where the heartbeat ends that was sent in this silence; 0 for none
	from    time.Time // since when its answer is waited for
	spoke   time.Time // when the client was last seen to send anything
	last    sight     // what the last beat saw
	stalled time.Time // since when a write gets on with nothing

	greeting []byte // how the peer began; nil once it has sent a frame
}

// begin notes that a frame has begun to come of which so many bytes are still to come.
func (p *pulse) begin(left int) {
	p.frames++
	p.left = left
}

func (p *pulse) Read(b []byte) (int, error) {
	if !p.armed {
		p.armed, p.since = true, time.Now()
		p.spoke = p.since
		if err := p.arm(p.since); err != nil {
			return 0, err
		}
	}
	p.c.wakeReceivers()
	for {
		n, err := p.c.nc.Read(b)
		if n > 0 {
			p.got += n
			p.left -= n
			p.told = false
			if p.greeting != nil {
				p.greeting = append(p.greeting, b[:min(n, greetingSize-len(p.greeting))]...)
			}
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		silent := p.got == 0
		if err := p.beat(time.Now()); err != nil {
			return 0, err
		}
		if silent && !p.told {
			p.told = true
			return 0, nil // so that the buffer shrinks
		}
	}
}

// arm sets when Read is interrupted next. Doing this once a beat instead of once a read keeps it off the fast path.
func (p *pulse) arm(now time.Time) error {
	return p.c.nc.SetReadDeadline(now.Add(p.c.cfg.beatPeriod()))
}

func (p *pulse) beat(now time.Time) error {
	seen := p.c.look(&p.last)
	p.c.expire(&seen, &p.last, p.inflow())
	p.c.shrink(p.got == 0 && !seen.gotOn(&p.last, seen.appended))
	err := p.judge(now, &seen)
	if err == nil {
		err = p.extendWrite(now, &seen)
	}
	if err == nil {
		err = p.arm(now)
	}
	p.last, p.got, p.before = seen, 0, p.frames
	return err
}

// slowestFlow is how many bytes a second have to come of a frame that others wait for.
const slowestFlow = 4 << 10

// inflow is what a beat sees of the bytes that come.
func (p *pulse) inflow() inflow {
	if p.quiet++; p.got > 0 {
		p.quiet = 0
	}
	least := int(slowestFlow * p.c.cfg.beatPeriod() / time.Second)
	return inflow{
		busy:   p.quiet <= 1 || p.left > 0,
		framed: p.frames == p.before && p.got > least,
	}
}

// maxMute is how long the client says nothing while the server sends, at most: what the server asks of a client that is
// silent for 2 s waits behind what it sends, and a second later it gives the connection up.
const maxMute = time.Second

// judge asks for a sign of life, and gives a peer up that has shown none.
func (p *pulse) judge(now time.Time, seen *sight) error {
	cfg := &p.c.cfg
	if seen.appended != p.last.appended {
		p.spoke = now
	}
	switch {
	case p.got > 0:
		p.since, p.asked = now, 0
		if cfg.HeartbeatInterval > 0 && now.Sub(p.spoke) >= min(cfg.HeartbeatInterval, maxMute) {
			p.c.sendHeartbeat()
			p.spoke = now
		}
	case cfg.HeartbeatInterval <= 0:
	case p.asked == 0:
		if now.Sub(p.since) >= cfg.HeartbeatInterval {
			p.asked, p.from = p.c.sendHeartbeat(), p.since.Add(cfg.HeartbeatInterval)
		}
	case seen.gotOn(&p.last, p.asked-heartbeatSize):
		p.from = now
	case now.Sub(p.from) >= cfg.HeartbeatTimeout+p.c.patience(seen, p.asked):
		return fmt.Errorf("%w within %v", ErrHeartbeatTimeout, now.Sub(p.from).Round(time.Millisecond))
	}
	return nil
}

// extendWrite gives a write more time if what was sent gets on: the socket may have taken so much that there is room
// again only after a while.
func (p *pulse) extendWrite(now time.Time, seen *sight) error {
	stuck := p.last.written < p.last.handed && seen.written < seen.handed
	if !stuck || seen.gotOn(&p.last, seen.handed) {
		p.stalled = now
	}
	if timeout := p.c.cfg.WriteTimeout; stuck && timeout > 0 {
		return p.c.nc.SetWriteDeadline(p.stalled.Add(timeout + timeout/8 + p.c.patience(seen, seen.handed)))
	}
	return nil
}

const (
	minBeat = 5 * time.Millisecond
	maxBeat = 250 * time.Millisecond
)

// beatPeriod is how often silence and time limits are looked at: a fraction of the shortest of them.
func (cfg *ConnConfig) beatPeriod() time.Duration {
	d := maxBeat
	for _, limit := range [...]time.Duration{cfg.HeartbeatInterval, cfg.HeartbeatTimeout, cfg.OperationTimeout} {
		if limit > 0 {
			d = min(d, limit/4)
		}
	}
	return max(d, minBeat)
}
