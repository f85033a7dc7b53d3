package eventstore_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// rival deletes a group as soon as it is created, several times.
type rival struct {
	admin *esclient.Client
	made  atomic.Int64
	times int64
}

func (r *rival) OnOperationEnded(ctx context.Context, i esclient.OperationInfo) {
	if i.Command == "CreatePersistentSubscription" && i.Err == nil && r.made.Add(1) <= r.times {
		_ = r.admin.DeletePersistent(ctx, i.Stream, i.Group)
	}
}

// withRival returns a client whose groups a rival deletes.
func withRival(t testing.TB, times int64) (*esclient.Client, *rival) {
	t.Helper()
	undertest.AdminOnly(t, "groups are made and deleted")
	url := connectionString(t)
	cfg, err := esclient.ParseConnectionString(url)
	require.NoError(t, err)
	r := &rival{admin: openClient(t, url), times: times}
	cfg.Hooks = []esclient.Hook{r}
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c, r
}

func TestJoiningAGroupPausesBetweenAttempts(t *testing.T) {
	c, r := withRival(t, math.MaxInt64)
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g"})
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, err := sub.Subscribe(ctx, name("rival"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorIs(t, err, esclient.ErrGroupNotFound)
	assert.Less(t, r.made.Load(), int64(15))
}

func TestJoiningAGroupGoesOnUntilItLasts(t *testing.T) {
	c, r := withRival(t, 4)
	subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g"}), name("rival"))
	assert.Equal(t, int64(5), r.made.Load())
}

func TestARefusedGroupSaysWhoMayMakeIt(t *testing.T) {
	embeddedOnly(t)
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			srv := embedded(t, estest.WithPersona(persona), estest.WithUser("alice", "secret"))
			alice := "tcp://alice:secret@" + srv.Addr()
			cfg := eventstore.SubscriberConfig{ConnectionString: alice, ConsumerGroup: "g"}
			sub := newSubscriber(t, cfg)
			_, err := sub.Subscribe(timeout(t), "topic")
			for _, err := range []error{err, sub.SubscribeInitialize("topic")} {
				require.ErrorIs(t, err, esclient.ErrAccessDenied)
				for _, hint := range []string{
					"$admins", "$ops", "beforehand", "DisableGroupCreation", `"topic"`, `"g"`,
				} {
					assert.ErrorContains(t, err, hint)
				}
				assert.NotContains(t, err.Error(), "secret")
			}

			// The advice of the error works.
			admin := newSubscriber(t, eventstore.SubscriberConfig{
				ConnectionString: srv.ConnectionString(), ConsumerGroup: "g",
			})
			require.NoError(t, admin.SubscribeInitialize("topic"))
			for _, disabled := range []bool{false, true} {
				cfg.DisableGroupCreation = disabled
				messages, end := subscribeUntil(t, newSubscriber(t, cfg), "topic")
				publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{ConnectionString: alice}), "topic", 1, 1)
				assert.Equal(t, []string{"1"}, consume(t, messages, 1))
				end()
				closes(t, messages)
			}
			_, err = newSubscriber(t, cfg).Subscribe(timeout(t), "other")
			require.ErrorIs(t, err, esclient.ErrGroupNotFound)
			assert.ErrorContains(t, err, "unset DisableGroupCreation")
		})
	}
}

func TestARefusedGroupSaysThatThereIsNoLogin(t *testing.T) {
	embeddedOnly(t)
	sub := newSubscriber(t, eventstore.SubscriberConfig{
		ConnectionString: "tcp://" + embedded(t).Addr(), ConsumerGroup: "g",
	})
	_, err := sub.Subscribe(timeout(t), "topic")
	require.ErrorIs(t, err, esclient.ErrAccessDenied)
	assert.ErrorContains(t, err, "the client has no credentials")
}

func TestOperatorsMayMakeGroupsFrom50On(t *testing.T) {
	embeddedOnly(t)
	for persona, may := range map[estest.Persona]bool{
		estest.Persona414: false, estest.Persona5011: true, estest.Persona2310: true,
	} {
		srv := embedded(t, estest.WithPersona(persona), estest.WithUser("olga", "secret", "$ops"))
		sub := newSubscriber(t, eventstore.SubscriberConfig{
			ConnectionString: "tcp://olga:secret@" + srv.Addr(), ConsumerGroup: "g",
		})
		if _, err := sub.Subscribe(timeout(t), "topic"); may {
			require.NoError(t, err, persona)
		} else {
			require.ErrorIs(t, err, esclient.ErrAccessDenied, persona)
		}
	}
}

func TestADeletedGroupEndsTheSubscription(t *testing.T) {
	t.Parallel()
	embeddedOnly(t)
	for _, persona := range personas {
		for _, disabled := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, DisableGroupCreation %v", persona, disabled), func(t *testing.T) {
				srv := embedded(t, estest.WithPersona(persona))
				admin := openClient(t, srv.ConnectionString())
				require.NoError(t, admin.CreatePersistent(timeout(t), "topic", "g", eventstore.DefaultGroupSettings()))
				publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: admin}), "topic", 1, 10)
				sub, log := newLogged(t, eventstore.SubscriberConfig{
					ConnectionString: srv.ConnectionString(), ConsumerGroup: "g", DisableGroupCreation: disabled,
				})
				messages := subscribe(t, sub, "topic")
				consume(t, messages, 10)
				require.NoError(t, admin.DeletePersistent(timeout(t), "topic", "g"))
				select {
				case msg, ok := <-messages:
					require.False(t, ok, "message %v is handed out again", msg)
				case <-time.After(patience):
					require.Fail(t, "the channel is not closed")
				}
				ended := awaitLogged(t, log, "Subscription ended", 1)
				require.ErrorIs(t, ended[0].Err, esclient.ErrGroupNotFound)
				require.ErrorContains(t, ended[0].Err, "deleted")
				assert.Empty(t, srv.Stats().Groups)
			})
		}
	}
}

func TestADeletedGroupIsRecreatedOnRequest(t *testing.T) {
	undertest.AdminOnly(t, "groups are made and deleted")
	c := openClient(t, connectionString(t))
	topic := name("anew")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 1, 10)
	messages := subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
		Client: c, ConsumerGroup: "g", RecreateGroup: true,
	}), topic)
	for range 3 {
		require.Equal(t, numbers(1, 10), consume(t, messages, 10))
		require.NoError(t, c.DeletePersistent(timeout(t), topic, "g"))
	}
	assert.Equal(t, numbers(1, 10), consume(t, messages, 10))
}

// A server without a disk comes back without the group.
func TestAGroupIsRecreatedOnAnEmptyServer(t *testing.T) {
	t.Parallel()
	for _, disabled := range []bool{false, true} {
		old, fresh := embedded(t), embedded(t)
		var addr atomic.Value
		addr.Store(old.Addr())
		cfg, err := esclient.ParseConnectionString(old.ConnectionString())
		require.NoError(t, err)
		cfg.ReconnectDelay = 5 * time.Millisecond
		cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr.Load().(string))
		}
		c, err := esclient.New(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, c.Close()) })
		admin := newSubscriber(t, eventstore.SubscriberConfig{Client: c, ConsumerGroup: "g"})
		require.NoError(t, admin.SubscribeInitialize("topic"))
		pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
		publishNumbered(t, pub, "topic", 1, 10)
		messages := subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
			Client: c, ConsumerGroup: "g", DisableGroupCreation: disabled,
		}), "topic")
		consume(t, messages, 10)
		require.Eventually(t, func() bool { return old.Stats().Groups[0].InFlight == 0 }, patience, time.Millisecond)
		addr.Store(fresh.Addr())
		require.NoError(t, old.Close())
		if disabled {
			closes(t, messages)
			continue
		}
		for _, payload := range numbers(11, 13) {
			_, err := fresh.Append("topic", estest.Event{Type: "t", Data: []byte(payload)})
			require.NoError(t, err)
		}
		assert.Equal(t, numbers(11, 13), consume(t, messages, 3))
		silence(t, messages)
	}
}

func TestACatchUpStartBehindTheEndIsLogged(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("behind")
	publishNumbered(t, pub, topic, 0, 2)
	far := esclient.Position{Commit: 1 << 50, Prepare: 1 << 50}
	for _, with := range []struct {
		topic string
		start esclient.Start
		warns bool
	}{
		{topic, esclient.FromStart(), false},
		{topic, esclient.FromEnd(), false},
		{topic, esclient.AfterNumber(-1), false},
		{topic, esclient.FromNumber(2), false},
		{topic, esclient.FromNumber(3), false},
		{topic, esclient.AfterNumber(2), false},
		{topic, esclient.FromNumber(4), true},
		{topic, esclient.AfterNumber(3), true},
		{name("empty"), esclient.AfterNumber(-1), false},
		{name("empty"), esclient.FromNumber(0), false},
		{name("empty"), esclient.AfterNumber(0), true},
		{esclient.AllStream, esclient.FromStart(), false},
		{esclient.AllStream, esclient.AfterPosition(lastPosition(t, c)), false},
		{esclient.AllStream, esclient.AfterPosition(far), true},
	} {
		if with.topic == esclient.AllStream && undertest.User() != undertest.Admin {
			continue // who is no administrator may not read it
		}
		for _, loaded := range []bool{false, true} {
			cfg := eventstore.SubscriberConfig{Client: c, Mode: eventstore.ModeCatchUp, Start: with.start}
			if loaded {
				cfg.Start = esclient.Start{}
				cfg.LoadStart = func(context.Context, string) (esclient.Start, error) { return with.start, nil }
			}
			sub, log := newLogged(t, cfg)
			_, end := subscribeUntil(t, sub, with.topic)
			end()
			warned := len(logged(log, "No message comes until the stream gets there")) > 0
			assert.Equal(t, with.warns, warned, "%s %v", with.topic, with.start)
		}
	}
}

func lastPosition(t testing.TB, c *esclient.Client) esclient.Position {
	t.Helper()
	page, err := c.ReadAllPage(asAdmin(timeout(t)), esclient.ReadAllOptions{Backward: true, PageSize: 1})
	require.NoError(t, err)
	require.NotEmpty(t, page.Events)
	return page.Events[0].Position
}

// Two events with one id are in flight. The server waits for the ack of the first. It does not redeliver the second one
// after a lost connection, but does from the checkpoint after a restart.
func TestAMessageThatWasWrittenTwiceIsHandedOutInOrder(t *testing.T) {
	t.Parallel()
	for _, version := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		t.Run(string(version), func(t *testing.T) {
			t.Parallel()
			srv := embedded(t, estest.WithPersona(version))
			c, topic := openClient(t, srv.ConnectionString()), name("topic")
			twice := esclient.EventData{ID: uuid.New(), Type: "t", Data: []byte("twice")}
			other := func(data string) esclient.EventData { return esclient.EventData{Type: "t", Data: []byte(data)} }
			_, err := c.Append(t.Context(), topic, esclient.NoStream, twice)
			require.NoError(t, err)
			_, err = c.Append(t.Context(), topic, 0, other("1"), twice, other("2")) // new first: all of it is written
			require.NoError(t, err)
			messages := subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
				ConnectionString: srv.ConnectionString(), ConsumerGroup: "g",
			}), topic)
			first := receive(t, messages)
			srv.DropConnections()
			assert.Equal(t, "twice", string(first.Payload))
			require.Eventually(t, func() bool {
				return srv.Stats().Groups[0].Processed == 4+3
			}, patience, time.Millisecond)
			first.Ack()
			assert.Equal(t, []string{"1", "2"}, consume(t, messages, 2))
			silence(t, messages)
			require.NoError(t, srv.Restart())
			assert.Equal(t, []string{"twice"}, consume(t, messages, 1))
			silence(t, messages)
		})
	}
}

// A Subscriber that had to create the group before creates the next one before it connects. A group that exists is
// checked and joined all the same.
func TestNewGroupsAreCreatedBeforeTheyAreJoined(t *testing.T) {
	t.Parallel()
	const topics = 20
	srv := embedded(t)
	c, prefix := openClient(t, srv.ConnectionString()), name("topic")
	sub := newSubscriber(t, eventstore.SubscriberConfig{
		ConnectionString: srv.ConnectionString(), ConsumerGroup: "g", GroupPolicy: eventstore.GroupRefuse,
	})
	topic := func(i int) string { return fmt.Sprintf("%s-%d", prefix, i) }
	settings := eventstore.DefaultGroupSettings()
	require.NoError(t, c.CreatePersistent(t.Context(), topic(5), "g", settings))
	settings.BufferSize++
	require.NoError(t, c.CreatePersistent(t.Context(), topic(10), "g", settings))
	for i := range topics {
		if i == 10 {
			var differ *eventstore.GroupSettingsError
			_, err := sub.Subscribe(t.Context(), topic(i))
			require.ErrorAs(t, err, &differ)
			continue
		}
		messages := subscribe(t, sub, topic(i))
		_, err := c.Append(t.Context(), topic(i), esclient.Any, esclient.EventData{Type: "t", Data: []byte(topic(i))})
		require.NoError(t, err)
		assert.Equal(t, []string{topic(i)}, consume(t, messages, 1))
	}
	sent := make(map[string]int64)
	for command, n := range srv.Stats().FramesIn {
		sent[command.String()] = n
	}
	for _, command := range []string{"ConnectToPersistentSubscription", "CreatePersistentSubscription"} {
		assert.GreaterOrEqual(t, sent[command], int64(topics-2), command)
		assert.Less(t, sent[command], int64(topics*3/2), "few of them in vain: "+command)
	}
}
