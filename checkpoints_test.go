package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
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

// memoryCheckpoints is a store in memory. It stands for a database that outlives its users.
type memoryCheckpoints struct {
	mu      sync.Mutex
	kept    map[string]esclient.Checkpoint
	sources map[string]string
	saves   []esclient.Checkpoint
}

func (m *memoryCheckpoints) Load(ctx context.Context, name string) (esclient.Checkpoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[name], eventstore.CheckCheckpointSource(ctx, m.sources[name])
}

func (m *memoryCheckpoints) Save(ctx context.Context, name string, c esclient.Checkpoint) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil {
		m.kept = make(map[string]esclient.Checkpoint)
	}
	if m.sources == nil {
		m.sources = make(map[string]string)
	}
	m.kept[name], m.sources[name] = c, eventstore.CheckpointSourceFromCtx(ctx)
	m.saves = append(m.saves, c)
	return nil
}

// at returns the checkpoint that is stored under a name.
func (m *memoryCheckpoints) at(name string) esclient.Checkpoint {
	c, _ := m.Load(context.Background(), name)
	return c
}

func (m *memoryCheckpoints) saved() []esclient.Checkpoint {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]esclient.Checkpoint(nil), m.saves...)
}

// process is the store as one process sees it, which may crash or have trouble with it.
type process struct {
	eventstore.Checkpoints

	mu       sync.Mutex
	err      error // of all calls
	attempts int
}

func (p *process) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *process) tried() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attempts
}

func (p *process) Load(ctx context.Context, name string) (esclient.Checkpoint, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.attempts++; p.err != nil {
		return esclient.Checkpoint{}, p.err
	}
	return p.Checkpoints.Load(ctx, name)
}

func (p *process) Save(ctx context.Context, name string, c esclient.Checkpoint) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.attempts++; p.err != nil {
		return p.err
	}
	return p.Checkpoints.Save(ctx, name, c)
}

// errCrashed is the error of the store in a dead process: it saves nothing.
var errCrashed = fmt.Errorf("crashed: %w", esclient.ErrClosed)

// readModel returns the configuration of a Subscriber whose checkpoints are saved often.
func readModel(store eventstore.Checkpoints) eventstore.SubscriberConfig {
	return eventstore.SubscriberConfig{
		Mode: eventstore.ModeCatchUp, Checkpoints: store, SubscriberName: "readmodel",
		CheckpointAfter: time.Millisecond, CheckpointMaxCount: 5,
	}
}

// crashedRun is the record of a process before its crash.
type crashedRun struct {
	handedOut, acked []esclient.Checkpoint
	handled          map[string]esclient.Checkpoint // by payload: checkpoints of the wanted messages, acked
}

// crashRun hands out messages to concurrent handlers, some of which nack first, until count messages that want picks
// are acked. Then the process crashes.
func crashRun(
	t *testing.T, cfg eventstore.SubscriberConfig, topic string, count int, want func(*message.Message) bool,
) crashedRun {
	t.Helper()
	died := &process{Checkpoints: cfg.Checkpoints}
	cfg.Checkpoints = died
	sub := newSubscriber(t, cfg)
	messages := subscribe(t, sub, topic)
	var mu sync.Mutex
	run := crashedRun{handled: make(map[string]esclient.Checkpoint)}
	handle := func(msg *message.Message) (enough bool) {
		c, _ := eventstore.CheckpointFromCtx(msg.Context())
		mu.Lock()
		defer mu.Unlock()
		run.handedOut = append(run.handedOut, c)
		if len(run.handled) == count {
			return true
		}
		if rand.IntN(4) == 0 {
			msg.Nack()
			return false
		}
		run.acked = append(run.acked, c)
		if want(msg) {
			run.handled[string(msg.Payload)] = c
		}
		msg.Ack()
		return len(run.handled) == count
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var handlers sync.WaitGroup
	for range max(cfg.Concurrency, 1) {
		handlers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case msg := <-messages:
					if handle(msg) {
						cancel()
						return
					}
				}
			}
		})
	}
	handlers.Wait()
	require.Len(t, run.handled, count, "messages are lost")
	died.fail(errCrashed)
	require.NoError(t, sub.Close())
	closes(t, messages)
	return run
}

// crashLoop crashes a read model over and over, until it has handled all the messages that want picks.
func crashLoop(
	t *testing.T, cfg eventstore.SubscriberConfig, topic string, total int, want func(*message.Message) bool,
) {
	t.Helper()
	store := &memoryCheckpoints{}
	cfg.Checkpoints = store
	handled := make(map[string]esclient.Checkpoint) // by payload: checkpoints of the messages that want picks
	acked := make(map[esclient.Checkpoint]bool)
	for runs := 0; len(handled) < total; runs++ {
		require.Less(t, runs, 10*total, "the read model makes no progress")
		saved := store.at(cfg.SubscriberName + "/" + topic)
		toCome := total - len(handled)
		for _, c := range handled {
			if after(t, c, saved) {
				toCome++ // again
			}
		}
		run := crashRun(t, cfg, topic, min(1+rand.IntN(60), toCome), want)
		for _, c := range run.handedOut {
			assert.True(t, after(t, c, saved), "%v was handed out although %v was saved", c, saved)
		}
		for _, c := range run.acked {
			acked[c] = true
		}
		for payload, c := range run.handled {
			handled[payload] = c
		}
		// Everything up to the checkpoint is acked, however the handlers overtook each other.
		saved = store.at(cfg.SubscriberName + "/" + topic)
		if number, ok := saved.Number(); ok {
			for n := range number + 1 {
				require.True(t, acked[esclient.CheckpointAtNumber(n)], "%d is not acked, and %v is saved", n, saved)
			}
		}
	}
}

func after(t testing.TB, c, d esclient.Checkpoint) bool {
	t.Helper()
	order, err := c.Compare(d)
	require.NoError(t, err)
	return order > 0
}

func anyMessage(*message.Message) bool { return true }

func TestCrashesLoseNoMessageOfAStream(t *testing.T) {
	overPersonas(t, func(t *testing.T, srv *estest.Server, _ *estest.Clock) {
		const total = 200
		publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{ConnectionString: srv.ConnectionString()}),
			"topic", 1, total)
		for _, concurrency := range []int{1, 8} {
			cfg := readModel(nil)
			cfg.ConnectionString, cfg.Concurrency = srv.ConnectionString(), concurrency
			cfg.Key = func(msg *message.Message) string { // 16 keys
				n, _ := strconv.Atoi(string(msg.Payload))
				return fmt.Sprint(n % 16)
			}
			crashLoop(t, cfg, "topic", total, anyMessage)
		}
	})
}

func TestCrashesLoseNoMessageOfACategory(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			srv := embedded(t, estest.WithPersona(persona), estest.WithProjections())
			const total = 120
			pub := newPublisher(t, eventstore.PublisherConfig{
				ConnectionString: srv.ConnectionString(),
				StreamName: func(topic string, msg *message.Message) (string, error) {
					n, err := strconv.Atoi(string(msg.Payload))
					return fmt.Sprint(topic, "-", n%7), err
				},
			})
			publishNumbered(t, pub, "order", 1, total)
			require.NoError(t, srv.WaitForProjections(timeout(t)))
			cfg := readModel(nil)
			cfg.ConnectionString, cfg.Concurrency, cfg.ResolveLinks = srv.ConnectionString(), 4, true
			cfg.StreamName = func(topic string) (string, error) { return "$ce-" + topic, nil }
			crashLoop(t, cfg, "order", total, anyMessage)
		})
	}
}

func TestCrashesLoseNoMessageOfAllStreams(t *testing.T) {
	overPersonas(t, func(t *testing.T, srv *estest.Server, _ *estest.Clock) {
		const total = 120
		publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{
			ConnectionString: srv.ConnectionString(),
			StreamName: func(topic string, msg *message.Message) (string, error) {
				return topic + "-" + string(msg.Payload[len(msg.Payload)-1:]), nil
			},
		}), "order", 1, total)
		cfg := readModel(nil)
		cfg.ConnectionString, cfg.Concurrency = srv.ConnectionString(), 4
		isOrder := func(msg *message.Message) bool {
			stream, _ := eventstore.StreamFromCtx(msg.Context())
			return strings.HasPrefix(stream, "order-")
		}
		crashLoop(t, cfg, esclient.AllStream, total, isOrder)

		cfg.Filter = &esclient.Filter{StreamPrefixes: []string{"order-"}}
		crashLoop(t, cfg, esclient.AllStream, total, func(msg *message.Message) bool {
			assert.True(t, isOrder(msg))
			return true
		})
	})
}

func TestAReadModelGoesOnAfterItsSettledMessages(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	pub := newPublisher(t, eventstore.PublisherConfig{Client: c})
	publishNumbered(t, pub, topic, 0, 9)
	store := &memoryCheckpoints{}
	cfg := readModel(store)
	cfg.Client, cfg.CheckpointAfter, cfg.AckGrace = c, time.Hour, time.Minute

	// The end of the context; and Close, while a handler is running.
	sub := newSubscriber(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	messages, err := sub.Subscribe(ctx, topic)
	require.NoError(t, err)
	assert.Equal(t, numbers(0, 2), consume(t, messages, 3))
	inHand := receive(t, messages)
	cancel()
	assert.Empty(t, store.saved(), "the handler has not answered")
	inHand.Ack()
	closes(t, messages)
	assert.Equal(t, esclient.CheckpointAtNumber(3), store.at("readmodel/"+topic))

	messages = subscribe(t, sub, topic)
	assert.Equal(t, numbers(4, 5), consume(t, messages, 2))
	inHand = receive(t, messages)
	closed := make(chan error, 1)
	go func() { closed <- sub.Close() }()
	<-inHand.Context().Done()
	inHand.Nack()
	require.NoError(t, <-closed)
	closes(t, messages)
	assert.Equal(t, esclient.CheckpointAtNumber(5), store.at("readmodel/"+topic), "6 was nacked")

	messages = subscribe(t, newSubscriber(t, cfg), topic)
	assert.Equal(t, numbers(6, 9), consume(t, messages, 4))
}

func TestACheckpointIsSavedAfterSoManyMessages(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, 9)
	store := &memoryCheckpoints{}
	cfg := readModel(store)
	cfg.Client, cfg.CheckpointAfter, cfg.CheckpointMaxCount = c, time.Hour, 4
	messages := subscribe(t, newSubscriber(t, cfg), topic)
	consume(t, messages, 3)
	receive(t, messages)
	assert.Empty(t, store.saved())
	consume(t, subscribe(t, newSubscriber(t, withName(cfg, "another")), topic), 10)
	require.Eventually(t, func() bool { // at most three messages are settled and not saved
		n, _ := store.at("another/" + topic).Number()
		return n >= 6
	}, patience, time.Millisecond)
	assert.True(t, store.at("readmodel/"+topic).IsZero(), "each name has its own checkpoint")
}

func withName(cfg eventstore.SubscriberConfig, name string) eventstore.SubscriberConfig {
	cfg.SubscriberName = name
	return cfg
}

func TestSaversRetryWithTheLatestMark(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, 9)
	store := &memoryCheckpoints{}
	sick := &process{Checkpoints: store}
	cfg := readModel(sick)
	cfg.Client = c
	log := watermill.NewCaptureLogger()
	sub, err := eventstore.NewSubscriber(cfg, log)
	require.NoError(t, err)
	defer func() { assert.NoError(t, sub.Close()) }()
	messages := subscribe(t, sub, topic)
	sick.fail(errors.New("no database"))
	consume(t, messages, 3)
	require.Eventually(t, func() bool { return sick.tried() > 3 }, patience, time.Millisecond)
	consume(t, messages, 4)
	sick.fail(nil)
	require.Eventually(t, func() bool {
		return store.at("readmodel/"+topic) == esclient.CheckpointAtNumber(6)
	}, patience, time.Millisecond)
	assert.Equal(t, []esclient.Checkpoint{esclient.CheckpointAtNumber(6)}, store.saved())
	told := lines(log, watermill.ErrorLogLevel, "Cannot save the checkpoint: trying again")
	require.NotEmpty(t, told)
	assert.Len(t, told, 1, "the 1st failure, and not the next ones")
	assert.EqualError(t, told[0].Err, "no database")
}

func TestSubscribeFailsWithoutItsCheckpoint(t *testing.T) {
	c, topic := openClient(t, connectionString(t)), name("topic")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, 3)
	store := &memoryCheckpoints{}
	require.NoError(t, store.Save(context.Background(), "readmodel/"+topic, esclient.CheckpointAtNumber(1)))
	sick := &process{Checkpoints: store}
	sick.fail(errors.New("no database"))
	cfg := readModel(sick)
	cfg.Client, cfg.CheckpointTimeout = c, 200*time.Millisecond
	sub := newSubscriber(t, cfg)
	_, err := sub.Subscribe(context.Background(), topic)
	var failed *eventstore.CheckpointError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, []string{"load", "readmodel/" + topic}, []string{failed.Op, failed.Name})
	assert.ErrorContains(t, err, "no database: no message was handed out: repair the store and subscribe again")
	assert.Greater(t, sick.tried(), 1)

	cfg.CheckpointTimeout = 0
	go func() {
		for sick.tried() < 5 {
			time.Sleep(time.Millisecond)
		}
		sick.fail(nil)
	}()
	assert.Equal(t, numbers(2, 3), consume(t, subscribe(t, newSubscriber(t, cfg), topic), 2))

	for advice, lasting := range map[string]error{
		"restore the checkpoint":     eventstore.ErrCheckpointCorrupt,
		"repair the store":           esclient.ErrAccessDenied,
		"end the other subscription": eventstore.ErrCheckpointTaken,
	} {
		sick.fail(lasting)
		cfg.CheckpointTimeout = 100 * time.Millisecond
		_, err := newSubscriber(t, cfg).Subscribe(context.Background(), topic)
		assert.ErrorIs(t, err, lasting)
		assert.ErrorContains(t, err, advice)
	}
}
