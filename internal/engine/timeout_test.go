package engine

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manualMonitor is a monitor whose clock and progress a test sets.
type manualMonitor struct {
	*monitor
	clock time.Time
	seen  progress
}

func newManualMonitor(cfg ConnConfig) *manualMonitor {
	near, _ := net.Pipe() // takes deadlines
	c := &Conn{nc: near, cfg: cfg, kick: make(chan struct{}, 1)}
	now := time.Now()
	return &manualMonitor{monitor: &monitor{c: c, silentSince: now, lastSent: now, last: progress{}}, clock: now}
}

// after advances the clock by d, changes the progress, and checks the peer.
func (b *manualMonitor) after(d time.Duration, change func(*progress)) error {
	b.clock = b.clock.Add(d)
	b.c.mu.Lock()
	b.seen.appended, b.seen.peerRead = b.c.mu.appended, b.c.mu.peerRead
	b.c.mu.Unlock()
	if change != nil {
		change(&b.seen)
	}
	err := b.checkPeer(b.clock, &b.seen)
	b.last = b.seen
	return err
}

func TestSentBytesThatGetOnAreASignOfLife(t *testing.T) {
	cfg := connConfig()
	b := newManualMonitor(cfg)
	b.c.addReceiverLocked(&ping{payload: make([]byte, 1<<20)}, nil, entry{r: newProbe(), single: true})
	require.NoError(t, b.after(cfg.HeartbeatInterval, func(s *progress) { s.handed, s.written = 1<<20, 1<<20 }))
	require.Positive(t, b.heartbeatEnd, "a heartbeat is sent")
	for range 8 {
		require.NoError(t, b.after(2*cfg.HeartbeatTimeout, func(s *progress) {
			s.tcpAcked += 64 << 10
			s.beyondKernel = s.tcpAcked
		}))
	}
	unseen := time.Duration(8*64<<10) * time.Second / minLinkRate
	require.NoError(t, b.after(cfg.HeartbeatTimeout+unseen-time.Millisecond, nil), "they may be in a proxy")
	assert.ErrorIs(t, b.after(time.Millisecond, nil), ErrHeartbeatTimeout, "nothing gets on any more")
}

func TestASmallRequestLeavesTheHeartbeatItsUsualTime(t *testing.T) {
	cfg := connConfig()
	b := newManualMonitor(cfg)
	b.c.addReceiverLocked(&ping{payload: make([]byte, 1<<10)}, nil, entry{r: newProbe(), single: true})
	sent := func(s *progress) {
		s.handed, s.written, s.tcpAcked, s.beyondKernel = s.appended, s.appended, s.appended, s.appended
	}
	require.NoError(t, b.after(time.Millisecond, sent))
	require.NoError(t, b.after(cfg.HeartbeatInterval-time.Millisecond, sent))
	require.Positive(t, b.heartbeatEnd)
	require.NoError(t, b.after(cfg.HeartbeatTimeout-time.Millisecond, sent), "that the heartbeat gets on shows nothing")
	assert.ErrorIs(t, b.after(time.Millisecond, sent), ErrHeartbeatTimeout)
}

func TestTheLargestUnreadFrameHasExtraTime(t *testing.T) {
	c := new(Conn)
	second := progress{beyondKernel: minLinkRate}
	assert.Zero(t, c.extraTime(&second, minLinkRate), "nothing is large")
	c.mu.largeFrames.note(100<<10, 100<<10)
	c.mu.largeFrames.note(1<<20, 2<<20)
	c.mu.largeFrames.note(70<<10, 3<<20)
	assert.Equal(t, time.Second, c.extraTime(&second, 1<<30), "no more is on its way")
	assert.Equal(t, time.Second/2, c.extraTime(&second, minLinkRate/2), "or stands before what is waited for")
	far := progress{beyondKernel: 4 << 20}
	assert.Equal(t, maxExtraTime, c.extraTime(&far, 4<<20))
	c.mu.peerRead = 2 << 20
	assert.Equal(t, 128<<10/minLinkRate*time.Second, c.extraTime(&far, 4<<20), "the largest one was read")
	c.mu.peerRead = 3 << 20
	assert.Zero(t, c.extraTime(&far, 4<<20))

	c.mu.largeFrames.note(1<<30, 5<<20)
	assert.Equal(t, maxExtraTime, c.extraTime(&progress{beyondKernel: 5 << 20}, 5<<20), "of any size")
}

// timedOut checks e at the next tick.
func timedOut(c *Conn, now, before progress, in incoming, e *entry) bool {
	return nextCheck(c, now, before, in).expiredLocked(e)
}

// nextCheck returns the timeoutCheck of the next tick.
func nextCheck(c *Conn, now, before progress, in incoming) *timeoutCheck {
	c.mu.ticks++
	return &timeoutCheck{c: c, current: &now, last: &before, incoming: in}
}

func TestTheTimeOfACallRunsFromTheLastOfItsBytes(t *testing.T) {
	c := &Conn{cfg: connConfig()}
	whole := c.cfg.inTicks(c.cfg.OperationTimeout)
	e := entry{r: newProbe(), single: true, end: 1000, deadline: c.deadlineLocked()}
	state := progress{}
	for range 5 { // each time at the last moment
		c.mu.ticks = e.deadline - 1
		before := state
		state.written, state.tcpAcked = state.written+200, state.written
		require.False(t, timedOut(c, state, before, incoming{}, &e))
		assert.Equal(t, c.mu.ticks+whole, e.deadline)
	}
	c.mu.ticks = e.deadline - 2
	before := state
	state.written = 5000 // those of others
	require.False(t, timedOut(c, state, before, incoming{}, &e))
	assert.True(t, timedOut(c, state, state, incoming{}, &e))
}

func TestACallThatIsDueWhileBytesComeWaitsForProof(t *testing.T) {
	c := &Conn{cfg: connConfig()}
	whole := c.cfg.inTicks(c.cfg.OperationTimeout)
	still := progress{}
	due := func() entry { return entry{r: newProbe(), single: true, deadline: c.mu.ticks + 1} }

	e, other := due(), due()
	l := nextCheck(c, still, still, incoming{busy: true})
	require.False(t, l.expiredLocked(&e))
	require.False(t, l.expiredLocked(&other))
	assert.Len(t, c.mu.pending, heartbeatSize, "one heartbeat is sent for both")
	assert.False(t, timedOut(c, still, still, incoming{busy: true}, &e))
	heard := progress{peerRead: e.probeEnd}
	assert.True(t, timedOut(c, heard, still, incoming{busy: true}, &e), "it was answered, and the call was not")

	require.Equal(t, c.mu.ticks-2+probeTimeouts*whole, other.deadline)
	for c.mu.ticks < other.deadline-1 {
		require.False(t, timedOut(c, still, still, incoming{busy: true}, &other))
	}
	for range 1000 {
		require.False(t, timedOut(c, still, still, incoming{oneFrame: true}, &other), "a single frame comes")
	}
	assert.True(t, timedOut(c, still, still, incoming{busy: true}, &other), "no answer is none, in the end")
}

func TestASubscriptionIsOverdueAsACallIs(t *testing.T) {
	cfg := connConfig()
	cfg.OperationTimeout = 40 * time.Millisecond
	c := dial(t, cfg, silentPeer(make(chan frame, 10)))
	over, stop := c.Overdue()
	defer stop()
	select {
	case <-over:
	case <-background(t).Done():
		t.Fatal("it is not told")
	}
	later, stop := c.Overdue()
	defer stop()
	c.Close(ErrClosed)
	dead, stop := c.Overdue()
	defer stop()
	for _, over := range []<-chan struct{}{later, dead} {
		select {
		case <-over:
			t.Fatal("a lost connection is another thing")
		default:
		}
	}
	assert.Zero(t, c.mu.receivers.n)
}
