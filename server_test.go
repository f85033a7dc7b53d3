package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// patience is the time limit of tests that wait.
const patience = time.Minute

// connectionString returns the connection string of the server under test, for the user of the test run.
func connectionString(t testing.TB) string {
	t.Helper()
	return undertest.URL(t)
}

// embedded returns an embedded server, for tests that control it and choose their users.
func embedded(t testing.TB, opts ...estest.Option) *estest.Server {
	t.Helper()
	embeddedOnly(t)
	return estest.Run(t, opts...)
}

// embeddedOnly skips a test that needs control of the server.
func embeddedOnly(t testing.TB) {
	t.Helper()
	undertest.EmbeddedOnly(t)
	undertest.AdminOnly(t, "the test says itself who is who")
}

// embeddedForAll returns an embedded server, for tests that control it, and its connection string for the user of the
// test run.
func embeddedForAll(t testing.TB, opts ...estest.Option) (srv *estest.Server, url string) {
	t.Helper()
	undertest.EmbeddedOnly(t)
	srv = undertest.Run(t, opts...)
	return srv, undertest.As(srv.ConnectionString())
}

var asAdmin = undertest.AsAdmin

func newPublisher(t testing.TB, cfg eventstore.PublisherConfig) *eventstore.Publisher {
	t.Helper()
	pub, err := eventstore.NewPublisher(cfg, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, pub.Close()) })
	return pub
}

func newSubscriber(t testing.TB, cfg eventstore.SubscriberConfig) *eventstore.Subscriber {
	t.Helper()
	if cfg.NackDelay == 0 {
		cfg.NackDelay = time.Millisecond
		if cfg.MaxNackDelay == 0 {
			cfg.MaxNackDelay = time.Millisecond
		}
	}
	if cfg.AckGrace == 0 {
		cfg.AckGrace = 20 * time.Millisecond // many tests end with a message in hand
	}
	sub, err := eventstore.NewSubscriber(withGroups(t, cfg), nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, sub.Close()) })
	return sub
}

// withGroups makes an administrator create the group of a stream before the test subscribes, if the user of the test
// run may not create groups on every version.
func withGroups(t testing.TB, cfg eventstore.SubscriberConfig) eventstore.SubscriberConfig {
	t.Helper()
	if undertest.User() == undertest.Admin || cfg.ConsumerGroup == "" || cfg.DisableGroupCreation {
		return cfg
	}
	c := cfg.Client
	if c == nil {
		c = openClient(t, cfg.ConnectionString)
	}
	settings := eventstore.DefaultGroupSettings()
	if cfg.GroupSettings != nil {
		settings = *cfg.GroupSettings
	}
	settings.ResolveLinks = settings.ResolveLinks || cfg.ResolveLinks
	naming, group := cfg.StreamName, cfg.ConsumerGroup
	cfg.StreamName = func(topic string) (string, error) {
		stream := topic
		if naming != nil {
			var err error
			if stream, err = naming(topic); err != nil {
				return "", err
			}
		}
		err := c.CreatePersistent(asAdmin(timeout(t)), stream, group, settings)
		if err != nil && !errors.Is(err, esclient.ErrGroupExists) {
			return "", err
		}
		return stream, nil
	}
	return cfg
}

// makesGroups skips a test whose user must create groups, if the server refuses that.
func makesGroups(t testing.TB, c *esclient.Client) {
	t.Helper()
	err := c.CreatePersistent(timeout(t), name("probe"), "g", eventstore.DefaultGroupSettings())
	if errors.Is(err, esclient.ErrAccessDenied) {
		t.Skip("the user makes groups: before 5.0 this takes one of $admins, later one of $admins or $ops")
	}
	require.NoError(t, err)
}

func subscribe(t testing.TB, sub message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	messages, err := sub.Subscribe(context.Background(), topic)
	require.NoError(t, err)
	return messages
}

var (
	run    = time.Now().UnixNano()
	unique atomic.Int64
)

// name returns a name that is unique over all tests and earlier runs on the same server.
func name(what string) string { return fmt.Sprintf("%s-%x-%d", what, run, unique.Add(1)) }

func newMessage(payload string) *message.Message {
	return message.NewMessage(watermill.NewUUID(), message.Payload(payload))
}

// publishNumbered publishes messages whose payloads are the numbers from from to to, each with its own Publish call.
func publishNumbered(t testing.TB, pub message.Publisher, topic string, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		require.NoError(t, pub.Publish(topic, newMessage(fmt.Sprint(n))))
	}
}

// receive returns the next message.
func receive(t testing.TB, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case msg, ok := <-messages:
		require.True(t, ok, "the channel is closed")
		return msg
	case <-time.After(patience):
		require.FailNow(t, "no message came")
		return nil
	}
}

// consume acks n messages and returns their payloads.
func consume(t testing.TB, messages <-chan *message.Message, n int) []string {
	t.Helper()
	var payloads []string
	for range n {
		msg := receive(t, messages)
		payloads = append(payloads, string(msg.Payload))
		msg.Ack()
	}
	return payloads
}

// silence fails the test if a message comes within a moment.
func silence(t testing.TB, messages <-chan *message.Message) {
	t.Helper()
	select {
	case msg, ok := <-messages:
		if ok {
			require.FailNow(t, "a message came", "payload %q", msg.Payload)
		}
	case <-time.After(100 * time.Millisecond):
	}
}

// closes waits until a channel is closed.
func closes(t testing.TB, messages <-chan *message.Message) {
	t.Helper()
	limit := time.After(patience)
	for {
		select {
		case _, ok := <-messages:
			if !ok {
				return
			}
		case <-limit:
			require.FailNow(t, "the channel is not closed")
		}
	}
}

// numbers returns the numbers from from to to, as consume does.
func numbers(from, to int) []string {
	var s []string
	for n := from; n <= to; n++ {
		s = append(s, fmt.Sprint(n))
	}
	return s
}
