package esclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// slowLink relays connections to a server at a limited rate, in bytes a second; 0 is no limit.
type slowLink struct {
	up, down atomic.Int64
	holds    bool // accepts some MiB at once, and passes them on at its rate
}

// many events of 8 KiB take two seconds at 512 KiB a second, which is the rate of most tests: well above their limits.
const many = 128

// relayed is the most that a link with holds has taken.
const relayed = 8 << 20

func (l *slowLink) through(t *testing.T, srv *estest.Server) (addr string) {
	return wiretest.Listen(t, func(near *wiretest.Peer) {
		far, err := net.Dial("tcp", srv.Addr())
		if err != nil {
			return
		}
		var wg sync.WaitGroup
		wg.Go(func() { l.relay(near, far, &l.down) })
		l.relay(far, near, &l.up)
		wg.Wait()
	}).Addr()
}

// relay keeps the rate on average: if it wakes late, it makes up for that. Otherwise the link would be slower on a
// machine that is busy.
func (l *slowLink) relay(dst, src net.Conn, rate *atomic.Int64) {
	const size = 4 << 10
	type piece struct {
		data []byte
		came time.Time
	}
	pieces := make(chan piece)
	if l.holds {
		pieces = make(chan piece, relayed/size)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer close(pieces)
		for {
			b := make([]byte, size)
			n, err := io.ReadAtLeast(src, b, 1)
			if err != nil {
				return
			}
			pieces <- piece{b[:n], time.Now()}
		}
	})
	var due time.Time
	for p := range pieces {
		if due.Before(p.came) {
			due = p.came
		}
		if r := rate.Load(); r > 0 {
			due = due.Add(time.Duration(len(p.data)) * time.Second / time.Duration(r))
			time.Sleep(time.Until(due))
		}
		if _, err := dst.Write(p.data); err != nil {
			break
		}
	}
	dst.Close()
	src.Close()
	for range pieces { // until both ends are closed
	}
}

// client opens a client through the link. Its limits are shorter than the time that the link needs for the tests. It
// returns how often a connection was lost.
func (l *slowLink) client(
	t *testing.T, srv *estest.Server, change ...func(*esclient.Config),
) (*esclient.Client, *atomic.Int64) {
	t.Helper()
	addr := l.through(t, srv)
	lost := new(lossCounter)
	c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) {
		cfg.Address = addr
		cfg.HeartbeatInterval, cfg.HeartbeatTimeout = 300*time.Millisecond, 700*time.Millisecond
		cfg.OperationTimeout = 700 * time.Millisecond
		cfg.Hooks = append(cfg.Hooks, lost)
		for _, f := range change {
			f(cfg)
		}
	})
	require.NoError(t, c.Connect(testContext(t)))
	return c, &lost.n
}

type lossCounter struct{ n atomic.Int64 }

func (l *lossCounter) OnDisconnected(i esclient.ConnectionInfo) { l.n.Add(1) }

func TestALargeAppendOverASlowLinkIsSentOnce(t *testing.T) {
	t.Parallel()
	for name, expected := range map[string]esclient.ExpectedVersion{
		"Any": esclient.Any, "NoStream": esclient.NoStream,
	} {
		for kind, holds := range map[string]bool{"": false, ", through a proxy": true} {
			t.Run(name+kind, func(t *testing.T) {
				t.Parallel()
				srv := estest.Run(t, estest.WithHeartbeat(300*time.Millisecond, 700*time.Millisecond))
				link := slowLink{holds: holds}
				c, lost := link.client(t, srv)
				ctx := testContext(t)
				link.up.Store(512 << 10)
				var wg sync.WaitGroup
				wg.Go(func() {
					_, err := c.Append(ctx, "s", expected,
						esclient.EventData{ID: uuid.New(), Type: "t", Data: make([]byte, 1<<20)})
					assert.NoError(t, err)
				})
				wg.Go(func() {
					_, err := c.Ping(ctx) // that comes behind it
					assert.NoError(t, err)
				})
				wg.Wait()
				events, err := srv.Read("s", 0, 10)
				require.NoError(t, err)
				assert.Len(t, events, 1)
				assert.EqualValues(t, 1, srv.Stats().FramesIn[esproto.CmdWriteEvents])
				assert.Zero(t, lost.Load())
			})
		}
	}
}

func TestManySmallAppendsOverASlowLinkAreSentOnce(t *testing.T) {
	t.Parallel()
	event := func() esclient.EventData { return esclient.EventData{Type: "t", Data: make([]byte, 8<<10)} }
	for name, appendAll := range map[string]func(context.Context, *esclient.Client) error{
		"Append": func(ctx context.Context, c *esclient.Client) error {
			errs := make(chan error, many)
			for range many {
				go func() {
					_, err := c.Append(ctx, "s", esclient.Any, event())
					errs <- err
				}()
			}
			var all error
			for range many {
				all = errors.Join(all, <-errs)
			}
			return all
		},
		"AppendFrom": func(ctx context.Context, c *esclient.Client) error {
			_, err := c.AppendFrom(ctx, "s", esclient.NoStream, func(yield func(esclient.EventData, error) bool) {
				for range many {
					if !yield(event(), nil) {
						return
					}
				}
			}, esclient.AppendFromOptions{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := estest.Run(t, estest.WithHeartbeat(300*time.Millisecond, 700*time.Millisecond))
			link := slowLink{}
			c, lost := link.client(t, srv)
			link.up.Store(512 << 10)
			require.NoError(t, appendAll(testContext(t), c))
			assert.Equal(t, many, countEvents(t, c, "s"))
			assert.Zero(t, lost.Load())
			if name == "Append" {
				assert.EqualValues(t, many, srv.Stats().FramesIn[esproto.CmdWriteEvents])
			}
		})
	}
}

// A confirmation waits behind a page, and the request for it behind an append: one of each is enough.
func TestSubscribingBesideLargeTrafficOverASlowLink(t *testing.T) {
	t.Parallel()
	srv := estest.Run(t)
	for range 50 {
		_, err := srv.Append("big", estest.Event{Type: "t", Data: make([]byte, 20<<10)})
		require.NoError(t, err)
	}
	link := slowLink{}
	c, lost := link.client(t, srv, func(cfg *esclient.Config) { cfg.MaxRetries = -1 })
	ctx := testContext(t)
	require.NoError(t, c.CreatePersistent(ctx, "s", "g", esclient.DefaultPersistentSettings()))
	link.up.Store(512 << 10)
	link.down.Store(512 << 10)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.ReadStreamPage(ctx, "big", esclient.ReadOptions{})
		assert.NoError(t, err)
	})
	wg.Go(func() {
		_, err := c.Append(ctx, "s", esclient.Any, esclient.EventData{Type: "t", Data: make([]byte, 1<<20)})
		assert.NoError(t, err)
	})
	require.Eventually(t, func() bool {
		in := srv.Stats().FramesIn
		return in[esproto.CmdReadStreamEventsForward] == 1
	}, patience, time.Millisecond)
	wg.Go(func() {
		sub, err := c.SubscribeVolatile(ctx, "s", esclient.VolatileOptions{})
		if assert.NoError(t, err) {
			sub.Stop()
		}
	})
	wg.Go(func() {
		sub, err := c.ConnectPersistent(ctx, "s", "g", esclient.PersistentOptions{})
		if assert.NoError(t, err) {
			assert.NoError(t, sub.Stop(ctx))
		}
	})
	wg.Wait()
	in := srv.Stats().FramesIn
	assert.EqualValues(t, 1, in[esproto.CmdSubscribeToStream])
	assert.EqualValues(t, 1, in[esproto.CmdConnectToPersistentSubscription])
	assert.Zero(t, lost.Load())
}

func TestPagesOverASlowLinkAreNotGivenUp(t *testing.T) {
	t.Parallel()
	const events, size = 100, 20 << 10
	reads := map[string]func(ctx context.Context, c *esclient.Client) (int, error){
		"ReadStream": func(ctx context.Context, c *esclient.Client) (n int, err error) {
			for _, err := range c.ReadStream(ctx, "big", esclient.ReadOptions{}) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		},
		"ReadStreamPage": func(ctx context.Context, c *esclient.Client) (int, error) {
			page, err := c.ReadStreamPage(ctx, "big", esclient.ReadOptions{})
			return len(page.Events), err
		},
		"SubscribeCatchUp": func(ctx context.Context, c *esclient.Client) (n int, err error) {
			sub, err := c.SubscribeCatchUp(ctx, "big", esclient.CatchUpOptions{})
			if err != nil {
				return 0, err
			}
			defer sub.Stop()
			for n < events {
				if _, err := sub.Next(ctx); err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		},
	}
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		srv := estest.Run(t, estest.WithPersona(persona),
			estest.WithHeartbeat(400*time.Millisecond, 700*time.Millisecond))
		for range events {
			_, err := srv.Append("big", estest.Event{Type: "t", Data: make([]byte, size)})
			require.NoError(t, err)
		}
		for name, read := range reads {
			t.Run(name+" of "+string(persona), func(t *testing.T) {
				t.Parallel()
				link := slowLink{}
				c, lost := link.client(t, srv)
				ctx := testContext(t)
				link.down.Store(1 << 20)
				var wg sync.WaitGroup
				wg.Go(func() {
					n, err := read(ctx, c)
					assert.NoError(t, err)
					assert.Equal(t, events, n)
				})
				wg.Go(func() {
					for range 3 {
						_, err := c.Ping(ctx) // which waits behind the page
						assert.NoError(t, err)
					}
				})
				wg.Wait()
				assert.Zero(t, lost.Load())
			})
		}
	}
}
