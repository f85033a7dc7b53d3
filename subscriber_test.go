package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

func TestAGroupGetsTheOldMessagesOnceAndGoesOn(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("group")
	publishNumbered(t, pub, topic, 1, 5)
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g"})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	messages, err := sub.Subscribe(ctx, topic)
	require.NoError(t, err)
	assert.Equal(t, numbers(1, 3), consume(t, messages, 3))
	cancel()
	closes(t, messages)

	messages = subscribe(t, sub, topic)
	assert.Equal(t, numbers(4, 5), consume(t, messages, 2))
	publishNumbered(t, pub, topic, 6, 7)
	assert.Equal(t, numbers(6, 7), consume(t, messages, 2))
}

func TestContextValues(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("values")
	first := newMessage("first")
	first.Metadata.Set("name", "Placed")
	require.NoError(t, pub.Publish(topic, first, newMessage("second")))
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g"})
	messages := subscribe(t, sub, topic)

	ctx := receive(t, messages).Context()
	stream, ok := eventstore.StreamFromCtx(ctx)
	assert.True(t, ok)
	assert.Equal(t, topic, stream)
	number, ok := eventstore.EventNumberFromCtx(ctx)
	assert.True(t, ok)
	assert.Equal(t, int64(0), number)
	typ, _ := eventstore.EventTypeFromCtx(ctx)
	assert.Equal(t, "Placed", typ)
	created, _ := eventstore.CreatedFromCtx(ctx)
	assert.WithinDuration(t, time.Now(), created, time.Hour)
	retries, ok := eventstore.RetryCountFromCtx(ctx)
	assert.True(t, ok)
	assert.Zero(t, retries)
	group, _ := eventstore.ConsumerGroupFromCtx(ctx)
	assert.Equal(t, "g", group)
	_, ok = eventstore.LinkFromCtx(ctx)
	assert.False(t, ok)
	_, ok = eventstore.PositionFromCtx(ctx)
	assert.False(t, ok, "a group's events come without a position")

	ctx = context.Background()
	for _, known := range []bool{
		second(eventstore.StreamFromCtx(ctx)), second(eventstore.EventNumberFromCtx(ctx)),
		second(eventstore.PositionFromCtx(ctx)), second(eventstore.EventTypeFromCtx(ctx)),
		second(eventstore.CreatedFromCtx(ctx)), second(eventstore.RetryCountFromCtx(ctx)),
		second(eventstore.LinkFromCtx(ctx)), second(eventstore.EventFromCtx(ctx)),
		second(eventstore.ConsumerGroupFromCtx(ctx)),
	} {
		assert.False(t, known)
	}
}

func second[T any](_ T, ok bool) bool { return ok }

func TestANackedMessageComesAgainInProcess(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("nack")
	publishNumbered(t, pub, topic, 1, 2)
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g"})
	messages := subscribe(t, sub, topic)
	for n := range 30 { // three times the retries after which the server would park the message
		msg := receive(t, messages)
		require.Equal(t, "1", string(msg.Payload))
		retries, _ := eventstore.RetryCountFromCtx(msg.Context())
		require.Equal(t, n, retries)
		copy(msg.Payload, "x") // what a handler does to a message does not show in the next one
		msg.Metadata.Set("seen", "yes")
		msg.Nack()
	}
	assert.Equal(t, []string{"1", "2"}, consume(t, messages, 2))
}

func TestNackDelay(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("delay")
	publishNumbered(t, pub, topic, 1, 1)
	const delay = 50 * time.Millisecond
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g", NackDelay: delay})
	messages := subscribe(t, sub, topic)
	nacked := receive(t, messages)
	started := time.Now()
	nacked.Nack()
	receive(t, messages).Ack()
	assert.GreaterOrEqual(t, time.Since(started), delay)
}

func TestMaxNacksParksWithAReason(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("park")
	publishNumbered(t, pub, topic, 1, 3)
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g", MaxNacks: 2})
	messages := subscribe(t, sub, topic)
	receive(t, messages).Nack()
	receive(t, messages).Nack()
	require.True(t, eventstore.NackWith(receive(t, messages), eventstore.ActionPark, "I don't like it"))
	assert.Equal(t, []string{"3"}, consume(t, messages, 1))

	parked := parkedEvents(t, c, topic, 2)
	assert.Equal(t, "0@"+topic, string(parked[0].Data))
	assert.Contains(t, string(parked[0].Metadata), "nacked 2 times")
	assert.Equal(t, "1@"+topic, string(parked[1].Data))
	assert.Contains(t, string(parked[1].Metadata), "I don't like it")
}

// parkedEvents waits for n parked events of group g.
func parkedEvents(t testing.TB, c *esclient.Client, topic string, n int) []*esclient.Event {
	t.Helper()
	stream := "$persistentsubscription-" + topic + "::g-parked"
	var parked []*esclient.Event
	require.Eventually(t, func() bool {
		parked = nil
		for e, err := range c.ReadStream(asAdmin(timeout(t)), stream, esclient.ReadOptions{}) {
			if err != nil {
				break
			}
			parked = append(parked, e)
		}
		return len(parked) >= n
	}, patience, 5*time.Millisecond)
	return parked
}

func TestNackActions(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	for action, want := range map[eventstore.Action][]string{
		eventstore.ActionRetry: {"1", "1", "2"}, // by the server, at once
		eventstore.ActionSkip:  {"1", "2"},
		eventstore.ActionPark:  {"1", "2"},
	} {
		t.Run(action.String(), func(t *testing.T) {
			topic := name("action")
			publishNumbered(t, pub, topic, 1, 2)
			sub := newSubscriber(t, eventstore.SubscriberConfig{
				Client: c, ConsumerGroup: "g", MaxNacks: 1, NackAction: action, InFlight: 1,
			})
			messages := subscribe(t, sub, topic)
			first := receive(t, messages)
			first.Nack()
			assert.False(t, eventstore.NackWith(newMessage("not received"), action, ""))
			got := append([]string{string(first.Payload)}, consume(t, messages, len(want)-1)...)
			assert.Equal(t, want, got)
			silence(t, messages)
		})
	}
}

func TestActionStopEndsTheSubscriptionAndLosesNothing(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("stop")
	publishNumbered(t, pub, topic, 1, 2)
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g"})
	messages := subscribe(t, sub, topic)
	require.True(t, eventstore.NackWith(receive(t, messages), eventstore.ActionStop, "enough"))
	closes(t, messages)
	assert.Equal(t, numbers(1, 2), consume(t, subscribe(t, sub, topic), 2))
}

// picky refuses some payloads.
type picky struct{ eventstore.DefaultMarshaler }

func (p picky) Unmarshal(topic string, e *esclient.Event) (*message.Message, error) {
	switch string(e.Data) {
	case "bad":
		return nil, errors.New("a bad event")
	case "nil":
		return nil, nil
	}
	return p.DefaultMarshaler.Unmarshal(topic, e)
}

func TestAnEventThatIsNoMessageIsParkedAndBlocksNothing(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("bad")
	require.NoError(t, pub.Publish(topic, newMessage("1"), newMessage("bad"), newMessage("nil"), newMessage("2")))
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g", Unmarshaler: picky{}})
	assert.Equal(t, []string{"1", "2"}, consume(t, subscribe(t, sub, topic), 2))
	parked := parkedEvents(t, c, topic, 2)
	assert.Contains(t, string(parked[0].Metadata), "a bad event")
	assert.Contains(t, string(parked[1].Metadata), "neither a message nor an error")

	catchUp := newSubscriber(t, eventstore.SubscriberConfig{
		Client: c, Mode: eventstore.ModeCatchUp, Unmarshaler: picky{},
	})
	assert.Equal(t, []string{"1", "2"}, consume(t, subscribe(t, catchUp, topic), 2))

	stopping := newSubscriber(t, eventstore.SubscriberConfig{
		Client: c, Mode: eventstore.ModeCatchUp, Unmarshaler: picky{}, UnmarshalAction: eventstore.ActionStop,
	})
	messages := subscribe(t, stopping, topic)
	assert.Equal(t, []string{"1"}, consume(t, messages, 1))
	closes(t, messages)
}

func TestCloseGivesUnackedMessagesBackAtOnce(t *testing.T) {
	url, topic := connectionString(t), name("back")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{ConnectionString: url}), topic, 1, 5)
	cfg := eventstore.SubscriberConfig{ConnectionString: url, ConsumerGroup: "g", AckGrace: -1}
	first, other := newSubscriber(t, cfg), newSubscriber(t, cfg)
	messages := subscribe(t, first, topic)
	assert.Equal(t, []string{"1"}, consume(t, messages, 1))
	held := receive(t, messages)
	require.NoError(t, first.Close())
	closes(t, messages)
	assert.Error(t, held.Context().Err())
	// This is well before the message timeout of 30 s. After a retry the server may deliver the messages out of order
	// if the new subscriber joins before the old one has left.
	assert.ElementsMatch(t, numbers(2, 5), consume(t, subscribe(t, other, topic), 4))
}

func TestAMessageInHandCanStillBeAckedAfterTheEnd(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("grace")
	publishNumbered(t, pub, topic, 1, 2)
	cfg := eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g", AckGrace: patience}
	sub := newSubscriber(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	messages, err := sub.Subscribe(ctx, topic)
	require.NoError(t, err)
	msg := receive(t, messages)
	cancel()
	<-msg.Context().Done()
	msg.Ack()
	closes(t, messages)
	assert.Equal(t, []string{"2"}, consume(t, subscribe(t, newSubscriber(t, cfg), topic), 1))
}

func TestSubscriberClose(t *testing.T) {
	c := openClient(t, connectionString(t))
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c})
	topic := name("close")
	channels := []<-chan *message.Message{subscribe(t, sub, topic), subscribe(t, sub, topic)}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() { assert.NoError(t, sub.Close()) })
	}
	wg.Wait()
	for _, messages := range channels {
		_, ok := <-messages
		assert.False(t, ok, "Close returns after the channels are closed")
	}
	_, err := sub.Subscribe(context.Background(), topic)
	require.ErrorIs(t, err, eventstore.ErrSubscriberClosed)
	require.ErrorIs(t, sub.SubscribeInitialize(topic), eventstore.ErrSubscriberClosed)
	require.NoError(t, c.Connect(timeout(t)), "a borrowed client is not closed")
}

func TestCallsThatCloseEndsSaySo(t *testing.T) {
	srv := embedded(t)
	srv.Pause()
	defer srv.Resume()
	sub := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: srv.ConnectionString(), ConsumerGroup: "g"})
	failed := make(chan error, 2)
	go func() { failed <- sub.SubscribeInitialize("topic") }()
	go func() {
		_, err := sub.Subscribe(context.Background(), "topic")
		failed <- err
	}()
	time.Sleep(20 * time.Millisecond)
	require.NoError(t, sub.Close())
	for range 2 {
		require.ErrorIs(t, <-failed, eventstore.ErrSubscriberClosed)
	}
}

func TestCloseWhileAMessageWaitsForAReader(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("unread")
	publishNumbered(t, pub, topic, 1, 1)
	for _, cfg := range []eventstore.SubscriberConfig{
		{ConsumerGroup: "g"}, {Mode: eventstore.ModeCatchUp}, {Mode: eventstore.ModeCatchUp, Concurrency: 4},
	} {
		cfg.Client, cfg.AckGrace = c, time.Hour
		sub := newSubscriber(t, cfg)
		messages := subscribe(t, sub, topic)
		require.NoError(t, sub.Close())
		closes(t, messages)
	}
}

func TestCatchUpStarts(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("start")
	publishNumbered(t, pub, topic, 0, 9)
	checkpoints := func(_ context.Context, got string) (esclient.Start, error) {
		assert.Equal(t, topic, got)
		return esclient.AfterNumber(6), nil
	}
	for want, cfg := range map[int]eventstore.SubscriberConfig{
		0:  {},
		4:  {Start: esclient.FromNumber(4)},
		5:  {Start: esclient.AfterNumber(4)},
		7:  {LoadStart: checkpoints},
		10: {Start: esclient.FromEnd()},
	} {
		cfg.Client, cfg.Mode = c, eventstore.ModeCatchUp
		messages := subscribe(t, newSubscriber(t, cfg), topic)
		if want == 10 {
			silence(t, messages)
			publishNumbered(t, pub, topic, 10, 10)
		}
		assert.Equal(t, fmt.Sprint(want), string(receive(t, messages).Payload))
	}

	failing := newSubscriber(t, eventstore.SubscriberConfig{Client: c, Mode: eventstore.ModeCatchUp,
		LoadStart: func(context.Context, string) (esclient.Start, error) {
			return esclient.Start{}, errors.New("no database")
		}})
	_, err := failing.Subscribe(context.Background(), topic)
	assert.ErrorContains(t, err, "no database")
}

func TestCatchUpOfAllStreams(t *testing.T) {
	undertest.AdminOnly(t, "it reads $all")
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("all")
	publishNumbered(t, pub, topic, 1, 3)
	find := func(start esclient.Start) (payloads []string, last esclient.Position) {
		sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, Mode: eventstore.ModeCatchUp, Start: start})
		messages := subscribe(t, sub, esclient.AllStream)
		defer sub.Close()
		for {
			msg := receive(t, messages) // there may be many of others
			stream, _ := eventstore.StreamFromCtx(msg.Context())
			if stream == topic {
				payloads = append(payloads, string(msg.Payload))
				position, ok := eventstore.PositionFromCtx(msg.Context())
				require.True(t, ok)
				if last = position; string(msg.Payload) == "3" {
					return payloads, last
				}
				if len(payloads) == 1 {
					position1 = position
				}
			}
			msg.Ack()
		}
	}
	got, _ := find(esclient.FromStart())
	assert.Equal(t, numbers(1, 3), got)
	got, _ = find(esclient.AfterPosition(position1))
	assert.Equal(t, numbers(2, 3), got)
}

var position1 esclient.Position

func TestLinksAreResolvedOnRequestAndAckedAsLinks(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic, links := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("target"), name("links")
	publishNumbered(t, pub, topic, 0, 1)
	for n := range 2 {
		_, err := c.Append(timeout(t), links, esclient.Any, esclient.EventData{
			Type: "$>", Data: fmt.Appendf(nil, "%d@%s", n, topic),
		})
		require.NoError(t, err)
	}
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g", ResolveLinks: true, InFlight: 1})
	messages := subscribe(t, sub, links)
	for n := range 2 { // with one in flight, the second comes only if the ack named the right event
		msg := receive(t, messages)
		assert.Equal(t, fmt.Sprint(n), string(msg.Payload))
		stream, _ := eventstore.StreamFromCtx(msg.Context())
		assert.Equal(t, topic, stream)
		link, ok := eventstore.LinkFromCtx(msg.Context())
		require.True(t, ok)
		assert.Equal(t, links, link.Stream)
		msg.Ack()
	}
	plain := newSubscriber(t, eventstore.SubscriberConfig{Client: c, Mode: eventstore.ModeCatchUp})
	assert.Equal(t, []string{"0@" + topic, "1@" + topic}, consume(t, subscribe(t, plain, links), 2))
}

func TestManySubscribersRaceToMakeTheGroup(t *testing.T) {
	url, topic := connectionString(t), name("race")
	makesGroups(t, openClient(t, url))
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{ConnectionString: url}), topic, 1, 1)
	var wg sync.WaitGroup
	for n := range 10 {
		sub := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: url, ConsumerGroup: "g"})
		wg.Go(func() {
			if n%2 == 0 {
				assert.NoError(t, sub.SubscribeInitialize(topic))
			}
			_, err := sub.Subscribe(context.Background(), topic)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
}

func TestAMissingGroupThatMustNotBeMade(t *testing.T) {
	c := openClient(t, connectionString(t))
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g", DisableGroupCreation: true})
	_, err := sub.Subscribe(timeout(t), name("missing"))
	require.ErrorIs(t, err, esclient.ErrGroupNotFound)
	require.NoError(t, sub.SubscribeInitialize(name("missing")))
}

func TestAUserWhoMayNotMakeGroupsCanConsume(t *testing.T) {
	srv := embedded(t)
	admin := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: srv.ConnectionString(), ConsumerGroup: "g"})
	require.NoError(t, admin.SubscribeInitialize("topic"))
	anonymous := "tcp://" + srv.Addr()
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{ConnectionString: anonymous}), "topic", 1, 1)
	sub := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: anonymous, ConsumerGroup: "g"})
	assert.Equal(t, []string{"1"}, consume(t, subscribe(t, sub, "topic"), 1))
	_, err := sub.Subscribe(timeout(t), "other")
	require.ErrorIs(t, err, esclient.ErrAccessDenied)
}

func TestBadTopicsAreRefused(t *testing.T) {
	c := openClient(t, "tcp://127.0.0.1:1")
	for _, cfg := range []eventstore.SubscriberConfig{{ConsumerGroup: "g"}, {}, {Mode: eventstore.ModeCatchUp}} {
		cfg.Client = c
		sub := newSubscriber(t, cfg)
		for _, topic := range []string{"", "a\nb", "a\xff"} {
			_, err := sub.Subscribe(timeout(t), topic)
			require.ErrorIs(t, err, esclient.ErrInvalidArgument, "%v %q", cfg.Mode, topic)
			assert.ErrorContains(t, err, fmt.Sprintf("topic %q", topic))
		}
	}
	group := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g"})
	_, err := group.Subscribe(timeout(t), esclient.AllStream)
	require.ErrorIs(t, err, esclient.ErrInvalidArgument)
	require.ErrorIs(t, group.SubscribeInitialize(""), esclient.ErrInvalidArgument)
}

func TestSubscriberRefusesBadConfigurations(t *testing.T) {
	c := openClient(t, "tcp://127.0.0.1:1")
	bad := eventstore.DefaultGroupSettings()
	bad.ReadBatchSize = bad.BufferSize
	for setting, cfg := range map[string]eventstore.SubscriberConfig{
		"ConnectionString": {},
		"Client":           {Client: c, ConnectionString: "tcp://localhost"},
		"Mode":             {Client: c, Mode: 9},
		"ConsumerGroup":    {Client: c, Mode: eventstore.ModePersistent},
		"catch-up":         {Client: c, Mode: eventstore.ModeCatchUp, ConsumerGroup: "g"},
		"Start":            {Client: c, ConsumerGroup: "g", Start: esclient.FromEnd()},
		"ReadBatchSize":    {Client: c, ConsumerGroup: "g", GroupSettings: &bad},
		"InFlight":         {Client: c, ConsumerGroup: "g", InFlight: 2, Concurrency: 3},
		"PageSize":         {Client: c, PageSize: -1},
		"BufferSize":       {Client: c, BufferSize: -1},
		"Concurrency":      {Client: c, Concurrency: -1},
		"MaxNacks":         {Client: c, MaxNacks: -1},
		"AckDelay":         {Client: c, AckDelay: -1},
		"RecreateGroup":    {Client: c, RecreateGroup: true},
		"contradicts":      {Client: c, ConsumerGroup: "g", RecreateGroup: true, DisableGroupCreation: true},
		"MaxNackDelay":     {Client: c, NackDelay: time.Second, MaxNackDelay: time.Millisecond},
		"NackAction":       {Client: c, NackAction: eventstore.ActionPark},
		"UnmarshalAction":  {Client: c, ConsumerGroup: "g", UnmarshalAction: eventstore.ActionRetry},
	} {
		_, err := eventstore.NewSubscriber(cfg, nil)
		require.Error(t, err, setting)
		assert.True(t, errors.Is(err, esclient.ErrInvalidConfig) || errors.Is(err, esclient.ErrInvalidArgument),
			"%v", err)
		assert.ErrorContains(t, err, setting)
	}
}

func TestVolatileGapsAreFilled(t *testing.T) {
	srv, url := embeddedForAll(t)
	pub := newPublisher(t, eventstore.PublisherConfig{Client: openTough(t, url), RepublishUnknown: true})
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: openTough(t, url)})
	messages := subscribe(t, sub, "topic")
	for n := range 20 {
		publishNumbered(t, pub, "topic", 10*n, 10*n+4)
		srv.DropConnections()
		publishNumbered(t, pub, "topic", 10*n+5, 10*n+9)
		assert.Equal(t, numbers(10*n, 10*n+9), consume(t, messages, 10))
	}
	silence(t, messages)
}

func TestAckedWhileTheConnectionWasGone(t *testing.T) {
	srv, url := embeddedForAll(t, estest.WithHeartbeat(time.Hour, time.Hour))
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: url})
	publishNumbered(t, pub, "topic", 1, 4)
	sub := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: url, ConsumerGroup: "g"})
	messages := subscribe(t, sub, "topic")
	first := receive(t, messages)
	srv.DropConnections()
	first.Ack()
	assert.Equal(t, numbers(2, 4), consume(t, messages, 3), "the channel stays open, and nothing comes twice")
	silence(t, messages)
}
