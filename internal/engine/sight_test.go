package engine

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// beats lets a pulse see what a test wants it to.
type beats struct {
	*pulse
	now  time.Time
	seen sight
}

func newBeats(cfg ConnConfig) *beats {
	near, _ := net.Pipe() // takes deadlines
	c := &Conn{nc: near, cfg: cfg, kick: make(chan struct{}, 1)}
	now := time.Now()
	return &beats{pulse: &pulse{c: c, since: now, spoke: now, last: sight{}}, now: now}
}

// after lets so much time pass and changes what is to be seen.
func (b *beats) after(d time.Duration, change func(*sight)) error {
	b.now = b.now.Add(d)
	b.c.mu.Lock()
	b.seen.appended, b.seen.heard = b.c.mu.appended, b.c.mu.peerRead
	b.c.mu.Unlock()
	if change != nil {
		change(&b.seen)
	}
	err := b.judge(b.now, &b.seen)
	b.last = b.seen
	return err
}

func TestSentBytesThatGetOnAreASignOfLife(t *testing.T) {
	cfg := connConfig()
	b := newBeats(cfg)
	b.c.addReceiverLocked(&ping{payload: make([]byte, 1<<20)}, nil, entry{r: newProbe(), once: true})
	require.NoError(t, b.after(cfg.HeartbeatInterval, func(s *sight) { s.handed, s.written = 1<<20, 1<<20 }))
	require.Positive(t, b.asked, "a heartbeat is sent")
	for range 8 {
		require.NoError(t, b.after(2*cfg.HeartbeatTimeout, func(s *sight) { s.acked += 64 << 10; s.reach = s.acked }))
	}
	unseen := time.Duration(8*64<<10) * time.Second / slowestLink
	require.NoError(t, b.after(cfg.HeartbeatTimeout+unseen-time.Millisecond, nil), "they may be in a proxy")
	assert.ErrorIs(t, b.after(time.Millisecond, nil), ErrHeartbeatTimeout, "nothing gets on any more")
}

func TestASmallRequestLeavesTheHeartbeatItsUsualTime(t *testing.T) {
	cfg := connConfig()
	b := newBeats(cfg)
	b.c.addReceiverLocked(&ping{payload: make([]byte, 1<<10)}, nil, entry{r: newProbe(), once: true})
	sent := func(s *sight) { s.handed, s.written, s.acked, s.reach = s.appended, s.appended, s.appended, s.appended }
	require.NoError(t, b.after(time.Millisecond, sent))
	require.NoError(t, b.after(cfg.HeartbeatInterval-time.Millisecond, sent))
	require.Positive(t, b.asked)
	require.NoError(t, b.after(cfg.HeartbeatTimeout-time.Millisecond, sent), "that the heartbeat gets on shows nothing")
	assert.ErrorIs(t, b.after(time.Millisecond, sent), ErrHeartbeatTimeout)
}

func TestTheLargestFrameThatWasNotHeardHasPatience(t *testing.T) {
	c := new(Conn)
	second := sight{reach: slowestLink}
	assert.Zero(t, c.patience(&second, slowestLink), "nothing is large")
	c.mu.largeFrames.note(100<<10, 100<<10)
	c.mu.largeFrames.note(1<<20, 2<<20)
	c.mu.largeFrames.note(70<<10, 3<<20)
	assert.Equal(t, time.Second, c.patience(&second, 1<<30), "no more is on its way")
	assert.Equal(t, time.Second/2, c.patience(&second, slowestLink/2), "or stands before what is waited for")
	far := sight{reach: 4 << 20}
	assert.Equal(t, maxPatience, c.patience(&far, 4<<20))
	c.mu.peerRead = 2 << 20
	assert.Equal(t, 128<<10/slowestLink*time.Second, c.patience(&far, 4<<20), "the largest one was heard")
	c.mu.peerRead = 3 << 20
	assert.Zero(t, c.patience(&far, 4<<20))

	c.mu.largeFrames.note(1<<30, 5<<20)
	assert.Equal(t, maxPatience, c.patience(&sight{reach: 5 << 20}, 5<<20), "of any size")
}

// limitsOf are the limits of calls on a connection that a test keeps the time of.
func limitsOf(c *Conn, now, before sight, in inflow) *limits {
	c.mu.ticks++
	return &limits{c: c, seen: &now, last: &before, inflow: in}
}

func TestTheTimeOfACallRunsFromTheLastOfItsBytes(t *testing.T) {
	c := &Conn{cfg: connConfig()}
	whole := c.cfg.inBeats(c.cfg.OperationTimeout)
	e := entry{r: newProbe(), once: true, end: 1000, due: c.deadlineLocked()}
	state := sight{}
	for range 5 { // each time at the last moment
		c.mu.ticks = e.due - 1
		before := state
		state.written, state.acked = state.written+200, state.written
		require.False(t, limitsOf(c, state, before, inflow{}).expiredLocked(&e))
		assert.Equal(t, c.mu.ticks+whole, e.due)
	}
	c.mu.ticks = e.due - 2
	before := state
	state.written = 5000 // those of others
	require.False(t, limitsOf(c, state, before, inflow{}).expiredLocked(&e))
	assert.True(t, limitsOf(c, state, state, inflow{}).expiredLocked(&e))
}

func TestACallThatIsDueWhileBytesComeWaitsForProof(t *testing.T) {
	c := &Conn{cfg: connConfig()}
	whole := c.cfg.inBeats(c.cfg.OperationTimeout)
	still := sight{}
	due := func() entry { return entry{r: newProbe(), once: true, due: c.mu.ticks + 1} }

	e, other := due(), due()
	l := limitsOf(c, still, still, inflow{busy: true})
	require.False(t, l.expiredLocked(&e))
	require.False(t, l.expiredLocked(&other))
	assert.Len(t, c.mu.pending, heartbeatSize, "one heartbeat is sent for both")
	assert.False(t, limitsOf(c, still, still, inflow{busy: true}).expiredLocked(&e))
	heard := sight{heard: e.proof}
	assert.True(t, limitsOf(c, heard, still, inflow{busy: true}).expiredLocked(&e), "it was answered, and the call was not")

	require.Equal(t, c.mu.ticks-2+proofLimit*whole, other.due)
	for c.mu.ticks < other.due-1 {
		require.False(t, limitsOf(c, still, still, inflow{busy: true}).expiredLocked(&other))
	}
	for range 1000 {
		require.False(t, limitsOf(c, still, still, inflow{framed: true}).expiredLocked(&other), "a single frame comes")
	}
	assert.True(t, limitsOf(c, still, still, inflow{busy: true}).expiredLocked(&other), "no answer is none, in the end")
}

func TestAStreamIsOverdueAsACallIs(t *testing.T) {
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
