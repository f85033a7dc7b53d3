package esclient_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func (l *subscriptionLog) OnSlowConsumer(i esclient.SubscriptionInfo) { l.add("slow", i) }

// finite are settings of a group whose events time out.
func finite(timeout time.Duration, retries int) esclient.PersistentSettings {
	s := fromStart()
	s.MessageTimeout, s.MaxRetryCount = timeout, retries
	return s
}

// TestAnEventThatTimedOutInTheQueueIsNotDelivered has a consumer that is longer at work on an event than the server
// waits for the next: that belongs to the server again, which redelivers it.
func TestAnEventThatTimedOutInTheQueueIsNotDelivered(t *testing.T) {
	t.Parallel()
	for _, persona := range personas {
		for _, told := range []time.Duration{0, 600 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, told %v", persona, told), func(t *testing.T) {
				t.Parallel()
				var log subscriptionLog
				clock := estest.NewClock(time.Now())
				srv, c := embeddedAsAdmin(t, estest.WithPersona(persona), estest.WithClock(clock))
				ctx := testContext(t)
				stream, group := group(t, c, finite(600*time.Millisecond, 5))
				appendNumbered(t, c, stream, 0, 2)
				p := subscribe(t, c, stream, group, esclient.PersistentOptions{
					InFlight: 3, MessageTimeout: told, Hooks: []esclient.Hook{&log},
				})
				first, err := p.Next(ctx)
				require.NoError(t, err)
				clock.Advance(2 * time.Second) // all are delivered again
				eventually(t, func() bool { return log.count("slow") == 1 })
				time.Sleep(700 * time.Millisecond)
				require.NoError(t, p.Ack(first), "it is the consumer's all the same")
				for n := 1; n <= 2; n++ {
					e, err := p.Next(ctx)
					require.NoError(t, err)
					assert.EqualValues(t, n, e.Number)
					assert.Positive(t, e.RetryCount, "by a later delivery")
					require.NoError(t, p.Ack(e))
				}
				eventually(t, func() bool { return srv.Stats().InFlight == 0 })
				assert.Equal(t, 2, log.count("left out"))
				assert.ErrorIs(t, log.errorOf("left out"), esclient.ErrMessageTimeout)
				var slow *esclient.SlowConsumerError
				require.ErrorAs(t, log.errorOf("slow"), &slow)
				assert.Equal(t, 3, slow.InFlight)
				assert.Equal(t, 1, log.count("slow"))
				assert.Zero(t, srv.Stats().Parked)
				nothingMore(t, p.Next)
			})
		}
	}
}

func (l *subscriptionLog) errorOf(what string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n, line := range l.lines {
		if line == what {
			return l.infos[n].Err
		}
	}
	return nil
}

// TestEventsNotBegunAreGivenBack takes events ahead and loses the connection.
func TestEventsNotBegunAreGivenBack(t *testing.T) {
	srv, c := embeddedAsAdmin(t)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 1)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{InFlight: 2, Concurrency: 1})
	var taken []*esclient.Event
	for range 2 {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		taken = append(taken, e)
	}
	for _, e := range taken {
		_, ok := p.Offer(e)
		assert.True(t, ok)
	}
	p.Begin(taken[0])
	revoked, ok := p.Offer(taken[1])
	require.True(t, ok)
	srv.DropConnections()
	select {
	case <-revoked:
	case <-ctx.Done():
		require.Fail(t, "it is not revoked")
	}
	_, ok = p.Offer(taken[1])
	assert.False(t, ok)
	again, err := p.Next(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 1, again.Number)
	_, ok = p.Offer(taken[1])
	assert.False(t, ok, "it is another delivery")
	_, ok = p.Offer(again)
	assert.True(t, ok)
	p.Begin(again)
	_, ok = p.Offer(taken[0])
	assert.True(t, ok, "it was begun with before")
	require.NoError(t, p.Ack(taken[0], again))
	eventually(t, func() bool { return srv.Stats().InFlight == 0 })
	nothingMore(t, p.Next)
	assert.Zero(t, srv.Stats().Parked)
}

// TestTooManyEventsAreGivenBack plays a server that pushes more than it may. The client gives back the events without
// room at once, and does not wait for a timeout.
func TestTooManyEventsAreGivenBack(t *testing.T) {
	s, log := newScript(t), new(subscriptionLog)
	c := s.client(func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{log} })
	go func() {
		_, _ = c.ConnectPersistent(testContext(t), "orders", "g", esclient.PersistentOptions{InFlight: 1})
	}()
	s.confirmed(4) // two more than there is room for
	u := s.next(esproto.CmdUnsubscribeFromStream)
	dropped, err := proto.Marshal(&esproto.SubscriptionDropped{Reason: esproto.SubscriptionDropped_Unsubscribed.Enum()})
	require.NoError(t, err)
	u.reply(esproto.CmdSubscriptionDropped, dropped)
	s.confirmed(0)
	eventually(t, func() bool { return log.count("left out") > 0 })
	assert.ErrorIs(t, log.errorOf("left out"), esclient.ErrSlowConsumer)
}

// TestAcksDuringAGiveBackAreKept stops a subscription that is about to come back to the group. The server
// gets to know first what the consumer has said meanwhile.
func TestAcksDuringAGiveBackAreKept(t *testing.T) {
	t.Parallel()
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			var log subscriptionLog
			srv, c := embeddedAsAdmin(t, estest.WithPersona(persona))
			ctx := testContext(t)
			stream, group := group(t, c, fromStart())
			appendNumbered(t, c, stream, 0, 1)
			p := subscribe(t, c, stream, group, esclient.PersistentOptions{
				InFlight: 2, Concurrency: 2, MessageTimeout: 200 * time.Millisecond, Hooks: []esclient.Hook{&log},
			})
			first, err := p.Next(ctx)
			require.NoError(t, err)
			p.Begin(first)
			srv.Intercept(esproto.CmdConnectToPersistentSubscription,
				estest.Delay(200*time.Millisecond), estest.Times(1))
			eventually(t, func() bool { return log.count("left out") == 1 })
			require.NoError(t, p.Ack(first))
			require.NoError(t, p.Stop(ctx))
			p = subscribe(t, c, stream, group, esclient.PersistentOptions{})
			e, err := p.Next(ctx)
			require.NoError(t, err)
			assert.EqualValues(t, 1, e.Number, "the first was acked")
		})
	}
}
