package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// lostCounter is the hook of an application.
type lostCounter struct{ lost, connected atomic.Int32 }

func (c *lostCounter) OnDisconnected(esclient.ConnectionInfo) { c.lost.Add(1) }
func (c *lostCounter) OnConnected(esclient.ConnectionInfo)    { c.connected.Add(1) }

// linesOf returns the lines of a level with a text.
func linesOf(
	log *watermill.CaptureLoggerAdapter, level watermill.LogLevel, text string,
) (lines []watermill.CapturedMessage) {
	for _, m := range log.Captured()[level] {
		if m.Msg == text {
			lines = append(lines, m)
		}
	}
	return lines
}

// A Publisher and a Subscriber share a Client and a logger, and the Client has a hook of the application.
func TestALostBorrowedConnectionIsInTheLogs(t *testing.T) {
	t.Parallel()
	srv := embedded(t)
	cfg, err := esclient.ParseConnectionString(srv.ConnectionString())
	require.NoError(t, err)
	own := new(lostCounter)
	cfg.ConnectionName, cfg.ReconnectDelay, cfg.Hooks = "orders", time.Millisecond, []esclient.Hook{own}
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	defer c.Close()
	require.Eventually(t, func() bool { return own.connected.Load() == 1 }, patience, time.Millisecond)

	sub, log := newLogged(t, eventstore.SubscriberConfig{Client: c})
	pub, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: c}, log)
	require.NoError(t, err)
	ctx, end := context.WithCancel(context.Background())
	messages, err := sub.Subscribe(ctx, "topic")
	require.NoError(t, err)
	another := subscribe(t, sub, "another topic")

	const lost, connected = "Connection to EventStore lost", "Connected to EventStore"
	srv.DropConnections()
	lines := awaitLogged(t, log, lost, 2)
	for _, l := range lines {
		assert.Equal(t, "orders", l.Fields["connection_name"])
		require.Error(t, l.Err)
	}
	groups := map[bool]int{}
	for _, l := range lines {
		groups[l.Fields["subscriber_uuid"] != nil]++
	}
	assert.Equal(t, map[bool]int{true: 1, false: 1}, groups, "a line of each")
	require.NoError(t, pub.Publish("topic", newMessage("healed")))
	require.Eventually(t, func() bool {
		return len(linesOf(log, watermill.InfoLogLevel, connected)) == 2
	}, patience, time.Millisecond)

	end()
	closes(t, messages)
	srv.DropConnections()
	awaitLogged(t, log, lost, 4)
	require.NoError(t, pub.Close())
	require.NoError(t, sub.Close())
	closes(t, another)
	require.NoError(t, c.Connect(timeout(t)))
	before := own.lost.Load()
	srv.DropConnections()
	require.Eventually(t, func() bool { return own.lost.Load() > before }, patience, time.Millisecond)
	require.NoError(t, c.Connect(timeout(t)))
	assert.Len(t, logged(log, lost), 4, "no line after Close")
	assert.EqualValues(t, 3, own.lost.Load(), "the hook of the application is called as before")
}

// Each user of a client logs its attempts, so most of them are for debugging. This user comes after two attempts.
func TestAServerThatIsMissingIsInTheLogs(t *testing.T) {
	t.Parallel()
	refused := errors.New("nobody listens there")
	attempts, dialing, goOn := 0, make(chan struct{}), make(chan struct{})
	c, err := esclient.New(esclient.Config{
		Address: "eventstore:1113", ReconnectDelay: time.Millisecond, MaxReconnectDelay: 2 * time.Millisecond,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if attempts++; attempts == 3 {
				close(dialing)
				select {
				case <-goOn:
				case <-ctx.Done():
				}
			}
			return nil, refused
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	<-dialing
	log := watermill.NewCaptureLogger()
	pub, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: c}, log)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, pub.Close()) })
	close(goOn)

	for i, line := range awaitLogged(t, log, "EventStore cannot be reached", 2)[:2] {
		assert.Equal(t, 10*(i+1), line.Fields["attempt"])
		require.ErrorIs(t, line.Err, refused)
	}
	const again = "Reconnecting to EventStore"
	assert.Len(t, linesOf(log, watermill.InfoLogLevel, again), 1, "the first that it sees")
	assert.GreaterOrEqual(t, len(linesOf(log, watermill.DebugLogLevel, again)), 9)
}

// everyMode returns configurations of all kinds of subscriptions.
func everyMode() map[string]eventstore.SubscriberConfig {
	return map[string]eventstore.SubscriberConfig{
		"group": {ConsumerGroup: "g"}, "fan-out": {}, "catch-up": {Mode: eventstore.ModeCatchUp},
	}
}

func awaitConnections(t testing.TB, srv *estest.Server, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return srv.Stats().Connections == n }, patience, time.Millisecond)
}

func TestASubscriberIsConnectedWhileItSubscribes(t *testing.T) {
	t.Parallel()
	for what, cfg := range everyMode() {
		t.Run(what, func(t *testing.T) {
			srv := embedded(t)
			cfg.ConnectionString = srv.ConnectionString()
			sub, err := eventstore.NewSubscriber(cfg, nil) // never closed
			require.NoError(t, err)
			require.Zero(t, srv.Stats().ConnectionsTotal)
			for round := range 3 {
				require.NoError(t, sub.SubscribeInitialize("a"))
				ctx, end := context.WithCancel(context.Background())
				other, endOther := context.WithCancel(context.Background())
				a, err := sub.Subscribe(ctx, "a")
				require.NoError(t, err)
				b, err := sub.Subscribe(other, "b")
				require.NoError(t, err)
				awaitConnections(t, srv, 1)
				pub, err := eventstore.NewPublisher(
					eventstore.PublisherConfig{ConnectionString: cfg.ConnectionString}, nil)
				require.NoError(t, err)
				for _, topic := range []string{"a", "b"} {
					require.NoError(t, pub.Publish(topic, newMessage(fmt.Sprint(round))))
				}
				require.NoError(t, pub.Close())
				if cfg.Mode == eventstore.ModeCatchUp {
					consume(t, a, round)
					consume(t, b, round)
				}
				require.Equal(t, []string{fmt.Sprint(round)}, consume(t, a, 1), "all acks reach the server")
				end()
				closes(t, a)
				require.Equal(t, []string{fmt.Sprint(round)}, consume(t, b, 1), "the other one is not disturbed")
				endOther()
				closes(t, b)
				awaitConnections(t, srv, 0)
			}
		})
	}
}

// Some components make a Subscriber for each use and never close it. The goroutines are checked after all tests.
func TestAForgottenSubscriberHoldsNothing(t *testing.T) {
	t.Parallel()
	srv := embedded(t)
	for what, cfg := range everyMode() {
		t.Run(what, func(t *testing.T) {
			cfg.ConnectionString = srv.ConnectionString()
			for range 10 {
				sub, err := eventstore.NewSubscriber(cfg, nil)
				require.NoError(t, err)
				ctx, end := context.WithCancel(context.Background())
				messages, err := sub.Subscribe(ctx, "topic")
				require.NoError(t, err)
				end()
				closes(t, messages)
			}
			awaitConnections(t, srv, 0)
		})
	}
}

func TestAnAckAfterTheLastSubscriptionCounts(t *testing.T) {
	t.Parallel()
	srv := embedded(t)
	cfg := eventstore.SubscriberConfig{ConnectionString: srv.ConnectionString(), ConsumerGroup: "g"}
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: cfg.ConnectionString})
	publishNumbered(t, pub, "topic", 1, 2)
	sub, err := eventstore.NewSubscriber(cfg, nil)
	require.NoError(t, err)
	ctx, end := context.WithCancel(context.Background())
	messages, err := sub.Subscribe(ctx, "topic")
	require.NoError(t, err)
	msg := receive(t, messages)
	end()
	<-msg.Context().Done()
	msg.Ack() // within AckGrace
	closes(t, messages)
	awaitConnections(t, srv, 1) // the Publisher's
	again := subscribe(t, sub, "topic")
	assert.Equal(t, []string{"2"}, consume(t, again, 1))
	require.NoError(t, sub.Close())
	closes(t, again)
	awaitConnections(t, srv, 1)
	_, err = sub.Subscribe(context.Background(), "topic")
	require.ErrorIs(t, err, eventstore.ErrSubscriberClosed)
}

func TestFirstAndLastSubscriptionsInParallel(t *testing.T) {
	t.Parallel()
	for what, cfg := range everyMode() {
		t.Run(what, func(t *testing.T) {
			srv := embedded(t)
			cfg.ConnectionString, cfg.AckGrace = srv.ConnectionString(), -1
			sub, err := eventstore.NewSubscriber(cfg, nil)
			require.NoError(t, err)
			var wg sync.WaitGroup
			for worker := range 4 {
				wg.Go(func() {
					for n := range 15 {
						ctx, end := context.WithCancel(context.Background())
						messages, err := sub.Subscribe(ctx, fmt.Sprint("topic-", worker))
						if !assert.NoError(t, err) {
							end()
							return
						}
						if n%3 == worker%3 {
							time.Sleep(time.Millisecond)
						}
						end()
						for msg := range messages {
							msg.Ack()
						}
					}
				})
			}
			wg.Wait()
			awaitConnections(t, srv, 0)
			last := subscribe(t, sub, "topic-0")
			wg.Go(func() { assert.NoError(t, sub.Close()) })
			wg.Go(func() { assert.NoError(t, sub.Close()) })
			wg.Wait()
			closes(t, last)
			awaitConnections(t, srv, 0)
		})
	}
}

// A server that cannot be reached leaves no client behind that goes on trying.
func TestASubscribeThatFailsKeepsNoConnection(t *testing.T) {
	t.Parallel()
	srv := embedded(t)
	cfg := eventstore.SubscriberConfig{
		ConnectionString: srv.ConnectionString(), ConsumerGroup: "missing", DisableGroupCreation: true,
	}
	sub, err := eventstore.NewSubscriber(cfg, nil)
	require.NoError(t, err)
	_, err = sub.Subscribe(timeout(t), "topic")
	require.ErrorIs(t, err, esclient.ErrGroupNotFound)
	awaitConnections(t, srv, 0)

	require.NoError(t, srv.Stop())
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = sub.Subscribe(short, "topic")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	cfg.ConnectionString = "tcp://host:port:port"
	_, err = eventstore.NewSubscriber(cfg, nil)
	var bad *esclient.ConfigError
	require.ErrorAs(t, err, &bad, "a wrong connection string is refused at once")
}
