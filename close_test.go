package eventstore_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// The handler waits for Close, and Close waits for the handler.
func TestCloseByAHandlerReturnsAndItsWordCounts(t *testing.T) {
	t.Parallel()
	url := connectionString(t)
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: url})
	both(t, func(t *testing.T, concurrency int) {
		topic := name("handler")
		publishNumbered(t, pub, topic, 1, 2)
		sub, err := eventstore.NewSubscriber(withGroups(t, eventstore.SubscriberConfig{
			ConnectionString: url, ConsumerGroup: "g", Concurrency: concurrency,
		}), nil)
		require.NoError(t, err)
		messages := subscribe(t, sub, topic)
		msg := receive(t, messages)
		var others sync.WaitGroup
		for range 2 {
			others.Go(func() { assert.NoError(t, sub.Close()) })
		}
		require.NoError(t, sub.Close())
		others.Wait()
		_, err = sub.Subscribe(context.Background(), topic)
		require.ErrorIs(t, err, eventstore.ErrSubscriberClosed)
		require.True(t, msg.Ack())
		closes(t, messages)
		require.NoError(t, sub.Close(), "all has ended")
		other := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: url, ConsumerGroup: "g"})
		assert.Equal(t, []string{"2"}, consume(t, subscribe(t, other, topic), 1))
	})
}

func TestCloseWaitsForAHandlerThatFinishes(t *testing.T) {
	url := connectionString(t)
	topic := name("finishes")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{ConnectionString: url}), topic, 1, 2)
	sub, err := eventstore.NewSubscriber(
		withGroups(t, eventstore.SubscriberConfig{ConnectionString: url, ConsumerGroup: "g"}), nil)
	require.NoError(t, err)
	messages := subscribe(t, sub, topic)
	msg := receive(t, messages)
	go func() {
		<-msg.Context().Done()
		time.Sleep(100 * time.Millisecond)
		msg.Ack()
	}()
	require.NoError(t, sub.Close())
	_, ok := <-messages
	require.False(t, ok)
	require.True(t, isAcked(msg), "Close has waited")
	other := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: url, ConsumerGroup: "g"})
	assert.Equal(t, []string{"2"}, consume(t, subscribe(t, other, topic), 1))
}

func isAcked(msg *message.Message) bool {
	select {
	case <-msg.Acked():
		return true
	default:
		return false
	}
}

// A handler nacks a message repeatedly while the subscription ends by itself.
func TestAnEndedSubscriptionHandsOutNothingMore(t *testing.T) {
	t.Parallel()
	url := connectionString(t)
	admin := openClient(t, url)
	for what, with := range map[string]struct {
		cfg eventstore.SubscriberConfig
		end func(topic string, own *esclient.Client) error
		why error
	}{
		"the group is deleted": {
			eventstore.SubscriberConfig{ConsumerGroup: "g", DisableGroupCreation: true},
			func(topic string, _ *esclient.Client) error {
				return admin.DeletePersistent(asAdmin(timeout(t)), topic, "g")
			}, esclient.ErrGroupNotFound,
		},
		"the client of a group is closed": {
			eventstore.SubscriberConfig{ConsumerGroup: "g"},
			func(_ string, own *esclient.Client) error { return own.Close() }, esclient.ErrClosed,
		},
		"the client of a catch-up is closed": {
			eventstore.SubscriberConfig{Mode: eventstore.ModeCatchUp},
			func(_ string, own *esclient.Client) error { return own.Close() }, esclient.ErrClosed,
		},
		"the stream of a catch-up is deleted": {
			eventstore.SubscriberConfig{Mode: eventstore.ModeCatchUp},
			func(topic string, _ *esclient.Client) error {
				_, err := admin.TombstoneStream(timeout(t), topic, esclient.Any)
				return err
			}, esclient.ErrStreamDeleted,
		},
		"the stream of a fan-out is deleted": {
			eventstore.SubscriberConfig{Mode: eventstore.ModeVolatile},
			func(topic string, _ *esclient.Client) error {
				_, err := admin.TombstoneStream(timeout(t), topic, esclient.Any)
				return err
			}, esclient.ErrStreamDeleted,
		},
	} {
		t.Run(what, func(t *testing.T) {
			both(t, func(t *testing.T, concurrency int) {
				topic := name("over")
				settings := eventstore.DefaultGroupSettings()
				require.NoError(t, admin.CreatePersistent(asAdmin(timeout(t)), topic, "g", settings))
				cfg := with.cfg
				cfg.Client, cfg.Concurrency, cfg.AckGrace = openClient(t, url), concurrency, time.Hour
				cfg.NackDelay, cfg.MaxNackDelay = time.Millisecond, time.Millisecond
				sub, log := newLogged(t, cfg)
				messages := subscribe(t, sub, topic)
				publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: admin}), topic, 1, 1)
				receive(t, messages).Nack()
				held := receive(t, messages)
				require.NoError(t, with.end(topic, cfg.Client))
				if cfg.ConsumerGroup != "" {
					<-held.Context().Done()
				}
				held.Nack()
				nackUntilClosed(t, messages)
				ended := logged(log, "Subscription ended")
				require.Len(t, ended, 1)
				require.ErrorIs(t, ended[0].Err, with.why)
			})
		})
	}
}

func nackUntilClosed(t testing.TB, messages <-chan *message.Message) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case msg, ok := <-messages:
			if !ok {
				return
			}
			msg.Nack()
		case <-limit:
			require.FailNow(t, "the channel is not closed")
		}
	}
}

func TestAnAckThatTheServerCannotGetIsLogged(t *testing.T) {
	url := connectionString(t)
	topic := name("lost")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{ConnectionString: url}), topic, 1, 1)
	c := openClient(t, url)
	sub, log := newLogged(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g"})
	messages := subscribe(t, sub, topic)
	msg := receive(t, messages)
	require.NoError(t, c.Close())
	<-msg.Context().Done()
	require.ErrorIs(t, context.Cause(msg.Context()), esclient.ErrClosed)
	select {
	case <-messages:
		require.Fail(t, "the channel is closed while a handler is at work")
	case <-time.After(50 * time.Millisecond):
	}
	msg.Ack()
	closes(t, messages)
	late := awaitLogged(t, log, tooLate, 1)
	require.ErrorIs(t, late[0].Err, esclient.ErrClosed)
}

func TestSubscribeAndCloseAtOnce(t *testing.T) {
	url, topic := connectionString(t), name("race")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{ConnectionString: url}), topic, 1, 3)
	for _, cfg := range []eventstore.SubscriberConfig{{ConsumerGroup: "g"}, {}, {Mode: eventstore.ModeCatchUp}} {
		for n := range 20 {
			cfg.ConnectionString, cfg.AckGrace = url, -1
			sub, err := eventstore.NewSubscriber(withGroups(t, cfg), nil)
			require.NoError(t, err)
			var wg sync.WaitGroup
			wg.Go(func() {
				messages, err := sub.Subscribe(context.Background(), topic)
				if err != nil {
					assert.ErrorIs(t, err, eventstore.ErrSubscriberClosed)
					return
				}
				for msg := range messages {
					msg.Nack()
				}
			})
			time.Sleep(time.Duration(n) * 100 * time.Microsecond)
			require.NoError(t, sub.Close())
			wg.Wait()
		}
	}
}

// closer is a logger that closes a Subscriber when a connection is lost.
type closer struct {
	watermill.NopLogger
	sub    *atomic.Pointer[eventstore.Subscriber]
	closed chan error
}

func (c closer) With(watermill.LogFields) watermill.LoggerAdapter { return c }

func (c closer) Error(text string, _ error, _ watermill.LogFields) {
	if text == "Connection to EventStore lost" {
		c.closed <- c.sub.Load().Close()
	}
}

func TestALoggerMayCloseTheSubscriber(t *testing.T) {
	for _, cfg := range []eventstore.SubscriberConfig{{ConsumerGroup: "g"}, {}, {Mode: eventstore.ModeCatchUp}} {
		srv := embedded(t)
		log := closer{sub: new(atomic.Pointer[eventstore.Subscriber]), closed: make(chan error, 1)}
		cfg.ConnectionString = srv.ConnectionString()
		sub, err := eventstore.NewSubscriber(withGroups(t, cfg), log)
		require.NoError(t, err)
		log.sub.Store(sub)
		messages := subscribe(t, sub, "topic")
		srv.DropConnections()
		closes(t, messages)
		require.NoError(t, <-log.closed)
	}
}

// meddler is a logger that calls a function at each line about a connection or a Close.
type meddler struct{ do *atomic.Pointer[func()] }

func newMeddler() meddler { return meddler{new(atomic.Pointer[func()])} }

func (l meddler) tell(text string) {
	do := l.do.Load()
	if do != nil && (strings.HasSuffix(text, "closed") || strings.Contains(text, "EventStore")) {
		(*do)()
	}
}

func (l meddler) Error(text string, _ error, _ watermill.LogFields) { l.tell(text) }
func (l meddler) Info(text string, _ watermill.LogFields)           { l.tell(text) }
func (l meddler) Debug(text string, _ watermill.LogFields)          { l.tell(text) }
func (l meddler) Trace(text string, _ watermill.LogFields)          { l.tell(text) }
func (l meddler) With(watermill.LogFields) watermill.LoggerAdapter  { return l }

// Close logs, and so do the hooks of the connection that it closes.
func TestALoggerMayCloseWhenItHearsOfClose(t *testing.T) {
	t.Parallel()
	for what, cfg := range map[string]eventstore.SubscriberConfig{
		"group": {ConsumerGroup: "g"}, "fan-out": {}, "catch-up": {Mode: eventstore.ModeCatchUp},
	} {
		t.Run(what, func(t *testing.T) {
			srv, log := embedded(t), newMeddler()
			cfg.ConnectionString = srv.ConnectionString()
			sub, err := eventstore.NewSubscriber(withGroups(t, cfg), log)
			require.NoError(t, err)
			pub, err := eventstore.NewPublisher(eventstore.PublisherConfig{ConnectionString: cfg.ConnectionString}, log)
			require.NoError(t, err)
			messages := subscribe(t, sub, "topic")
			require.NoError(t, pub.Publish("topic", newMessage("1")))
			do := func() {
				assert.NoError(t, sub.Close())
				assert.NoError(t, pub.Close())
			}
			log.do.Store(&do)
			var both sync.WaitGroup
			both.Go(func() { assert.NoError(t, pub.Close()) })
			both.Go(func() { assert.NoError(t, sub.Close()) })
			both.Wait()
			closes(t, messages)
		})
	}
}
