package eventstore_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// handled counts how often each payload was handed out.
type handled struct {
	mu    sync.Mutex
	times map[string]int
}

func (h *handled) add(msg *message.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.times == nil {
		h.times = make(map[string]int)
	}
	h.times[string(msg.Payload)]++
}

func (h *handled) get(payload string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.times[payload]
}

func (h *handled) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.times)
}

// finite returns the settings of a group whose messages time out.
func finite(timeout time.Duration, retries int) *esclient.PersistentSettings {
	s := eventstore.DefaultGroupSettings()
	s.MessageTimeout, s.MaxRetryCount = timeout, retries
	return &s
}

// handle counts each message of the topic, calls f and acks the message.
func handle(t *testing.T, cfg eventstore.SubscriberConfig, h *handled, f func(msg *message.Message)) {
	t.Helper()
	cfg.ConsumerGroup = "g"
	sub := newSubscriber(t, cfg)
	messages := subscribe(t, sub, "topic")
	go func() {
		for msg := range messages {
			go func() {
				h.add(msg)
				f(msg)
				msg.Ack()
			}()
		}
	}()
}

func numberedServer(t *testing.T, p estest.Persona, n int) *estest.Server {
	t.Helper()
	srv := embedded(t, estest.WithPersona(p), estest.WithUser("jane", "secret"))
	var events []estest.Event
	for i := range n {
		events = append(events, estest.Event{Type: "t", Data: fmt.Append(nil, i)})
	}
	_, err := srv.Append("topic", events...)
	require.NoError(t, err)
	return srv
}

// settledAll waits until the group has no unsettled message.
func settledAll(t *testing.T, srv *estest.Server, h *handled, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		g := srv.Stats().Groups
		return len(g) == 1 && h.count() == n && g[0].InFlight+g[0].Waiting+g[0].Retrying == 0
	}, patience, 5*time.Millisecond)
}

// TestATimelyHandlerGetsEveryMessageOnce has handlers that are quick enough for each message, but not
// for all messages in flight. No message is retried.
func TestATimelyHandlerGetsEveryMessageOnce(t *testing.T) {
	t.Parallel()
	for _, persona := range personas {
		for _, subscribers := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d", persona, subscribers), func(t *testing.T) {
				t.Parallel()
				const n = 4
				srv, h := numberedServer(t, persona, n), new(handled)
				for range subscribers {
					handle(t, eventstore.SubscriberConfig{
						ConnectionString: srv.ConnectionString(), GroupSettings: finite(time.Second, 0),
					}, h, func(*message.Message) { time.Sleep(600 * time.Millisecond) })
				}
				settledAll(t, srv, h, n)
				for i := range n {
					assert.Equal(t, 1, h.get(fmt.Sprint(i)), "message %d", i)
				}
				assert.Zero(t, groupStats(t, srv).Parked)
			})
		}
	}
}

// TestOnlyHandedOutMessagesAreParked has a handler that hangs with the first message for several timeouts. The server
// may park only that message.
func TestOnlyHandedOutMessagesAreParked(t *testing.T) {
	t.Parallel()
	for _, persona := range personas {
		for retries := range 2 {
			t.Run(fmt.Sprintf("%s, %d retries", persona, retries), func(t *testing.T) {
				t.Parallel()
				const n = 12
				srv, h := numberedServer(t, persona, n), new(handled)
				handle(t, eventstore.SubscriberConfig{
					ConnectionString: srv.ConnectionString(), GroupSettings: finite(time.Second, retries),
					Concurrency: 1 + 2*retries, InFlight: 10, // of one key: they wait for each other
				}, h, func(msg *message.Message) {
					if string(msg.Payload) == "0" {
						time.Sleep(2500 * time.Millisecond)
					}
				})
				settledAll(t, srv, h, n)
				for i := range n {
					assert.Equal(t, 1, h.get(fmt.Sprint(i)), "message %d", i)
				}
				for _, parked := range parkedNumbers(t, srv) {
					assert.Zero(t, parked)
				}
			})
		}
	}
}

// parkedNumbers returns the numbers of the group's parked messages.
func parkedNumbers(t *testing.T, srv *estest.Server) (numbers []int64) {
	t.Helper()
	for p, err := range openClient(t, srv.ConnectionString()).ReadParked(timeout(t), "topic", "g") {
		require.NoError(t, err)
		numbers = append(numbers, p.Number)
	}
	return numbers
}

// TestAHandlerThatBecomesSlow has a handler that is quick until many messages are in flight, and then hangs. Waiting
// messages go to another subscriber in time, and the subscriber logs that.
func TestAHandlerThatBecomesSlow(t *testing.T) {
	t.Parallel()
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			const quick, n = 400, 410
			srv, h := numberedServer(t, persona, n), new(handled)
			log := watermill.NewCaptureLogger()
			release := make(chan struct{})
			sub, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
				ConnectionString: srv.ConnectionString(), ConsumerGroup: "g", GroupSettings: finite(time.Second, 1),
			}, log)
			require.NoError(t, err)
			defer func() { assert.NoError(t, sub.Close()) }()
			letGo := sync.OnceFunc(func() { close(release) })
			defer letGo()
			messages := subscribe(t, sub, "topic")
			go func() {
				for msg := range messages {
					if h.add(msg); string(msg.Payload) == fmt.Sprint(quick) {
						<-release
					}
					msg.Ack()
				}
			}()
			require.Eventually(t, func() bool {
				// While acks are on their way, more messages are unsettled, and the next subscriber would get the rest.
				g := groupStats(t, srv)
				unsettled := g.InFlight + g.Waiting + g.Retrying
				return h.count() > quick && unsettled == n-quick && g.InFlight > 1
			}, patience, time.Millisecond, "the subscriber has waiting messages")
			handle(t, eventstore.SubscriberConfig{
				ConnectionString: srv.ConnectionString(), GroupSettings: finite(time.Second, 1),
			}, h, func(*message.Message) {})
			require.Eventually(t, func() bool { return h.count() == n }, patience, time.Millisecond)
			letGo()
			settledAll(t, srv, h, n)
			for i := quick + 1; i < n; i++ {
				assert.Equal(t, 1, h.get(fmt.Sprint(i)), "message %d", i)
			}
			assert.Empty(t, parkedNumbers(t, srv))
			require.Eventually(t, func() bool {
				given := lines(log, watermill.InfoLogLevel, "Event given back to the server")
				return len(given) > 0 && len(slowLines(log)) > 0
			}, patience, time.Millisecond, "it is logged")
			assert.Len(t, slowLines(log), 1, "it is logged once")
		})
	}
}

func slowLines(log *watermill.CaptureLoggerAdapter) (found []watermill.CapturedMessage) {
	for _, line := range log.Captured()[watermill.ErrorLogLevel] {
		var slow *esclient.SlowConsumerError
		if errors.As(line.Err, &slow) {
			found = append(found, line)
		}
	}
	return found
}

// TestAUserWithoutTheSettingsLearnsTheTimeout subscribes as a user who cannot read the settings of the group.
func TestAUserWithoutTheSettingsLearnsTheTimeout(t *testing.T) {
	t.Parallel()
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			const n = 4
			srv, h := numberedServer(t, persona, n), new(handled)
			admin := openClient(t, srv.ConnectionString())
			require.NoError(t, admin.CreatePersistent(timeout(t), "topic", "g", *finite(time.Second, 2)))
			handle(t, eventstore.SubscriberConfig{ConnectionString: "tcp://jane:secret@" + srv.Addr()}, h,
				func(*message.Message) { time.Sleep(700 * time.Millisecond) })
			settledAll(t, srv, h, n)
			for i := range n {
				assert.Equal(t, 1, h.get(fmt.Sprint(i)), "message %d", i)
			}
			assert.Empty(t, parkedNumbers(t, srv))
		})
	}
}

// TestAMessageWithoutAReaderIsNotKept has a consumer that does not read its channel for several timeouts.
func TestAMessageWithoutAReaderIsNotKept(t *testing.T) {
	t.Parallel()
	const n = 5
	srv, h := numberedServer(t, estest.Persona2310, n), new(handled)
	cfg := eventstore.SubscriberConfig{
		ConnectionString: srv.ConnectionString(), ConsumerGroup: "g", GroupSettings: finite(time.Second, 0),
	}
	idle := subscribe(t, newSubscriber(t, cfg), "topic")
	require.Eventually(t, func() bool { return groupStats(t, srv).InFlight > 0 }, patience, time.Millisecond)
	handle(t, cfg, h, func(*message.Message) {})
	settledAll(t, srv, h, n)
	assert.Empty(t, parkedNumbers(t, srv))
	silence(t, idle)
	_, err := srv.Append("topic", estest.Event{Type: "t", Data: []byte("late")}, estest.Event{Type: "t"})
	require.NoError(t, err)
	receive(t, idle).Ack() // one of them comes to this one
}

func TestTheWindowGrowsWithAQuickHandler(t *testing.T) {
	t.Parallel()
	srv := numberedServer(t, estest.Persona2310, 500)
	sub := newSubscriber(t, eventstore.SubscriberConfig{
		ConnectionString: srv.ConnectionString(), ConsumerGroup: "g", GroupSettings: finite(time.Second, 3),
		InFlight: 50,
	})
	messages := subscribe(t, sub, "topic")
	first := receive(t, messages)
	assert.LessOrEqual(t, groupStats(t, srv).InFlight, 1, "nothing is known of the handler")
	first.Ack()
	consume(t, messages, 300)
	last := receive(t, messages)
	require.Eventually(t, func() bool { return groupStats(t, srv).InFlight == 50 }, patience, time.Millisecond)
	last.Ack()
}
