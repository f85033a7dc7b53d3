package esclient_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// operationLog is a hook that records operations.
type operationLog struct {
	mu                      sync.Mutex
	started, ended, retries []esclient.OperationInfo
	contexts                []any // the values that its contexts carry
}

type traceKey struct{}

func (l *operationLog) OnOperationStarted(ctx context.Context, i esclient.OperationInfo) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.started = append(l.started, i)
	return context.WithValue(ctx, traceKey{}, len(l.started))
}

func (l *operationLog) OnRetry(ctx context.Context, i esclient.OperationInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retries = append(l.retries, i)
	l.contexts = append(l.contexts, ctx.Value(traceKey{}))
}

func (l *operationLog) OnOperationEnded(ctx context.Context, i esclient.OperationInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, i)
	l.contexts = append(l.contexts, ctx.Value(traceKey{}))
}

func TestHooksSeeOperations(t *testing.T) {
	var log operationLog
	c := connectWith(t, func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{&log} })
	appendNew(t, c) // a follower is left for the leader
	log = operationLog{}
	ctx, stream := testContext(t), name("s")
	event := esclient.EventData{Type: "numbered", Data: bytes.Repeat([]byte("x"), 1000)}
	_, err := c.Append(ctx, stream, esclient.NoStream, event)
	require.NoError(t, err)
	_, err = c.Append(ctx, stream, 7, event)
	require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	for _, err := range c.ReadStream(ctx, stream, esclient.ReadOptions{}) {
		require.NoError(t, err)
	}
	require.NoError(t, c.CreatePersistent(asAdmin(ctx), stream, "g", fromStart()))

	require.Len(t, log.ended, 4)
	for i, command := range []string{
		"WriteEvents", "WriteEvents", "ReadStreamEventsForward", "CreatePersistentSubscription",
	} {
		assert.Equal(t, command, log.started[i].Command)
		assert.Equal(t, stream, log.started[i].Stream)
		assert.Zero(t, log.started[i].Sent)
		assert.Equal(t, command, log.ended[i].Command)
		assert.Equal(t, stream, log.ended[i].Stream)
		assert.Positive(t, log.ended[i].Duration)
		assert.NotEmpty(t, log.ended[i].Endpoint)
		assert.Equal(t, i+1, log.contexts[i], "the context of the hook that saw the start")
	}
	write, refused, read, create := log.ended[0], log.ended[1], log.ended[2], log.ended[3]
	assert.Greater(t, write.Sent, 1000)
	assert.Less(t, write.Sent, 1200)
	assert.Positive(t, write.Received)
	assert.NoError(t, write.Err)
	assert.ErrorIs(t, refused.Err, esclient.ErrWrongExpectedVersion)
	assert.Less(t, read.Sent, 200)
	assert.Greater(t, read.Received, 1000)
	assert.Equal(t, "g", create.Group)
}

func TestHooksSeeWhyAnOperationIsRepeated(t *testing.T) {
	var log operationLog
	s := newScript(t)
	done := appendTwo(testContext(t), s.client(func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{&log} }), 2)
	s.next(esproto.CmdWriteEvents).reply(esproto.CmdNotHandled, []byte{8, 0})
	s.next(esproto.CmdWriteEvents).cut()
	s.next(esproto.CmdWriteEvents).written(success)
	require.NoError(t, (<-done).err)

	require.Len(t, log.retries, 2)
	assert.ErrorContains(t, log.retries[0].Err, "NotReady")
	assert.Equal(t, 1, log.retries[0].Retries)
	assert.Positive(t, log.retries[0].Delay, "the server needs time")
	var lost *esclient.ConnectionError
	assert.ErrorAs(t, log.retries[1].Err, &lost)
	assert.Equal(t, 2, log.retries[1].Retries)
	assert.Zero(t, log.retries[1].Delay, "as soon as there is a connection")
	assert.Equal(t, s.l.Addr(), log.retries[1].Endpoint)
	require.Len(t, log.ended, 1)
	assert.Equal(t, 2, log.ended[0].Retries)
	assert.Equal(t, []any{1, 1, 1}, log.contexts)
	assert.Zero(t, log.ended[0].Sent%3, "all three attempts count")
}

func TestHooksSeeThatAnOperationWasGivenUp(t *testing.T) {
	var log operationLog
	s := newScript(t)
	done := appendTwo(testContext(t), s.client(func(cfg *esclient.Config) {
		cfg.Hooks, cfg.MaxRetries = []esclient.Hook{&log}, 1
	}), 2)
	for range 2 {
		s.next(esproto.CmdWriteEvents).written(result(esproto.OperationResult_CommitTimeout))
	}
	err := (<-done).err
	require.ErrorContains(t, err, "gave up after 2 attempts")
	require.Len(t, log.ended, 1)
	assert.ErrorIs(t, err, log.ended[0].Err)
	assert.Equal(t, 1, log.ended[0].Retries)
}

// TestNoLogShowsThePassword logs everything there is to log.
func TestNoLogShowsThePassword(t *testing.T) {
	var (
		mu  sync.Mutex
		out bytes.Buffer
	)
	s := newScript(t)
	c := s.client(func(cfg *esclient.Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(lockedWriter{&mu, &out},
			&slog.HandlerOptions{Level: slog.LevelDebug}))
		cfg.Credentials = &esclient.Credentials{Login: "jane", Password: "hunter2"}
	})
	joe := esclient.Credentials{Login: "joe", Password: "hunter3"}
	done := appendTwo(esclient.WithCredentials(testContext(t), joe), c, 2)
	s.next(esproto.CmdWriteEvents).reply(esproto.CmdNotHandled, []byte{8, 0})
	s.next(esproto.CmdWriteEvents).written(success)
	require.NoError(t, (<-done).err)
	go func() { s.confirmed(0).reply(esproto.CmdSubscriptionDropped, []byte{8, 1}) }()
	p, err := c.ConnectPersistent(testContext(t), "orders", "g", esclient.PersistentOptions{})
	require.NoError(t, err)
	<-p.Closed()
	require.NoError(t, c.Close())
	mu.Lock()
	defer mu.Unlock()
	assert.Contains(t, out.String(), "trying again")
	assert.Contains(t, out.String(), "stream=orders")
	dropped := `level=INFO msg="subscription dropped" stream=orders .* group=g error=.*access denied`
	assert.Regexp(t, dropped, out.String())
	assert.Regexp(t, `level=WARN msg="subscription ended" stream=orders .* group=g`, out.String())
	assert.NotContains(t, out.String(), "hunter")
}

func TestAServerThatIsMissingIsInTheWarnings(t *testing.T) {
	t.Parallel()
	var (
		mu  sync.Mutex
		out bytes.Buffer
	)
	c, err := esclient.New(esclient.Config{
		Address: "eventstore:1113", ReconnectDelay: time.Millisecond, MaxReconnectDelay: 2 * time.Millisecond,
		Dial:   func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody listens") },
		Logger: slog.New(slog.NewTextHandler(lockedWriter{&mu, &out}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		mu.Lock()
		defer mu.Unlock()
		assert.Regexp(t, `(?s)^\S+ level=WARN msg=reconnecting attempt=10 .*nobody listens.* attempt=20 `, out.String())
	}, patience, time.Millisecond)
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

// connectionOnly is a hook that wants to know nothing of operations and subscriptions.
type connectionOnly struct{}

func (connectionOnly) OnConnected(esclient.ConnectionInfo) {}

func TestOperationsWithoutHooksAllocateNothing(t *testing.T) {
	for what, change := range map[string]func(*esclient.Config){
		"no hooks":                 func(*esclient.Config) {},
		"hooks for something else": func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{connectionOnly{}} },
		"a log without the details": func(cfg *esclient.Config) {
			cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
		},
	} {
		c := pongClient(t, change)
		ctx := testContext(t)
		require.NoError(t, c.Connect(ctx))
		allocs := testing.AllocsPerRun(200, func() {
			if _, err := c.Ping(ctx); err != nil {
				t.Error(err)
			}
		})
		assert.Zero(t, allocs, what)
	}
}

// TestDeliveriesWithoutHooksAllocateNothing looks at Next alone: decoding an event has taken its memory before.
func TestDeliveriesWithoutHooksAllocateNothing(t *testing.T) {
	const events = 300
	s := newScript(t)
	c := s.client(func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{connectionOnly{}} })
	ctx := testContext(t)
	pushed := make(chan struct{})
	go func() {
		defer close(pushed)
		s.confirmed(events)
	}()
	p, err := c.ConnectPersistent(ctx, "orders", "g", esclient.PersistentOptions{InFlight: events})
	require.NoError(t, err)
	<-pushed
	go func() { s.next(esproto.CmdPing).reply(esproto.CmdPong, nil) }()
	_, err = c.Ping(ctx) // its reply comes behind the events
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(events-1, func() {
		if _, err := p.Next(ctx); err != nil {
			t.Error(err)
		}
	}))
}

func BenchmarkPing(b *testing.B) {
	for _, bm := range []struct {
		name  string
		hooks []esclient.Hook
	}{
		{"without hooks", nil},
		{"with hooks for something else", []esclient.Hook{connectionOnly{}}},
		{"watched", []esclient.Hook{counter{}}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			c := pongClient(b, func(cfg *esclient.Config) { cfg.Hooks = bm.hooks })
			ctx := testContext(b)
			require.NoError(b, c.Connect(ctx))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Ping(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type counter struct{}

func (counter) OnOperationEnded(context.Context, esclient.OperationInfo) {}

// pongClient returns a client of a server that answers pings without allocating memory.
func pongClient(t testing.TB, change func(*esclient.Config)) *esclient.Client {
	t.Helper()
	cfg := esclient.Config{Address: wiretest.Listen(t, pong).Addr(), HeartbeatInterval: time.Minute}
	change(&cfg)
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

// pong answers each frame by the same frame with another command: the reply's, which follows the request's by one.
func pong(p *wiretest.Peer) {
	buf := make([]byte, 4096)
	for {
		if _, err := io.ReadFull(p, buf[:4]); err != nil {
			return
		}
		frame := buf[:4+binary.LittleEndian.Uint32(buf)]
		if _, err := io.ReadFull(p, frame[4:]); err != nil {
			return
		}
		frame[4]++
		if _, err := p.Write(frame); err != nil {
			return
		}
	}
}
