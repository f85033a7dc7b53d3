package eventstore_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// write appends events to a stream whose data are the numbers from from to to.
func write(t testing.TB, srv *estest.Server, stream string, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		_, err := srv.Append(stream, estest.Event{Type: "t", Data: fmt.Append(nil, n)})
		require.NoError(t, err)
	}
}

// caughtUp waits for a call of OnCaughtUp.
func caughtUp(t testing.TB, calls <-chan string) (topic string) {
	t.Helper()
	select {
	case topic = <-calls:
		return topic
	case <-time.After(patience):
		require.FailNow(t, "OnCaughtUp was not called")
		return ""
	}
}

// notYet fails the test if OnCaughtUp is called within a moment.
func notYet(t testing.TB, calls <-chan string) {
	t.Helper()
	select {
	case <-calls:
		require.FailNow(t, "OnCaughtUp was called")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestOnCaughtUpComesWhenAllOldMessagesAreSettled(t *testing.T) {
	for _, concurrency := range []int{1, 4} {
		t.Run(fmt.Sprint(concurrency), func(t *testing.T) {
			srv := embedded(t)
			for n := range 20 {
				source := fmt.Sprint("source-", n) // each has a key of its own
				write(t, srv, source, n, n)
				_, err := srv.Append("topic", estest.Event{Type: "$>", Data: []byte("0@" + source)})
				require.NoError(t, err)
			}
			calls := make(chan string, 10)
			messages := subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
				ConnectionString: srv.ConnectionString(), Mode: eventstore.ModeCatchUp, ResolveLinks: true,
				Concurrency: concurrency, OnCaughtUp: func(topic string) { calls <- topic },
			}), "topic")
			var held *message.Message
			for range 20 {
				msg := receive(t, messages)
				assert.False(t, eventstore.LiveFromCtx(msg.Context()))
				if string(msg.Payload) == "19" {
					held = msg
					continue
				}
				msg.Ack()
			}
			notYet(t, calls)
			held.Nack()
			held = receive(t, messages)
			require.Equal(t, "19", string(held.Payload))
			assert.False(t, eventstore.LiveFromCtx(held.Context()))
			notYet(t, calls)
			held.Ack()
			assert.Equal(t, "topic", caughtUp(t, calls))

			write(t, srv, "topic", 20, 20)
			msg := receive(t, messages)
			assert.True(t, eventstore.LiveFromCtx(msg.Context()))
			msg.Nack()
			msg = receive(t, messages)
			assert.True(t, eventstore.LiveFromCtx(msg.Context()))
			msg.Ack()
			notYet(t, calls)
		})
	}
}

// TestOnCaughtUpDoesNotWaitForNewMessages has a handler hang with a message that came after the subscription had caught
// up, and before all old messages were settled.
func TestOnCaughtUpDoesNotWaitForNewMessages(t *testing.T) {
	srv := embedded(t)
	write(t, srv, "topic", 1, 1)
	calls := make(chan string, 10)
	messages := subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
		ConnectionString: srv.ConnectionString(), Mode: eventstore.ModeCatchUp, Concurrency: 2,
		Key:        func(msg *message.Message) string { return string(msg.Payload) },
		OnCaughtUp: func(topic string) { calls <- topic },
	}), "topic")
	old := receive(t, messages)
	fresh := make(chan *message.Message, 1)
	go func() {
		for n := 2; ; n++ {
			_, err := srv.Append("topic", estest.Event{Type: "t", Data: fmt.Append(nil, n)})
			msg, ok := <-messages
			if !assert.NoError(t, err) || !ok {
				close(fresh)
				return
			}
			if eventstore.LiveFromCtx(msg.Context()) {
				fresh <- msg
				return
			}
			msg.Ack()
		}
	}()
	hanging := <-fresh
	require.NotNil(t, hanging)
	notYet(t, calls)
	old.Ack()
	caughtUp(t, calls)
	hanging.Ack()
}

// gate is a network that can be closed.
type gate struct{ mu sync.Mutex }

func (g *gate) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

func TestOnCaughtUpComesAgainAfterALostConnection(t *testing.T) {
	filter := &esclient.Filter{StreamPrefixes: []string{"topic"}}
	for name, cfg := range map[string]eventstore.SubscriberConfig{
		"catch-up":              {Mode: eventstore.ModeCatchUp},
		"catch-up, in parallel": {Mode: eventstore.ModeCatchUp, Concurrency: 4},
		"catch-up, $all":        {Mode: eventstore.ModeCatchUp, Filter: filter},
		"volatile":              {Mode: eventstore.ModeVolatile},
		"volatile, $all":        {Mode: eventstore.ModeVolatile, Filter: filter},
	} {
		for _, persona := range personas {
			t.Run(fmt.Sprintf("%s/%s", persona, name), func(t *testing.T) {
				srv := embedded(t, estest.WithPersona(persona))
				var network gate
				config, err := esclient.ParseConnectionString(srv.ConnectionString())
				require.NoError(t, err)
				config.Dial, config.ReconnectDelay = network.dial, time.Millisecond
				c, err := esclient.New(config)
				require.NoError(t, err)
				defer c.Close()

				calls := make(chan string, 10)
				cfg.Client, cfg.OnCaughtUp = c, func(topic string) { calls <- topic }
				topic := "topic"
				if strings.Contains(name, "$all") {
					topic = "$all"
				}
				messages := subscribe(t, newSubscriber(t, cfg), topic)
				assert.Equal(t, topic, caughtUp(t, calls))
				write(t, srv, "topic", 1, 1)
				msg := receive(t, messages)
				assert.True(t, eventstore.LiveFromCtx(msg.Context()))
				msg.Ack()

				network.mu.Lock()
				srv.DropConnections()
				write(t, srv, "topic", 2, 4)
				network.mu.Unlock()
				for n := 2; n <= 4; n++ {
					msg := receive(t, messages)
					assert.Equal(t, fmt.Sprint(n), string(msg.Payload))
					assert.False(t, eventstore.LiveFromCtx(msg.Context()), "it is read back")
					if n == 4 {
						notYet(t, calls)
					}
					msg.Ack()
				}
				caughtUp(t, calls)
				write(t, srv, "topic", 5, 5)
				msg = receive(t, messages)
				assert.True(t, eventstore.LiveFromCtx(msg.Context()))
				msg.Ack()
			})
		}
	}
}

func TestOnCaughtUpMayHang(t *testing.T) {
	srv := embedded(t)
	write(t, srv, "topic", 1, 3)
	called, release := make(chan struct{}, 1), make(chan struct{})
	defer close(release)
	messages := subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
		ConnectionString: srv.ConnectionString(), Mode: eventstore.ModeCatchUp,
		OnCaughtUp: func(string) {
			called <- struct{}{}
			<-release
		},
	}), "topic")
	assert.Equal(t, numbers(1, 3), consume(t, messages, 3))
	select {
	case <-called:
	case <-time.After(patience):
		require.FailNow(t, "OnCaughtUp was not called")
	}
	write(t, srv, "topic", 4, 6)
	assert.Equal(t, numbers(4, 6), consume(t, messages, 3))
}

func TestOnCaughtUpMayCloseTheSubscriber(t *testing.T) {
	srv := embedded(t)
	write(t, srv, "topic", 1, 3)
	var sub *eventstore.Subscriber
	ready, closed := make(chan struct{}), make(chan struct{})
	sub = newSubscriber(t, eventstore.SubscriberConfig{
		ConnectionString: srv.ConnectionString(), Mode: eventstore.ModeCatchUp,
		OnCaughtUp: func(string) {
			<-ready
			assert.NoError(t, sub.Close())
			close(closed)
		},
	})
	messages := subscribe(t, sub, "topic")
	close(ready)
	assert.Equal(t, numbers(1, 3), consume(t, messages, 3))
	closes(t, messages)
	<-closed
}

func TestOnCaughtUpIsRefusedInGroups(t *testing.T) {
	_, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		ConnectionString: "tcp://localhost:1", ConsumerGroup: "g", OnCaughtUp: func(string) {},
	}, nil)
	assert.ErrorIs(t, err, esclient.ErrInvalidConfig)
	assert.ErrorContains(t, err, "OnCaughtUp")
}

func TestLiveFromCtxOfOthers(t *testing.T) {
	assert.False(t, eventstore.LiveFromCtx(t.Context()))
	srv := embedded(t)
	messages := subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
		ConnectionString: srv.ConnectionString(), ConsumerGroup: "g",
	}), "topic")
	write(t, srv, "topic", 1, 1)
	msg := receive(t, messages)
	assert.False(t, eventstore.LiveFromCtx(msg.Context()), "a group does not tell")
	msg.Ack()
}
