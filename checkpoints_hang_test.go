package eventstore_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// hangingStore is a store whose calls can hang.
type hangingStore struct {
	memoryCheckpoints
	heedsContext bool

	mu      sync.Mutex
	hang    chan struct{} // calls wait until it is closed; nil for no wait
	calls   int           // that are under way
	atOnce  int           // the highest number of calls
	waiting int           // calls that hang
}

func (s *hangingStore) suspend() (resume func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hang := make(chan struct{})
	s.hang = hang
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(hang)
		s.hang = nil
	})
}

func (s *hangingStore) count(calls, waiting int) (hang chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls += calls
	s.waiting += waiting
	s.atOnce = max(s.atOnce, s.calls)
	return s.hang
}

func (s *hangingStore) hangs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting > 0
}

func (s *hangingStore) wait(ctx context.Context) error {
	hang := s.count(1, 0)
	defer s.count(-1, 0)
	if hang == nil {
		return nil
	}
	s.count(0, 1)
	defer s.count(0, -1)
	ended := ctx.Done()
	if !s.heedsContext {
		ended = nil
	}
	select {
	case <-hang:
		return nil
	case <-ended:
		return ctx.Err()
	}
}

func (s *hangingStore) Load(ctx context.Context, name string) (esclient.Checkpoint, error) {
	if err := s.wait(ctx); err != nil {
		return esclient.Checkpoint{}, err
	}
	return s.memoryCheckpoints.Load(ctx, name)
}

func (s *hangingStore) Save(ctx context.Context, name string, c esclient.Checkpoint) error {
	if err := s.wait(ctx); err != nil {
		return err
	}
	return s.memoryCheckpoints.Save(ctx, name, c)
}

// TestAStoreThatHangsHoldsUpNoEnd has Saves that end with their context, and Saves that do not.
func TestAStoreThatHangsHoldsUpNoEnd(t *testing.T) {
	t.Parallel()
	for _, heedsContext := range []bool{true, false} {
		c, topic := openClient(t, connectionString(t)), name("topic")
		publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, 9)
		store := &hangingStore{heedsContext: heedsContext}
		cfg := readModel(store)
		cfg.Client, cfg.CheckpointTimeout, cfg.AckGrace = c, 20*time.Millisecond, time.Millisecond
		log := watermill.NewCaptureLogger()
		sub, err := eventstore.NewSubscriber(cfg, log)
		require.NoError(t, err)
		messages, end := subscribeUntil(t, sub, topic)
		resume := store.suspend()
		t.Cleanup(resume)
		consume(t, messages, 1)
		require.Eventually(t, store.hangs, patience, time.Millisecond)
		assert.Equal(t, numbers(1, 3), consume(t, messages, 3), "messages are handed out meanwhile")
		require.Eventually(t, func() bool {
			return len(lines(log, watermill.ErrorLogLevel, "Cannot save the checkpoint: trying again")) > 0
		}, patience, time.Millisecond, "the failure is not reported")
		end()
		closes(t, messages)
		assert.Len(t, lines(log, watermill.ErrorLogLevel, "The last checkpoint was not saved"), 1)

		if !heedsContext { // the old Save could overwrite a later one
			_, err = sub.Subscribe(context.Background(), topic)
			var refused *eventstore.CheckpointError
			require.ErrorAs(t, err, &refused)
			assert.ErrorContains(t, err, "goes on although its context has ended")
		}
		resume()
		require.Eventually(t, func() bool {
			messages, err = sub.Subscribe(context.Background(), topic)
			return err == nil
		}, patience, time.Millisecond)
		assert.NotEmpty(t, receive(t, messages).Payload)
		require.NoError(t, sub.Close())
		closes(t, messages)
		assert.Equal(t, 1, store.atOnce, "calls for one name come one after the other")
	}
}

func TestALoadThatHangsHoldsUpNoSubscribe(t *testing.T) {
	t.Parallel()
	c, topic := openClient(t, connectionString(t)), name("topic")
	store := &hangingStore{}
	resume := store.suspend()
	t.Cleanup(resume)
	cfg := readModel(store)
	cfg.Client, cfg.CheckpointTimeout = c, 20*time.Millisecond
	sub := newSubscriber(t, cfg)
	_, err := sub.Subscribe(context.Background(), topic)
	var failed *eventstore.CheckpointError
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, "load", failed.Op)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = sub.Subscribe(context.Background(), topic)
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, "use", failed.Op)
	require.NoError(t, sub.Close())
}

// callingStore calls a function before each Save.
type callingStore struct {
	memoryCheckpoints
	call func()
}

func (s *callingStore) Save(ctx context.Context, name string, c esclient.Checkpoint) error {
	s.call()
	return s.memoryCheckpoints.Save(ctx, name, c)
}

func TestAStoreMayCloseTheSubscriber(t *testing.T) {
	t.Parallel()
	c, topic := openClient(t, connectionString(t)), name("topic")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, 2)
	store := &callingStore{}
	cfg := readModel(store)
	cfg.Client = c
	sub := newSubscriber(t, cfg)
	store.call = func() { assert.NoError(t, sub.Close()) }
	messages := subscribe(t, sub, topic)
	receive(t, messages).Ack()
	closes(t, messages)
	assert.False(t, store.at("readmodel/"+topic).IsZero())
}

const textBehind = "Message is behind the checkpoint: the next subscription hands it out again"

func TestAHandlerThatExceedsAckGraceIsBehindTheCheckpoint(t *testing.T) {
	t.Parallel()
	c, topic := openClient(t, connectionString(t)), name("topic")
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, 3)
	store := &process{Checkpoints: &memoryCheckpoints{}}
	cfg := readModel(store)
	cfg.Client, cfg.AckGrace = c, time.Millisecond
	log := watermill.NewCaptureLogger()
	sub, err := eventstore.NewSubscriber(cfg, log)
	require.NoError(t, err)
	messages, end := subscribeUntil(t, sub, topic)
	consume(t, messages, 1)
	late := receive(t, messages)
	end()
	closes(t, messages)
	told := lines(log, watermill.ErrorLogLevel, textBehind)
	require.Len(t, told, 1)
	assert.Equal(t, int64(1), told[0].Fields["event_number"])
	assert.ErrorContains(t, told[0].Err, "within AckGrace")
	late.Ack()
	messages = subscribe(t, sub, topic)
	assert.Equal(t, numbers(1, 1), consume(t, messages, 1), "a late ack does not count")
	require.NoError(t, sub.Close())
	closes(t, messages)

	// Another process has the name: no answer counts, and no call waits for one.
	cfg.AckGrace, cfg.Concurrency = time.Hour, 2
	cfg.Key = func(msg *message.Message) string { return string(msg.Payload) }
	log = watermill.NewCaptureLogger()
	sub, err = eventstore.NewSubscriber(cfg, log)
	require.NoError(t, err)
	messages = subscribe(t, sub, topic)
	inHand := map[string]*message.Message{}
	for range 2 {
		msg := receive(t, messages)
		inHand[string(msg.Payload)] = msg
	}
	store.fail(eventstore.ErrCheckpointTaken)
	inHand["2"].Ack()
	closes(t, messages)
	assert.Empty(t, lines(log, watermill.ErrorLogLevel, textBehind))
	ended := lines(log, watermill.ErrorLogLevel, "Subscription ended")
	require.Len(t, ended, 1)
	assert.ErrorIs(t, ended[0].Err, eventstore.ErrCheckpointTaken)
	require.NoError(t, sub.Close())
}

// TestAMessageThatHoldsUpTheCheckpointIsLogged has a key stuck while very many messages of others are settled.
func TestAMessageThatHoldsUpTheCheckpointIsLogged(t *testing.T) {
	t.Parallel()
	c, topic := openClient(t, connectionString(t)), name("topic")
	const others = 120
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, others)
	cfg := readModel(&memoryCheckpoints{})
	cfg.Client, cfg.Concurrency, cfg.CheckpointMaxCount, cfg.AckGrace = c, 2, 1, time.Millisecond
	cfg.Key = func(msg *message.Message) string { return string(msg.Payload) }
	log := watermill.NewCaptureLogger()
	sub, err := eventstore.NewSubscriber(cfg, log)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, sub.Close()) })
	messages := subscribe(t, sub, topic)
	var stuck *message.Message
	for range others + 1 {
		if msg := receive(t, messages); string(msg.Payload) == "0" {
			stuck = msg
		} else {
			msg.Ack()
		}
	}
	require.NotNil(t, stuck)
	const text = "Message holds up the checkpoint"
	require.Eventually(t, func() bool { return len(lines(log, watermill.ErrorLogLevel, text)) == 2 },
		patience, time.Millisecond, "at 10 times and 100 times CheckpointMaxCount")
	told := lines(log, watermill.ErrorLogLevel, text)[0]
	assert.Equal(t, int64(0), told.Fields["event_number"])
	assert.GreaterOrEqual(t, told.Fields["settled_behind"], 10)
	stuck.Ack()
}

// TestTwoSubscribersOfOneStoreLoseNothing has a store that does not exclude one of two users of a name.
func TestTwoSubscribersOfOneStoreLoseNothing(t *testing.T) {
	t.Parallel()
	c, topic := openClient(t, connectionString(t)), name("topic")
	const total = 100 // more than all of them take
	publishNumbered(t, newPublisher(t, eventstore.PublisherConfig{Client: c}), topic, 0, total)
	store := &memoryCheckpoints{}
	var mu sync.Mutex
	acked := make(map[esclient.Checkpoint]bool)
	for _, count := range [][2]int{{5, 20}, {40, 3}, {7, 7}} {
		var processes sync.WaitGroup
		for _, n := range count {
			cfg := readModel(store)
			cfg.Client = c
			sub := newSubscriber(t, cfg)
			messages := subscribe(t, sub, topic)
			processes.Go(func() {
				for range n {
					msg, ok := <-messages
					if !assert.True(t, ok) {
						return
					}
					at, _ := eventstore.CheckpointFromCtx(msg.Context())
					mu.Lock()
					acked[at] = true
					mu.Unlock()
					msg.Ack()
				}
				assert.NoError(t, sub.Close())
				for range messages {
				}
			})
		}
		processes.Wait()
		saved, ok := store.at("readmodel/" + topic).Number()
		require.True(t, ok)
		for n := range saved + 1 {
			assert.True(t, acked[esclient.CheckpointAtNumber(n)], "%d is not acked, and %d is saved", n, saved)
		}
	}
	other := readModel(store)
	other.Client, other.SubscriberName = c, "other"
	assert.Equal(t, numbers(0, 3), consume(t, subscribe(t, newSubscriber(t, other), topic), 4))
}
