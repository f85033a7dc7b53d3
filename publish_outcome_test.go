package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
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

// writeEvents is the wire command of appends.
const writeEvents = 0x82

// lostReply makes the server do the next append and lose the reply with the connection.
func lostReply(srv *estest.Server) {
	srv.Intercept(writeEvents, estest.Unanswered(estest.Disconnect()), estest.Times(1))
}

// written returns the number of events in a stream.
func written(t testing.TB, srv *estest.Server, stream string) int {
	t.Helper()
	events, err := srv.Read(stream, 0, 0)
	if !errors.Is(err, estest.ErrNoStream) {
		require.NoError(t, err)
	}
	return len(events)
}

func publishErrorOf(t testing.TB, err error) *eventstore.PublishError {
	t.Helper()
	var failed *eventstore.PublishError
	require.ErrorAs(t, err, &failed)
	return failed
}

// The outcome of the first attempt is unknown, so a failure of a later one does not mean that nothing was written.
func TestAnUnknownOutcomeStaysUnknown(t *testing.T) {
	limited := eventstore.PublisherConfig{PublishTimeout: 300 * time.Millisecond}
	for what, tc := range map[string]struct {
		cfg   eventstore.PublisherConfig
		gone  bool                                   // there is no other connection
		after func(t *testing.T, srv *estest.Server) // the reply was lost
		is    error
	}{
		"no connection any more": {
			cfg: limited, gone: true, after: func(*testing.T, *estest.Server) {}, is: context.DeadlineExceeded,
		},
		"never ready again": {cfg: limited, after: func(_ *testing.T, srv *estest.Server) {
			srv.Intercept(writeEvents, estest.NotReady())
		}, is: context.DeadlineExceeded},
		"no right any more": {after: func(_ *testing.T, srv *estest.Server) {
			srv.Intercept(writeEvents, estest.AccessDenied())
		}, is: esclient.ErrAccessDenied},
		"a tombstone": {after: func(t *testing.T, srv *estest.Server) {
			c := openClient(t, srv.ConnectionString())
			_, err := c.TombstoneStream(timeout(t), "topic", esclient.Any)
			assert.NoError(t, err)
		}, is: esclient.ErrStreamDeleted},
	} {
		t.Run(what, func(t *testing.T) {
			srv := embedded(t)
			cfg, err := esclient.ParseConnectionString(srv.ConnectionString())
			require.NoError(t, err)
			cfg.ReconnectDelay = time.Millisecond
			var dials atomic.Int32
			cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if dials.Add(1) == 2 { // the reply is lost
					tc.after(t, srv)
				}
				if dials.Load() > 1 && tc.gone {
					return nil, errors.New("network unreachable")
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			client, err := esclient.New(cfg)
			require.NoError(t, err)
			defer client.Close()
			tc.cfg.Client, tc.cfg.RepublishUnknown = client, true
			pub := newPublisher(t, tc.cfg)
			lostReply(srv)
			messages := []*message.Message{newMessage("1"), newMessage("2")}
			err = pub.Publish("topic", messages...)
			require.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
			require.ErrorIs(t, err, tc.is)
			assert.False(t, esclient.SafeToRetry(err))
			failed := publishErrorOf(t, err)
			assert.Equal(t, messages, failed.Unknown)
			assert.Empty(t, failed.NotWritten)
		})
	}
}

// With an exact version the outcome of an earlier attempt becomes known: the server compares the ids.
func TestAnExactVersionSettlesAnUnknownOutcome(t *testing.T) {
	srv := embedded(t)
	c := openTough(t, srv.ConnectionString())
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c, RepublishUnknown: true})
	require.NoError(t, pub.Publish("topic", newMessage("0")))
	at := func(v esclient.ExpectedVersion, payload string) *message.Message {
		msg := newMessage(payload)
		msg.SetContext(eventstore.WithExpectedVersion(msg.Context(), v))
		return msg
	}
	lostReply(srv)
	require.NoError(t, pub.Publish("topic", at(0, "1")))
	lostReply(srv) // to a refusal
	refused := at(0, "2")
	err := pub.Publish("topic", refused)
	require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
	assert.Equal(t, []*message.Message{refused}, publishErrorOf(t, err).NotWritten)
	assert.Equal(t, numbers(0, 1), payloads(t, c, "topic"))
}

// A deleted stream continues with other numbers, so the server does not recognise a repetition.
func TestAStreamThatWasDeletedIsPublishedToOnce(t *testing.T) {
	for _, p := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		for _, republish := range []bool{false, true} {
			srv := embedded(t, estest.WithPersona(p))
			c := openTough(t, srv.ConnectionString())
			pub := newPublisher(t, eventstore.PublisherConfig{
				Client: c, ExpectedVersion: esclient.NoStream, RepublishUnknown: republish,
			})
			require.NoError(t, pub.Publish("topic", newMessage("old"), newMessage("older")))
			_, err := c.DeleteStream(timeout(t), "topic", esclient.Any)
			require.NoError(t, err)
			lostReply(srv)
			require.NoError(t, pub.Publish("topic", newMessage("new")))
			assert.Equal(t, []string{"new"}, payloads(t, c, "topic"))
			lostReply(srv)
			err = pub.Publish("topic", newMessage("another"))
			require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
			assert.Equal(t, []string{"new"}, payloads(t, c, "topic"))
		}
	}
}

// The lists of a PublishError are in the order of the call, for any streams and any split into requests.
func TestTheListsOfAPublishErrorAreInTheOrderOfTheCall(t *testing.T) {
	srv := embedded(t)
	pub := newPublisher(t, eventstore.PublisherConfig{
		ConnectionString: srv.ConnectionString(),
		StreamName: func(topic string, m *message.Message) (string, error) {
			return topic + "-" + strings.Split(string(m.Payload), "/")[0], nil
		},
	})
	var messages []*message.Message
	for n := range 9 {
		messages = append(messages, newMessage(fmt.Sprintf("%c/%d", "abc"[n%3], n)))
	}
	messages = append(messages, messages[2]) // once more
	pick := func(streams string) (picked []*message.Message) {
		for _, m := range messages {
			if strings.Contains(streams, string(m.Payload[:1])) {
				picked = append(picked, m)
			}
		}
		return picked
	}
	for failed, lists := range [][3]string{{"", "", "abc"}, {"a", "", "bc"}, {"ab", "", "c"}} {
		for how, action := range map[string]estest.Action{
			"refused": estest.AccessDenied(), "lost": estest.Unanswered(estest.Disconnect()),
		} {
			want := lists
			if how == "lost" {
				want[1], want[2] = want[2][:1], want[2][1:]
			}
			n := 0
			rule := srv.Intercept(writeEvents, estest.Choose(func(estest.Request) estest.Action {
				if n++; n <= failed {
					return estest.Action{}
				}
				return action
			}))
			err := publishErrorOf(t, pub.Publish("topic", messages...))
			rule.Remove()
			assert.Equal(t, pick(want[0]), err.Written, "%s, %d", how, failed)
			assert.Equal(t, pick(want[1]), err.Unknown, "%s, %d", how, failed)
			assert.Equal(t, pick(want[2]), err.NotWritten, "%s, %d", how, failed)
		}
	}
}

func TestNilMessagesAreRefused(t *testing.T) {
	srv := embedded(t)
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: srv.ConnectionString()})
	for i, messages := range [][]*message.Message{
		{nil}, {newMessage("1"), nil}, {nil, newMessage("1")}, {newMessage("1"), nil, newMessage("2")}, {nil, nil},
	} {
		err := pub.Publish("topic", messages...)
		var marshal *eventstore.MarshalError
		require.ErrorAs(t, err, &marshal, i)
		assert.ErrorContains(t, err, "is nil")
		assert.Equal(t, messages, publishErrorOf(t, err).NotWritten)
	}
	assert.Zero(t, written(t, srv, "topic"))
}

// A context that ended before the call does not end the call. A dead letter has such a context.
func TestMessagesWhoseContextHasEndedBeforeArePublished(t *testing.T) {
	srv := embedded(t)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	expired, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	defer cancel()
	live, hangUp := context.WithCancelCause(context.Background())
	with := func(ctx context.Context) *message.Message {
		msg := newMessage("x")
		msg.SetContext(ctx)
		return msg
	}
	for what, cfg := range map[string]eventstore.PublisherConfig{
		"by default": {}, "without a limit": {PublishTimeout: -1},
	} {
		cfg.ConnectionString = srv.ConnectionString()
		pub := newPublisher(t, cfg)
		n := written(t, srv, "topic")
		require.NoError(t, pub.Publish("topic", with(ended)), what)
		require.NoError(t, pub.Publish("topic", with(expired)), what)
		mixed := []*message.Message{with(ended), with(context.Background()), with(live), with(expired)}
		require.NoError(t, pub.Publish("topic", mixed...), what)
		assert.Equal(t, n+6, written(t, srv, "topic"))
		// The values of the context are used.
		err := pub.Publish("topic", with(eventstore.WithExpectedVersion(ended, esclient.NoStream)))
		require.ErrorIs(t, err, esclient.ErrWrongExpectedVersion, what)
	}

	// A context that ends during the call ends it.
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: srv.ConnectionString()})
	rule := srv.Intercept(writeEvents, estest.NotReady())
	result := make(chan error, 1)
	go func() { result <- pub.Publish("topic", with(ended), with(live)) }()
	require.Eventually(t, func() bool { return rule.Hits() > 0 }, patience, time.Millisecond)
	why := errors.New("the caller hung up")
	hangUp(why)
	err := <-result
	require.ErrorIs(t, err, why)
	assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown)
	assert.Len(t, publishErrorOf(t, err).NotWritten, 2)

	// PublishTimeout limits the other calls.
	pub = newPublisher(t, eventstore.PublisherConfig{
		ConnectionString: srv.ConnectionString(), PublishTimeout: 20 * time.Millisecond,
	})
	require.ErrorContains(t, pub.Publish("topic", with(ended)), "not published within PublishTimeout")
}

// Watermill's Timeout ends the context of a message, and PoisonQueue then publishes the message with that context.
func TestATimedOutMessageGetsToThePoisonQueue(t *testing.T) {
	srv := embedded(t)
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: srv.ConnectionString()})
	sub := newSubscriber(t, eventstore.SubscriberConfig{ConnectionString: srv.ConnectionString(), ConsumerGroup: "g"})
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: patience}, watermill.NopLogger{})
	require.NoError(t, err)
	router.AddMiddleware(func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			produced, err := next(msg)
			if err != nil {
				return nil, pub.Publish("poison", msg)
			}
			return produced, nil
		}
	}, func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx, cancel := context.WithTimeout(msg.Context(), time.Millisecond)
			defer cancel()
			msg.SetContext(ctx)
			return next(msg)
		}
	})
	router.AddConsumerHandler("h", "in", sub, func(msg *message.Message) error {
		if string(msg.Payload) == "slow" {
			<-msg.Context().Done()
			return msg.Context().Err()
		}
		return errors.New("bad")
	})
	running := make(chan error, 1)
	go func() { running <- router.Run(context.Background()) }()
	<-router.Running()
	require.NoError(t, pub.Publish("in", newMessage("slow"), newMessage("bad")))
	assert.Eventually(t, func() bool { return written(t, srv, "poison") == 2 }, patience, time.Millisecond)
	require.NoError(t, router.Close())
	require.NoError(t, <-running)
	assert.Equal(t, 2, written(t, srv, "poison"), "each once")
}

// countingMarshaler counts the messages that are about to be appended.
type countingMarshaler struct {
	eventstore.DefaultMarshaler
	n atomic.Int32
}

func (m *countingMarshaler) Marshal(topic string, msg *message.Message) (esclient.EventData, error) {
	m.n.Add(1)
	return m.DefaultMarshaler.Marshal(topic, msg)
}

// Close does not wait for calls that have sent nothing: they fail, and nothing is written.
func TestCloseEndsCallsThatMerelyWait(t *testing.T) {
	for _, borrowed := range []bool{false, true} {
		for what, hinder := range map[string]func(t *testing.T, srv *estest.Server) (waiting func() bool){
			"for a connection": func(t *testing.T, srv *estest.Server) func() bool {
				require.NoError(t, srv.Close())
				return func() bool { return true }
			},
			"for a server that gets ready": func(t *testing.T, srv *estest.Server) func() bool {
				rule := srv.Intercept(writeEvents, estest.NotReady())
				return func() bool { return rule.Hits() > 0 }
			},
		} {
			t.Run(fmt.Sprintf("%s, borrowed %v", what, borrowed), func(t *testing.T) {
				srv := embedded(t)
				waiting := hinder(t, srv)
				var marshaled countingMarshaler
				cfg := eventstore.PublisherConfig{
					ConnectionString: srv.ConnectionString(), CloseTimeout: time.Hour, Marshaler: &marshaled,
				}
				if borrowed {
					cfg.Client, cfg.ConnectionString = openClient(t, srv.ConnectionString()), ""
				}
				pub := newPublisher(t, cfg)
				own, cancel := context.WithCancel(context.Background())
				defer cancel()
				messages := []*message.Message{newMessage("1"), newMessage("2")}
				messages[1].SetContext(own)
				result := make(chan error)
				for _, m := range messages {
					go func() { result <- pub.Publish("topic", m) }()
				}
				go func() { result <- pub.Publish("topic", messages...) }()
				require.Eventually(t, func() bool {
					return marshaled.n.Load() == 4 && waiting()
				}, patience, time.Millisecond)
				require.NoError(t, pub.Close())
				notWritten := 0
				for range 3 {
					err := <-result
					require.ErrorIs(t, err, eventstore.ErrPublisherClosed)
					assert.NotErrorIs(t, err, esclient.ErrOutcomeUnknown)
					notWritten += len(publishErrorOf(t, err).NotWritten)
				}
				assert.Equal(t, 4, notWritten)
			})
		}
	}
}

// A call that has sent its messages has CloseTimeout, even if its connection is lost and it sends them again.
func TestCloseWaitsForSentMessages(t *testing.T) {
	srv := embedded(t)
	c := openTough(t, srv.ConnectionString())
	pub := newPublisher(t, eventstore.PublisherConfig{
		Client: c, ExpectedVersion: esclient.NoStream, CloseTimeout: patience,
	})
	closed := make(chan error, 1)
	srv.Intercept(writeEvents, estest.Choose(func(estest.Request) estest.Action {
		go func() { closed <- pub.Close() }()
		for !errors.Is(pub.Publish("other"), eventstore.ErrPublisherClosed) {
			time.Sleep(time.Millisecond)
		}
		return estest.Disconnect()
	}), estest.Times(1))
	require.NoError(t, pub.Publish("topic", newMessage("x")))
	require.NoError(t, <-closed)
	assert.Equal(t, 1, written(t, srv, "topic"))
}

// A server that is not ready for a while, as in an election, ends no call.
func TestNoElectionEndsAPublish(t *testing.T) {
	t.Parallel()
	srv := embedded(t)
	c, err := esclient.ParseConnectionString(srv.ConnectionString() + "?maxRetries=1")
	require.NoError(t, err)
	client, err := esclient.New(c)
	require.NoError(t, err)
	defer client.Close()
	pub := newPublisher(t, eventstore.PublisherConfig{Client: client})
	sub := newSubscriber(t, eventstore.SubscriberConfig{Client: client, ConsumerGroup: "g"})
	rule := srv.Intercept(estest.AnyOperation, estest.NotReady(), estest.Times(12))
	result := make(chan error, 1)
	go func() { result <- pub.Publish("topic", newMessage("x")) }()
	messages := subscribe(t, sub, "topic")
	require.NoError(t, <-result)
	assert.Equal(t, []string{"x"}, consume(t, messages, 1))
	assert.Equal(t, 12, rule.Hits())
}

// A server that refuses each attempt at once is not asked without pause.
func TestPublishingAgainPauses(t *testing.T) {
	t.Parallel()
	for _, result := range []byte{1, 2, 3} { // PrepareTimeout, CommitTimeout, ForwardTimeout
		srv := embedded(t)
		cfg, err := esclient.ParseConnectionString(srv.ConnectionString() + "?maxRetries=-1")
		require.NoError(t, err)
		c, err := esclient.New(cfg)
		require.NoError(t, err)
		defer c.Close()
		rule := srv.Intercept(writeEvents, estest.Unanswered(
			estest.ReplyBytes(writeEvents+1, []byte{8, result, 24, 0, 32, 0})))
		pub := newPublisher(t, eventstore.PublisherConfig{
			Client: c, RepublishUnknown: true, PublishTimeout: -1,
		})
		msg := newMessage("x")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		msg.SetContext(ctx)
		published := make(chan error, 1)
		go func() { published <- pub.Publish("topic", msg) }()
		require.Eventually(t, func() bool { return rule.Hits() > 1 }, patience, time.Millisecond)
		time.Sleep(200 * time.Millisecond) // without pauses, there would be hundreds of attempts
		cancel()
		failed := publishErrorOf(t, <-published)
		require.ErrorIs(t, failed, esclient.ErrOutcomeUnknown)
		assert.Len(t, failed.Unknown, 1)
		assert.Less(t, rule.Hits(), 50)
		assert.Equal(t, 1, written(t, srv, "topic"))
	}
}

// After CloseTimeout no call continues, even if a borrowed client and the message's context live on.
func TestCloseEndsCallsOfABorrowedClient(t *testing.T) {
	for _, republish := range []bool{false, true} {
		for what, then := range map[string]estest.Action{"silent": estest.Drop(), "lost": estest.Disconnect()} {
			for _, shared := range []bool{true, false} {
				srv := embedded(t)
				c := openTough(t, srv.ConnectionString())
				pub := newPublisher(t, eventstore.PublisherConfig{
					Client: c, RepublishUnknown: republish, PublishTimeout: -1, CloseTimeout: 20 * time.Millisecond,
				})
				rule := srv.Intercept(writeEvents, estest.Unanswered(then))
				msg := newMessage("x")
				if !shared {
					own, cancel := context.WithCancel(context.Background())
					defer cancel()
					msg.SetContext(own)
				}
				result := make(chan error, 1)
				go func() { result <- pub.Publish("topic", msg) }()
				require.Eventually(t, func() bool { return rule.Hits() > 0 }, patience, time.Millisecond)
				require.NoError(t, pub.Close())
				select {
				case err := <-result:
					require.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
				case <-time.After(patience):
					require.FailNow(t, "Publish goes on after Close",
						"%s, again %v, shared %v", what, republish, shared)
				}
			}
		}
	}
}

// The errors of package esclient, which users can name, give the outcome of each message.
func TestAPublishErrorHasErrorsOfTheClient(t *testing.T) {
	srv := embedded(t)
	pub := newPublisher(t, eventstore.PublisherConfig{ConnectionString: srv.ConnectionString()})
	require.NoError(t, pub.Publish("topic", newMessage("1")))
	lostReply(srv)
	err := pub.Publish("topic", newMessage("2"))
	var failed *eventstore.PublishError
	require.ErrorAs(t, err, &failed)
	require.ErrorIs(t, err, esclient.ErrOutcomeUnknown)
	var lost *esclient.ConnectionError
	require.ErrorAs(t, err, &lost)
	assert.Equal(t, srv.Addr(), lost.Endpoint)
	undertest.PublicError(t, err)
}
