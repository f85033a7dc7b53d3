package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Subscriber is Watermill's Subscriber for EventStore. Its methods may be called by any number of goroutines at once,
// and a topic may be subscribed to any number of times.
type Subscriber struct {
	cfg   SubscriberConfig
	conn  connection
	log   watermill.LoggerAdapter
	trace bool

	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	creation groupCreation

	mu          sync.Mutex
	closed      bool
	closeLogged bool
	watchers    int            // goroutines that wait for late acks
	subs        sync.WaitGroup // subscriptions and watchers
	idle        chan struct{}  // closed when all of them have ended, after Close
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber makes a Subscriber. It fails for a configuration that cannot be used, with an *esclient.ConfigError,
// but not for a server that cannot be reached: Subscribe waits for the connection, and logger, which may be nil, is
// told of it.
func NewSubscriber(config SubscriberConfig, logger watermill.LoggerAdapter) (*Subscriber, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.setDefaults()
	s := &Subscriber{cfg: config, log: orNop(logger).With(watermill.LogFields{
		"provider": "eventstore", "consumer_group": config.ConsumerGroup, "subscriber_uuid": watermill.NewShortUUID(),
	})}
	s.trace = !isNop(s.log)
	var err error
	if s.conn, err = connect(config.ConnectionString, config.Client, s.log); err != nil {
		return nil, err
	}
	s.cfg.ConnectionString = withoutPassword(config.ConnectionString)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.idle = make(chan struct{})
	return s, nil
}

// Subscribe delivers the messages of a topic until ctx ends or the Subscriber is closed, and then closes the channel.
// The subscription is live when it returns: what is published from then on is delivered. How, the SubscriberConfig
// says.
//
// The next message is handed out when the one before was acked; a nacked one comes again. When ctx ends, or Close is
// called, the contexts of messages end at once, and nothing more is handed out. On a message that was handed out the
// handler's word still counts for SubscriberConfig.AckGrace: an ack, and a decision by NackWith. A plain Nack then
// gives it back, as everything else that this subscriber of a group had received, and does not count for MaxNacks.
// Nothing is lost. Lost connections do not show.
//
// The channel is closed early, with an error to the logger, only for what would not pass by waiting: the group or the
// right to read is taken away, the stream is deleted for good, the Client is closed, or the server comes back with
// another log in ModeCatchUp, unless StartOver is set. What is so from the beginning is Subscribe's error.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	stream, err := s.stream(topic)
	if err != nil {
		return nil, err
	}
	if !s.begin() {
		return nil, ErrSubscriberClosed
	}
	sub, err := s.open(ctx, topic, stream)
	if err != nil {
		s.subs.Done()
		return nil, fmt.Errorf("eventstore: cannot subscribe to topic %q: %w", topic, s.orClosed(err))
	}
	go func() {
		defer s.subs.Done()
		sub.run()
	}()
	sub.log.Info("Subscribed", nil)
	return sub.out, nil
}

// open connects a subscription to the server.
func (s *Subscriber) open(ctx context.Context, topic, stream string) (*subscription, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	unlink := context.AfterFunc(s.ctx, func() { cancel(ErrSubscriberClosed) })
	log := s.log.With(watermill.LogFields{"topic": topic, "stream": stream})
	src, err := s.source(ctx, topic, stream, log)
	if err != nil {
		unlink()
		cancel(nil)
		return nil, err
	}
	return &subscription{
		owner: s, cfg: &s.cfg, topic: topic, src: src, out: make(chan *message.Message), log: log, trace: s.trace,
		ctx: ctx, done: ctx.Done(), values: context.WithoutCancel(ctx), cancel: cancel, unlink: unlink,
	}, nil
}

func (s *Subscriber) source(
	ctx context.Context, topic, stream string, log watermill.LoggerAdapter,
) (source, error) {
	switch s.cfg.Mode {
	case ModePersistent:
		return s.joinGroup(ctx, stream, log)
	case ModeCatchUp:
		start := s.cfg.Start
		if s.cfg.LoadStart != nil {
			var err error
			if start, err = s.cfg.LoadStart(ctx, topic); err != nil {
				return nil, fmt.Errorf("LoadStart: %w", err)
			}
		}
		sub, err := s.conn.client.SubscribeCatchUp(ctx, stream, esclient.CatchUpOptions{
			Start: start, StartOver: s.cfg.StartOver, ResolveLinks: s.cfg.ResolveLinks,
			PageSize: s.cfg.PageSize, BufferSize: s.cfg.BufferSize, BufferBytes: s.cfg.BufferBytes,
			Hooks: []esclient.Hook{streamLog{log, s.cfg.StartOver}},
		})
		if err != nil {
			return nil, err
		}
		if err := sub.Ready(ctx); err != nil {
			return nil, err
		}
		s.warnIfStartBeyondEnd(ctx, stream, start, log)
		return &streamSource{s: sub}, nil
	default:
		sub, err := s.conn.client.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{
			ResolveLinks: s.cfg.ResolveLinks, FillGaps: !s.cfg.DisableGapFilling,
			BufferSize: s.cfg.BufferSize, BufferBytes: s.cfg.BufferBytes,
			Hooks: []esclient.Hook{streamLog{log, false}},
		})
		if err != nil {
			return nil, err
		}
		return &streamSource{s: sub}, nil
	}
}

// SubscribeInitialize makes the consumer group of a topic if it does not exist, so that messages which are published
// before the first Subscribe are consumed, too, whatever the group's StartFrom. It is not needed otherwise, and does
// nothing in modes without groups. It gives up when for 30 s it has heard of no group that was made: with thousands of
// groups a server takes its time for each, and the logger is told how far it is.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	stream, err := s.stream(topic)
	if err != nil {
		return err
	}
	if !s.begin() {
		return ErrSubscriberClosed
	}
	defer s.subs.Done()
	if s.cfg.Mode != ModePersistent || s.cfg.DisableGroupCreation {
		return nil
	}
	ctx, cancel := s.creation.withStallTimeout(s.ctx)
	defer cancel()
	if err := s.createGroup(ctx, stream); err != nil {
		return fmt.Errorf("eventstore: cannot initialize topic %q: %w", topic, s.orClosed(err))
	}
	return nil
}

// orClosed has an error say that Close has ended the call, if it has.
func (s *Subscriber) orClosed(err error) error {
	if s.ctx.Err() == nil || errors.Is(err, ErrSubscriberClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrSubscriberClosed, err)
}

func (s *Subscriber) stream(topic string) (string, error) {
	stream, err := s.cfg.StreamName(topic)
	if err != nil {
		return "", fmt.Errorf("eventstore: the stream of topic %q: %w", topic, err)
	}
	return stream, nil
}

// begin counts a subscription, for which Close waits. It returns false if the Subscriber is closed.
func (s *Subscriber) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.subs.Add(1)
	return true
}

// goWhileOpen runs f, which must end when closing is closed, unless the Subscriber is being closed, or much runs
// already. It is to be called while a subscription lasts.
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

// maxLateAckWatchers is how many messages that were given back are watched for a late ack.
const maxLateAckWatchers = 100

// maxCloseWait is the longest that Close waits for handlers: one of them may be its caller.
const maxCloseWait = 3 * time.Second

// Close ends all subscriptions as the end of their contexts does, closes their channels, and then the connection if it
// is the Subscriber's own. Where no handler is at work that is at once. Else Close waits for handlers, but no longer
// than 3 s, since a handler may call it: what they say of their messages counts for AckGrace all the same, after which
// the channels and the connection are closed. The channel of a subscription tells when it has ended; a Router waits for
// that. Close may be called more than once and by several goroutines.
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
		return s.closeConnection()
	}
	if first {
		s.log.Info("Subscriber closes when its handlers have finished", watermill.LogFields{
			"ack_grace": s.cfg.AckGrace.String(),
		})
		go func() {
			<-s.idle
			_ = s.closeConnection() // nobody waits for it
		}()
	}
	return nil
}

// finish closes the connection, when all subscriptions have ended. Each caller of Close closes it, and so waits until
// that is done.
func (s *Subscriber) closeConnection() error {
	err := s.conn.close()
	s.mu.Lock()
	logged := s.closeLogged
	s.closeLogged = true
	s.mu.Unlock()
	if !logged {
		s.log.Debug("Subscriber closed", nil)
	}
	return err
}
