package engine

import (
	"context"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// writers counts the writes to a connection by the goroutine that made them.
type writers struct {
	net.Conn
	mu sync.Mutex
	by map[string]int
}

func (w *writers) Write(b []byte) (int, error) {
	stack := make([]byte, 8<<10)
	who := "caller"
	for _, loop := range []string{"writeLoop", "readLoop"} {
		if strings.Contains(string(stack[:runtime.Stack(stack, false)]), loop) {
			who = loop
		}
	}
	w.mu.Lock()
	w.by[who]++
	w.mu.Unlock()
	return w.Conn.Write(b)
}

// dialWatched is dial with a look at who writes.
func dialWatched(t *testing.T, serve func(p *peer)) (*Conn, *writers) {
	nc, err := net.Dial("tcp", listen(t, serve))
	require.NoError(t, err)
	w := &writers{Conn: nc, by: make(map[string]int)}
	c := NewConn(w, "peer", connConfig())
	t.Cleanup(func() { c.Close(ErrClosed) })
	return c, w
}

func TestALoneCallerWritesItsRequestItself(t *testing.T) {
	t.Parallel()
	c, w := dialWatched(t, (*peer).Echo)
	for range 100 {
		p := &ping{payload: []byte("hello")}
		_, err := c.Do(background(t), p, nil)
		require.NoError(t, err)
		require.Equal(t, "hello", string(p.back))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Equal(t, map[string]int{"caller": 100}, w.by)
}

func TestManyRequestsGoTogether(t *testing.T) {
	t.Parallel()
	c, w := dialWatched(t, inTurns(16))
	const callers, each = 16, 200
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				_, err := c.Do(background(t), &ping{payload: []byte("hello")}, nil)
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Positive(t, w.by["readLoop"], "the reader writes for those it woke: %v", w.by)
	assert.Less(t, w.by["readLoop"]+w.by["writeLoop"]+w.by["caller"], callers*each*3/4, "%v", w.by)
}

// inTurns answers so many requests with one write.
func inTurns(n int) func(p *peer) {
	return func(p *peer) {
		for {
			var replies []byte
			for range n {
				f, err := p.Next()
				if err != nil {
					return
				}
				replies = esproto.AppendFrame(replies, esproto.CmdPong, f.CorrelationID, f.Payload)
			}
			if _, err := p.Write(replies); err != nil {
				return
			}
		}
	}
}

// pushes counts the frames of a subscription.
type pushes struct {
	ping
	n    int
	want int
	all  chan struct{}
}

func (*pushes) Keeps(esproto.Command, int) bool      { return false }
func (*pushes) TooLarge(esproto.Command, error) bool { return false }
func (*pushes) Wake()                                {}
func (*pushes) Fail(error, bool)                     {}

func (p *pushes) Receive(esproto.Command, []byte) bool {
	if p.n++; p.n == p.want {
		close(p.all)
	}
	return true
}

// A peer that does not read while it writes must not keep the reader from reading, or both would wait for each other.
func TestThePeerIsHeardWhileItDoesNotRead(t *testing.T) {
	t.Parallel()
	const callers, size = 64, 256 << 10
	subscribed := make(chan esproto.CorrelationID, 1)
	c := dial(t, connConfig(), func(p *peer) {
		subscription, err := p.Next()
		if err != nil {
			return
		}
		subscribed <- subscription.CorrelationID
		var first []byte
		for range callers {
			f, err := p.Next()
			if err != nil {
				return
			}
			first = esproto.AppendFrame(first, esproto.CmdPong, f.CorrelationID, nil)
		}
		p.Write(first) // all callers go on with requests that the sockets do not hold
		for range callers {
			p.Send(esproto.CmdPong, subscription.CorrelationID, make([]byte, 64<<10))
		}
		p.Echo()
	})
	s := &pushes{want: callers, all: make(chan struct{})}
	require.NoError(t, c.StartSubscription(background(t), s, nil, s, func(Handle) {}))
	<-subscribed
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for _, payload := range [][]byte{nil, make([]byte, size)} {
				_, err := c.Do(background(t), &ping{payload: payload}, nil)
				assert.NoError(t, err)
			}
		})
	}
	select {
	case <-s.all:
	case <-background(t).Done():
		t.Fatal("the pushes were not heard")
	}
	wg.Wait()
}

// A caller whose peer does not read must not stay in a write beyond its context.
func TestACallerIsNotHeldByAPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	stall := make(chan struct{})
	c := dial(t, connConfig(), func(*peer) { <-stall })
	defer close(stall)
	for range 200 {
		ctx, cancel := context.WithCancel(background(t))
		begun, err := c.Begin(ctx, &ping{payload: make([]byte, 4<<10)}, nil)
		require.NoError(t, err)
		cancel()
		sent, err := begun.Wait(ctx)
		require.ErrorIs(t, err, context.Canceled)
		assert.True(t, sent)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	assert.Positive(t, c.unreadLocked())
	assert.Zero(t, c.mu.receivers.n)
}

func TestLargeWriteBuffersLastAsLongAsTheyAreOfUse(t *testing.T) {
	t.Parallel()
	c := new(Conn)
	c.returnBuffer(make([]byte, 1<<20))
	c.freeMemory(false)
	assert.Equal(t, 1<<20, cap(c.mu.spare), "it was of use since the last beat")
	c.returnBuffer(c.mu.spare[:1<<18])
	c.freeMemory(false)
	assert.Equal(t, 1<<20, cap(c.mu.spare), "a quarter of it was")
	c.returnBuffer(c.mu.spare[:100])
	c.freeMemory(false)
	assert.Nil(t, c.mu.spare)

	c.returnBuffer(make([]byte, 100))
	c.freeMemory(false)
	c.freeMemory(false)
	assert.Equal(t, 100, cap(c.mu.spare), "a small one stays")
	c.freeMemory(true)
	assert.Nil(t, c.mu.spare, "unless nothing happens at all")
}
