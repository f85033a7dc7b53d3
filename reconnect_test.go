package eventstore_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// This test is like Watermill's TestReconnect, which restarts its broker by a command. It restarts the server twice
// while 100 publishers publish 10000 messages. Each repeats a message until Publish returns nil.
func TestReconnect(t *testing.T) {
	count := 10_000
	if testing.Short() {
		count = 2_000
	}
	for _, cfg := range []eventstore.SubscriberConfig{{ConsumerGroup: "g"}, {Mode: eventstore.ModeCatchUp}, {}} {
		t.Run(fmt.Sprintf("%v%s", cfg.Mode, cfg.ConsumerGroup), func(t *testing.T) {
			testReconnect(t, cfg, count)
		})
	}
}

func testReconnect(t *testing.T, cfg eventstore.SubscriberConfig, count int) {
	const publishers = 100
	srv, url := embeddedForAll(t)
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: url})
	cfg.ConnectionString = url
	messages := subscribe(t, newSubscriber(t, cfg), "topic")

	restarts := map[int]bool{count / 3: true, count / 2: true}
	work := make(chan int)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(work)
		for n := range count {
			work <- n
			if restarts[n] {
				wg.Go(func() { assert.NoError(t, srv.Restart()) })
			}
		}
	})
	for range publishers {
		wg.Go(func() {
			for n := range work {
				msg := newMessage(fmt.Sprint(n))
				assert.Eventually(t, func() bool {
					return pub.Publish("topic", msg) == nil
				}, patience, time.Millisecond)
			}
		})
	}

	received := make(map[string]bool)
	limit := time.After(3 * patience)
	for len(received) < count {
		select {
		case msg, ok := <-messages:
			require.True(t, ok, "the channel stays open")
			received[string(msg.Payload)] = true
			msg.Ack()
		case <-limit:
			require.FailNow(t, "messages are lost", "%d of %d came", len(received), count)
		}
	}
	wg.Wait()
	silenceButForDuplicates(t, messages, received)
}

// silenceButForDuplicates accepts messages that were written twice because their outcome was unknown.
func silenceButForDuplicates(t testing.TB, messages <-chan *message.Message, received map[string]bool) {
	t.Helper()
	for {
		select {
		case msg := <-messages:
			require.True(t, received[string(msg.Payload)], "payload %q", msg.Payload)
			msg.Ack()
		case <-time.After(50 * time.Millisecond):
			return
		}
	}
}

// The test counts the acks of a group's only subscriber. It cuts off and restarts the server whenever messages come.
func TestAGroupUnderFaults(t *testing.T) {
	srv, url := embeddedForAll(t, estest.WithHeartbeat(time.Hour, time.Hour))
	const count = 3000
	pub := newPublisher(t, eventstore.PublisherConfig{Client: openTough(t, url), RepublishUnknown: true})
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: openTough(t, url), ConsumerGroup: "g"})
	messages := subscribe(t, sub, "topic")
	came := make(chan struct{}, 1) // a message, since the last fault
	var wg sync.WaitGroup
	defer func() {
		close(came)
		wg.Wait()
	}()
	wg.Go(func() {
		for n := 0; ; n++ {
			if _, more := <-came; !more {
				return
			}
			time.Sleep(time.Duration(n%7) * time.Millisecond) // now and then a fault comes in the middle of things
			if n%5 == 4 {
				assert.NoError(t, srv.Restart())
			} else {
				srv.DropConnections()
			}
		}
	})
	wg.Go(func() {
		for n := range count {
			assert.NoError(t, pub.Publish("topic", newMessage(fmt.Sprint(n))))
		}
	})
	last, duplicates := -1, 0
	for last < count-1 {
		msg := receive(t, messages)
		var n int
		_, err := fmt.Sscan(string(msg.Payload), &n)
		require.NoError(t, err)
		if n <= last {
			duplicates++ // written twice: a restart made the server forget the event's id
		} else {
			require.Equal(t, last+1, n, "a message is missing")
			last = n
			select {
			case came <- struct{}{}:
			default:
			}
		}
		msg.Ack()
	}
	t.Logf("%d duplicates", duplicates)
}

// The client is borrowed: it has the application's hooks and logger.
func TestALogThatWentBackIsLogged(t *testing.T) {
	for then, cfg := range map[string]eventstore.SubscriberConfig{
		"the subscription goes on with new events": {},
		"the subscription starts over":             {Mode: eventstore.ModeCatchUp, StartOver: true},
	} {
		t.Run(then, func(t *testing.T) {
			old, fresh := embedded(t), embedded(t)
			var addr atomic.Value
			addr.Store(old.Addr())
			ccfg, err := esclient.ParseConnectionString(old.ConnectionString())
			require.NoError(t, err)
			ccfg.ReconnectDelay = time.Millisecond
			ccfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, addr.Load().(string))
			}
			c, err := esclient.New(ccfg)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, c.Close()) })
			cfg.Client = c
			sub, log := newLogged(t, cfg)
			messages := subscribe(t, sub, "topic")
			publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), "topic", 1, 3)
			consume(t, messages, 3)
			addr.Store(fresh.Addr())
			require.NoError(t, old.Close())
			awaitLogged(t, log, "EventStore has come back with another log: "+then, 1)
			other := newPublisher(t, eventstore.PublisherConfig{ConnectionString: fresh.ConnectionString()})
			publishNumbered(t, other, "topic", 4, 5)
			assert.Equal(t, numbers(4, 5), consume(t, messages, 2))
		})
	}
}
