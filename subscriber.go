package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Subscriber implements Watermill's [message.Subscriber] for EventStore. Its methods are safe for concurrent use. A
// topic can be subscribed to several times.
type Subscriber struct {
	cfg   SubscriberConfig
	conn  sharedConnection
	log   watermill.LoggerAdapter
	trace bool

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	creation groupCreation

	givenInFlight bool // the configuration sets InFlight

	mu          sync.Mutex
	closed      bool
	keepers     map[string]*checkpointKeeper // by the names of their checkpoints
	watchers    int                          // goroutines that wait for late acks
	subs        sync.WaitGroup               // subscriptions, with their use of the connection, and watchers
	idle        chan struct{}                // closed when all of them have ended, after Close
	closeLogged atomic.Bool                  // no sync.Once: a logger may call Close
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber returns a [Subscriber]. It returns an [*esclient.ConfigError] or [*esclient.ArgumentError] for an
// invalid configuration. It does not connect: the first [Subscriber.Subscribe] opens the connection and waits for it.
// The logger, which may be nil, gets the state of the connection while there are subscriptions, also that of a borrowed
// Client.
func NewSubscriber(config SubscriberConfig, logger watermill.LoggerAdapter) (*Subscriber, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	givenInFlight := config.InFlight > 0
	config.setDefaults()
	s := &Subscriber{cfg: config, givenInFlight: givenInFlight, log: orNop(logger).With(watermill.LogFields{
		"provider": "eventstore", "consumer_group": config.ConsumerGroup, "subscriber_uuid": watermill.NewShortUUID(),
	})}
	s.trace = !isNop(s.log)
	var err error
	if s.conn.connect, err = connector(config.ConnectionString, config.Client, s.log); err != nil {
		return nil, err
	}
	s.cfg.ConnectionString = withoutPassword(config.ConnectionString)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.idle = make(chan struct{})
	return s, nil
}

// Subscribe hands out the messages of a topic until ctx ends or [Subscriber.Close] is called, and then closes the
// channel. It returns after the server has confirmed the subscription: all messages that are published from then on are
// handed out. [SubscriberConfig] selects how.
//
// Subscribe hands out the next message after the ack of the one before, and redelivers a nacked message. When ctx ends,
// or Close is called, the contexts of messages end at once, and no more messages are handed out. A handler that has a
// message can still answer for [SubscriberConfig.AckGrace]: an ack and a [NackWith] decision count. A plain Nack then
// gives the message back without counting for MaxNacks. All other unsettled messages of a group go back to the server
// too. No message is lost. A lost connection does not end the subscription.
//
// The channel is closed early, and the logger gets the error, only if waiting does not help: the group or the right to
// read was removed, the stream was tombstoned, the Client was closed, another process has taken the name of the
// checkpoint over, or, in [ModeCatchUp] without StartOver, the server came back with another log. If Subscribe meets
// such an error itself, it returns the error.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	stream, err := s.stream(topic)
	if err != nil {
		return nil, err
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	sub, err := s.open(ctx, topic, stream)
	if err != nil {
		s.end()
		return nil, fmt.Errorf("eventstore: cannot subscribe to topic %q: %w", topic, s.orClosed(err))
	}
	go func() {
		defer s.end()
		sub.run()
	}()
	sub.log.Info("Subscribed", sub.beginning())
	return sub.out, nil
}

// open connects a subscription to the server.
func (s *Subscriber) open(ctx context.Context, topic, stream string) (*subscription, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(s.ctx, func() { cancel(ErrSubscriberClosed) })
	log := s.log.With(watermill.LogFields{"topic": topic, "stream": stream})
	keeper, err := s.openCheckpoint(ctx, topic, stream, log)
	if err != nil {
		unlink()
		cancel(nil)
		return nil, err
	}
	live := newLiveSignal(ctx, s.cfg.OnCaughtUp, topic)
	src, err := s.source(ctx, topic, stream, log, keeper, live)
	if err != nil {
		s.closeCheckpoint(keeper)
		unlink()
		cancel(nil)
		return nil, err
	}
	return &subscription{
		owner: s, cfg: &s.cfg, topic: topic, stream: stream, src: src, keeper: keeper, live: live,
		out: make(chan *message.Message), log: log, trace: s.trace,
		ctx: ctx, done: ctx.Done(), values: context.WithoutCancel(ctx), cancel: cancel, unlink: unlink,
	}, nil
}

func (s *Subscriber) source(
	ctx context.Context, topic, stream string, log watermill.LoggerAdapter, keeper *checkpointKeeper,
	live *liveSignal,
) (source, error) {
	switch s.cfg.Mode {
	case ModePersistent:
		return s.joinGroup(ctx, stream, log)
	case ModeCatchUp:
		return s.catchUp(ctx, topic, stream, log, keeper, live)
	default:
		sub, err := s.conn.client().SubscribeVolatile(ctx, stream, esclient.VolatileOptions{
			ResolveLinks: s.cfg.ResolveLinks, FillGaps: !s.cfg.DisableGapFilling,
			Filter: s.cfg.Filter, FilterInClient: true,
			BufferSize: s.cfg.BufferSize, BufferBytes: s.cfg.BufferBytes,
			Hooks: []esclient.Hook{streamLog{log, false}, live},
		})
		if err != nil {
			return nil, err
		}
		return &streamSource{s: sub}, nil
	}
}

// SubscribeInitialize creates the consumer group of a topic if it is missing, so that the group also gets messages that
// are published before the first Subscribe, with any StartFrom. No program needs it otherwise, and in modes without
// groups it does nothing. It fails when the Subscriber has created no group for 30 s. The server may need longer for
// thousands of groups; the logger then gets the progress.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	stream, err := s.stream(topic)
	if err != nil {
		return err
	}
	if s.cfg.Mode != ModePersistent || s.cfg.DisableGroupCreation {
		return s.refuseClosed()
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	ctx, cancel := s.creation.withStallTimeout(s.ctx)
	defer cancel()
	if _, err := s.createGroup(ctx, stream); err != nil {
		return fmt.Errorf("eventstore: cannot initialize topic %q: %w", topic, s.orClosed(err))
	}
	return nil
}

// orClosed wraps err in ErrSubscriberClosed if Close has ended the call.
func (s *Subscriber) orClosed(err error) error {
	if s.ctx.Err() == nil || errors.Is(err, ErrSubscriberClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrSubscriberClosed, err)
}

func (s *Subscriber) stream(topic string) (string, error) {
	stream, err := s.cfg.StreamName(topic)
	if err != nil {
		return "", fmt.Errorf("eventstore: StreamName of topic %q: %w", topic, err)
	}
	return stream, s.cfg.validateStream(stream)
}

func (s *Subscriber) refuseClosed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrSubscriberClosed
	}
	return nil
}

// begin adds a subscription or a call, which uses the connection and which Close waits for, unless the Subscriber is
// closed. The caller must call end.
func (s *Subscriber) begin() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrSubscriberClosed
	}
	s.subs.Add(1)
	s.mu.Unlock()
	if err := s.conn.acquire(); err != nil {
		s.subs.Done()
		return err
	}
	return nil
}

func (s *Subscriber) end() {
	s.conn.release()
	s.subs.Done()
}

// goWhileOpen runs f in a goroutine, unless the Subscriber is closed or maxLateAckWatchers are running. f must return
// when closing is closed. The caller must be a subscription that Close still waits for.
func (s *Subscriber) goWhileOpen(f func(closing <-chan struct{})) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.watchers >= maxLateAckWatchers {
		return
	}
	s.watchers++
	s.subs.Go(func() {
		f(s.ctx.Done())
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watchers--
	})
}

// maxLateAckWatchers limits the goroutines that wait for the late ack of a message that was given back.
const maxLateAckWatchers = 100

// maxCloseWait limits how long Close waits for handlers, because a handler may call it.
const maxCloseWait = 3 * time.Second

// Close ends all subscriptions as the end of their contexts does. They close their channels, and the last one closes
// the connection if the Subscriber owns it. If no handler is running, it does so at once. Otherwise Close waits for
// handlers, for 3 s at most, because a handler may call it. After that, answers still count until
// [SubscriberConfig.AckGrace] passes; then the channels and the connection are closed. To wait for the end of a
// subscription, as a Router does, wait until its channel is closed. Close may be called several times and concurrently.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		s.cancel()
		go func() {
			s.subs.Wait()
			close(s.idle)
		}()
	}
	if closedWithin(s.idle, maxCloseWait) {
		s.logClosed()
		return nil
	}
	if first {
		s.log.Info("Subscriber closes after its handlers", watermill.LogFields{
			"ack_grace": s.cfg.AckGrace.String(),
		})
		go func() {
			<-s.idle
			s.logClosed()
		}()
	}
	return nil
}

func (s *Subscriber) logClosed() {
	if !s.closeLogged.Swap(true) {
		s.log.Debug("Subscriber closed", nil)
	}
}
