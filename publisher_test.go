package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// openClient returns a client to lend, and to read streams with.
func openClient(t testing.TB, url string) *esclient.Client {
	t.Helper()
	c, err := esclient.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// openTough returns a client that tolerates frequent reconnects and connections that are lost before their first use.
// On a busy machine, connecting can take as long as the connection lasts.
func openTough(t testing.TB, url string) *esclient.Client {
	t.Helper()
	cfg, err := esclient.ParseConnectionString(url)
	require.NoError(t, err)
	cfg.ReconnectDelay, cfg.MaxReconnectDelay, cfg.MaxRetries = time.Millisecond, 2*time.Millisecond, 1000
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func timeout(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// payloads returns the data of all events of a stream.
func payloads(t testing.TB, c *esclient.Client, stream string) []string {
	t.Helper()
	var all []string
	for e, err := range c.ReadStream(asAdmin(timeout(t)), stream, esclient.ReadOptions{}) {
		if errors.Is(err, esclient.ErrStreamNotFound) {
			return nil
		}
		require.NoError(t, err)
		all = append(all, string(e.Data))
	}
	return all
}

func TestMessagesOfOneCallAreOneAppendInOrder(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("batch")
	var messages []*message.Message
	for _, n := range numbers(1, 100) {
		messages = append(messages, newMessage(n))
	}
	require.NoError(t, pub.Publish(topic, messages...))
	assert.Equal(t, numbers(1, 100), payloads(t, c, topic))

	// With one bad message, no message of the call is written.
	messages[99].SetContext(eventstore.WithExpectedVersion(context.Background(), 7))
	err := pub.Publish(topic, messages...)
	require.ErrorIs(t, err, esclient.ErrInvalidArgument)
	var failed *eventstore.PublishError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, messages, failed.NotWritten)
	assert.Len(t, payloads(t, c, topic), 100)
}

func TestOddMessagesArePublished(t *testing.T) {
	c := openClient(t, connectionString(t))
	pub, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("odd")
	require.NoError(t, pub.Publish(topic))
	assert.Nil(t, payloads(t, c, topic), "no message, no stream")

	literal := &message.Message{UUID: "literal"} // neither payload nor metadata
	null, empty := message.NewMessage("", nil), message.NewMessage("1", message.Payload{})
	require.NoError(t, pub.Publish(topic, literal, null, empty))
	assert.Equal(t, []string{"", "", ""}, payloads(t, c, topic))
	assert.Nil(t, literal.Metadata, "a published message is not changed")
}

func TestStreamNameSpreadsATopicOverStreams(t *testing.T) {
	c, prefix := openClient(t, connectionString(t)), name("order")
	pub := newPublisher(t, eventstore.PublisherConfig{
		Client: c,
		StreamName: func(topic string, msg *message.Message) (string, error) {
			if msg.Metadata.Get("id") == "" {
				return "", errors.New("there is no id")
			}
			return topic + "-" + msg.Metadata.Get("id"), nil
		},
	})
	var messages []*message.Message
	for _, n := range numbers(1, 9) {
		msg := newMessage(n)
		msg.Metadata.Set("id", string("abc"[len(messages)%3]))
		messages = append(messages, msg)
	}
	require.NoError(t, pub.Publish(prefix, messages...))
	assert.Equal(t, []string{"1", "4", "7"}, payloads(t, c, prefix+"-a"))
	assert.Equal(t, []string{"2", "5", "8"}, payloads(t, c, prefix+"-b"))
	assert.Equal(t, []string{"3", "6", "9"}, payloads(t, c, prefix+"-c"))

	// The second stream refuses its append. The error lists the outcome of each message.
	messages[1].SetContext(eventstore.WithExpectedVersion(context.Background(), esclient.NoStream))
	err := pub.Publish(prefix, messages...)
	require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	var failed *eventstore.PublishError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, prefix+"-b", failed.Stream)
	assert.Equal(t, []*message.Message{messages[0], messages[3], messages[6]}, failed.Written)
	assert.Empty(t, failed.Unknown)
	assert.Equal(t, []*message.Message{messages[1], messages[2], messages[4], messages[5], messages[7], messages[8]},
		failed.NotWritten, "in the order of the call")
	assert.ErrorContains(t, err, "of 9 messages 3 were written")

	err = pub.Publish(prefix, newMessage("without"))
	assert.ErrorContains(t, err, "there is no id")
}

func TestMessagesTooLargeForOneAppendAreSplitInOrder(t *testing.T) {
	cfg, err := esclient.ParseConnectionString(connectionString(t))
	require.NoError(t, err)
	// 60 MiB take long with the race detector on a busy machine.
	cfg.OperationTimeout, cfg.HeartbeatTimeout = time.Minute, time.Minute
	c, err := esclient.New(cfg)
	require.NoError(t, err)
	defer c.Close()
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c, PublishTimeout: 2 * time.Minute})
	topic := name("large")
	var messages []*message.Message
	for n := range 5 {
		messages = append(messages, newMessage(strings.Repeat(fmt.Sprint(n), 15<<20)))
		for range 250 { // so that no page of $all has more of the large ones than a frame holds
			messages = append(messages, newMessage("small"))
		}
	}
	messages[0].SetContext(eventstore.WithExpectedVersion(context.Background(), esclient.NoStream))
	require.NoError(t, pub.Publish(topic, messages...))
	n := 0
	for e, err := range c.ReadStream(timeout(t), topic, esclient.ReadOptions{PageSize: 100}) {
		require.NoError(t, err)
		if n++; (n-1)%251 != 0 {
			require.Equal(t, "small", string(e.Data))
			continue
		}
		require.Equal(t, fmt.Sprint((n-1)/251), string(e.Data[:1]))
		require.Len(t, e.Data, 15<<20)
	}
	assert.Equal(t, len(messages), n)
}

func TestExpectedVersions(t *testing.T) {
	c := openClient(t, connectionString(t))
	once := newPublisher(t, eventstore.PublisherConfig{Client: c, ExpectedVersion: esclient.NoStream})
	topic := name("versions")
	require.NoError(t, once.Publish(topic, newMessage("0"), newMessage("1")))
	require.ErrorIs(t, once.Publish(topic, newMessage("x")), esclient.ErrWrongExpectedVersion)

	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	at := func(v esclient.ExpectedVersion, payload string) *message.Message {
		msg := newMessage(payload)
		msg.SetContext(eventstore.WithExpectedVersion(msg.Context(), v))
		return msg
	}
	require.NoError(t, pub.Publish(topic, at(1, "2"), newMessage("3"), at(3, "4")))
	err := pub.Publish(topic, at(3, "x"))
	var wrong *esclient.WrongExpectedVersionError
	require.ErrorAs(t, err, &wrong)
	assert.Equal(t, int64(4), wrong.Current)
	assert.Equal(t, numbers(0, 4), payloads(t, c, topic))
}

func TestMessageUUIDAsEventID(t *testing.T) {
	c := openClient(t, connectionString(t))
	usual, topic := newPublisher(t, eventstore.PublisherConfig{Client: c}), name("ids")
	msg := newMessage("twice")
	require.NoError(t, usual.Publish(topic, msg))
	require.NoError(t, usual.Publish(topic, msg))
	assert.Equal(t, []string{"twice", "twice"}, payloads(t, c, topic), "event ids are made anew for each call")

	topic = name("ids")
	idempotent := newPublisher(t, eventstore.PublisherConfig{Client: c, UseMessageUUIDAsEventID: true})
	ulid := message.NewMessage(watermill.NewULID(), message.Payload("ulid"))
	for range 2 {
		require.NoError(t, idempotent.Publish(topic, msg))
		require.NoError(t, idempotent.Publish(topic, ulid))
		require.NoError(t, idempotent.Publish(topic, message.NewMessage("", message.Payload("none"))))
	}
	assert.Equal(t, []string{"twice", "ulid", "none", "none"}, payloads(t, c, topic))
	for e, err := range c.ReadStream(timeout(t), topic, esclient.ReadOptions{MaxCount: 1}) {
		require.NoError(t, err)
		assert.Equal(t, uuid.MustParse(msg.UUID), e.ID)
	}
}

func TestPublishEndsWithTheContextOfAnyMessage(t *testing.T) {
	srv := embedded(t)
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: srv.ConnectionString()})
	require.NoError(t, pub.Publish("warm-up", newMessage("x")))
	srv.Pause()
	defer srv.Resume()

	ctx, cancel := context.WithCancelCause(context.Background())
	messages := []*message.Message{newMessage("1"), newMessage("2"), newMessage("3")}
	messages[1].SetContext(ctx)
	result := make(chan error)
	go func() { result <- pub.Publish("topic", messages...) }()
	hangUp := errors.New("the caller hung up")
	time.AfterFunc(20*time.Millisecond, func() { cancel(hangUp) })
	err := <-result
	require.ErrorIs(t, err, hangUp)
	require.ErrorIs(t, err, esclient.ErrOutcomeUnknown, "it was sent")
	var failed *eventstore.PublishError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, messages, failed.Unknown)
}

func TestPublishTimeout(t *testing.T) {
	srv := embedded(t)
	srv.Pause() // before there is a connection: nothing can be sent
	defer srv.Resume()
	pub := newPublisher(t, eventstore.PublisherConfig{
		ConnectionString: srv.ConnectionString(), PublishTimeout: 30 * time.Millisecond,
	})
	msg := newMessage("x")
	err := pub.Publish("topic", msg)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "not published within PublishTimeout, 30ms")
	var failed *eventstore.PublishError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, []*message.Message{msg}, failed.NotWritten)
}

func TestACallWaitsForTheConnection(t *testing.T) {
	srv := embedded(t)
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: srv.ConnectionString()})
	require.NoError(t, pub.Publish("topic", newMessage("1")))
	srv.DropConnections()
	second := newMessage("2")
	second.SetContext(eventstore.WithExpectedVersion(second.Context(), 0)) // can be repeated safely, had it been sent
	require.NoError(t, pub.Publish("topic", second))
	assert.Equal(t, []string{"1", "2"}, payloads(t, openClient(t, srv.ConnectionString()), "topic"))
}

func TestRepublishUnknownWritesOnce(t *testing.T) {
	srv := embedded(t)
	pub := newPublisher(t, eventstore.PublisherConfig{
		Client: openTough(t, srv.ConnectionString()), RepublishUnknown: true,
	})
	const publishers, each = 8, 100
	stop := make(chan struct{})
	var cutter, wg sync.WaitGroup
	cutter.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(3 * time.Millisecond):
				srv.DropConnections()
			}
		}
	})
	for p := range publishers {
		wg.Go(func() {
			for n := range each {
				assert.NoError(t, pub.Publish("topic", newMessage(fmt.Sprintf("%d/%d", p, n))))
			}
		})
	}
	wg.Wait()
	close(stop)
	cutter.Wait()
	counts := make(map[string]int)
	for _, payload := range payloads(t, openClient(t, srv.ConnectionString()), "topic") {
		counts[payload]++
	}
	assert.Len(t, counts, publishers*each)
	for payload, n := range counts {
		assert.Equal(t, 1, n, payload)
	}
}

func TestPublisherClose(t *testing.T) {
	url := connectionString(t)
	c := openClient(t, url)
	borrowing := newPublisher(t, eventstore.PublisherConfig{Client: c})
	require.NoError(t, borrowing.Close())
	require.NoError(t, borrowing.Close(), "twice is fine")
	require.ErrorIs(t, borrowing.Publish("topic", newMessage("x")), eventstore.ErrPublisherClosed)
	require.ErrorIs(t, borrowing.Publish("topic"), eventstore.ErrPublisherClosed)
	require.NoError(t, c.Connect(timeout(t)), "a borrowed client is not closed")

	// Close waits for running calls.
	pub, topic := newPublisher(t, eventstore.PublisherConfig{ConnectionString: url}), name("close")
	var published sync.Map
	var wg sync.WaitGroup
	for p := range 20 {
		wg.Go(func() {
			for n := 0; ; n++ {
				msg := newMessage(fmt.Sprintf("%d/%d", p, n))
				if err := pub.Publish(topic, msg); err != nil {
					assert.ErrorIs(t, err, eventstore.ErrPublisherClosed)
					return
				}
				published.Store(string(msg.Payload), true)
			}
		})
	}
	time.Sleep(20 * time.Millisecond) // so that calls get under way; the test holds for any number of them
	require.NoError(t, pub.Close())
	wg.Wait()
	stored := payloads(t, c, topic)
	n := 0
	published.Range(func(any, any) bool { n++; return true })
	assert.Len(t, stored, n)
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	srv := embedded(t)
	pub := newPublisher(t, eventstore.PublisherConfig{
		ConnectionString: srv.ConnectionString(), CloseTimeout: 20 * time.Millisecond,
	})
	require.NoError(t, pub.Publish("topic", newMessage("x")))
	srv.Pause()
	defer srv.Resume()
	result := make(chan error)
	go func() { result <- pub.Publish("topic", newMessage("y")) }()
	time.AfterFunc(20*time.Millisecond, func() { _ = pub.Close() })
	require.ErrorIs(t, <-result, esclient.ErrClosed)
}

func TestPublisherRefusesBadConfigurations(t *testing.T) {
	c := openClient(t, "tcp://localhost:1")
	for setting, cfg := range map[string]eventstore.PublisherConfig{
		"ConnectionString": {},
		"Client":           {Client: c, ConnectionString: "tcp://localhost"},
		"ExpectedVersion":  {Client: c, ExpectedVersion: 7},
		"CloseTimeout":     {Client: c, CloseTimeout: -1},
		"http://":          {ConnectionString: "http://localhost:2113"},
		"HeartbeatTimeout": {ConnectionString: "ConnectTo=tcp://localhost; HeartbeatTimeout=soon"},
		"host":             {ConnectionString: "tcp://:1113"},
	} {
		_, err := eventstore.NewPublisher(cfg, nil)
		require.ErrorIs(t, err, esclient.ErrInvalidConfig, setting)
		assert.ErrorContains(t, err, setting)
	}
}

func TestBadTopicsAndMessagesAreRefusedBeforeAnythingIsSent(t *testing.T) {
	// No server listens there: only an error about the topic can come in time.
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: "tcp://127.0.0.1:1"})
	for reason, call := range map[string]func() error{
		"empty":             func() error { return pub.Publish("", newMessage("x")) },
		"control character": func() error { return pub.Publish("a\nb", newMessage("x")) },
		"UTF-8":             func() error { return pub.Publish("a\xff", newMessage("x")) },
		"bytes": func() error {
			return pub.Publish("topic", newMessage("x"), newMessage(strings.Repeat("x", 17<<20)))
		},
	} {
		err := call()
		require.ErrorIs(t, err, esclient.ErrInvalidArgument, reason)
		assert.ErrorContains(t, err, reason)
		var failed *eventstore.PublishError
		require.ErrorAs(t, err, &failed)
		assert.NotEmpty(t, failed.NotWritten)
	}
	err := pub.Publish("topic", newMessage(strings.Repeat("x", 17<<20)))
	require.ErrorIs(t, err, esclient.ErrTooLarge)

	msg := newMessage("x")
	msg.Metadata.Set(eventstore.UUIDKey, "x")
	var marshal *eventstore.MarshalError
	require.ErrorAs(t, pub.Publish("topic", msg), &marshal)
	assert.Equal(t, msg.UUID, marshal.MessageUUID)
}

func TestAWrongPasswordIsAnErrorAtOnce(t *testing.T) {
	srv := embedded(t)
	url := "tcp://admin:not-the-password@" + srv.Addr()
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: url})
	err := pub.Publish("topic", newMessage("x"))
	require.ErrorIs(t, err, esclient.ErrNotAuthenticated)
	assert.NotContains(t, err.Error(), "not-the-password")

	sub := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: url, ConsumerGroup: "g"})
	_, err = sub.Subscribe(timeout(t), "topic")
	require.ErrorIs(t, err, esclient.ErrNotAuthenticated)
	require.ErrorIs(t, sub.SubscribeInitialize("topic"), esclient.ErrNotAuthenticated)
}
