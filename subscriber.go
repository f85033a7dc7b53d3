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

	mu     sync.Mutex
	closed bool
	subs   sync.WaitGroup

	closeOnce sync.Once
	closeErr  error
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
	s.trace = !quiet(s.log)
	var err error
	if s.conn, err = connect(config.ConnectionString, config.Client, s.log); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Subscribe delivers the messages of a topic until ctx ends or the Subscriber is closed, and then closes the channel.
// The subscription is live when it returns: what is published from then on is delivered. How, the SubscriberConfig
// says.
//
// The next message is handed out when the one before was acked; a nacked one comes again. When ctx ends, or Close is
// called, the contexts of messages end at once. A message that was handed out can still be acked for
// SubscriberConfig.AckGrace; everything else that this subscriber of a group had received goes back to the server at
// once, and nothing is lost. Lost connections do not show.
//
// The channel is closed early, with an error to the logger, only for what would not pass by waiting: the group or the
// right to read is taken away, the stream is deleted for good, or the server comes back with another log in
// ModeCatchUp, unless StartOver is set. What is so from the beginning is Subscribe's error.
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
		if s.ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ErrSubscriberClosed, err)
		}
		return nil, fmt.Errorf("eventstore: cannot subscribe to topic %q: %w", topic, err)
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
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	src, err := s.source(ctx, topic, stream)
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	return &subscription{
		cfg: &s.cfg, topic: topic, src: src, ctx: ctx, trace: s.trace,
		cancel: func() {
			stop()
			cancel()
		},
		log: s.log.With(watermill.LogFields{"topic": topic, "stream": stream}),
		out: make(chan *message.Message),
	}, nil
}

func (s *Subscriber) source(ctx context.Context, topic, stream string) (source, error) {
	switch s.cfg.Mode {
	case ModePersistent:
		return s.joinGroup(ctx, stream)
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
		})
		return plainSource{sub}, err
	default:
		sub, err := s.conn.client.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{
			ResolveLinks: s.cfg.ResolveLinks, FillGaps: !s.cfg.DisableGapFilling,
			BufferSize: s.cfg.BufferSize, BufferBytes: s.cfg.BufferBytes,
		})
		return plainSource{sub}, err
	}
}

// joinGroup connects to the group, and makes it first if it is missing. In this order a user who may only consume does
// not need the right to make groups.
func (s *Subscriber) joinGroup(ctx context.Context, stream string) (source, error) {
	opts := esclient.PersistentOptions{
		InFlight: s.cfg.InFlight, AckDelay: s.cfg.AckDelay, RememberAcked: s.cfg.rememberAcked(),
	}
	if !s.cfg.DisableGroupCreation {
		opts.Recreate = s.cfg.groupSettings()
	}
	for {
		p, err := s.conn.client.ConnectPersistent(ctx, stream, s.cfg.ConsumerGroup, opts)
		if err == nil {
			return groupSource{p}, nil
		}
		if opts.Recreate == nil || !errors.Is(err, esclient.ErrGroupNotFound) {
			return nil, err
		}
		if err := s.createGroup(ctx, stream); err != nil {
			return nil, err
		}
	}
}

func (s *Subscriber) createGroup(ctx context.Context, stream string) error {
	err := s.conn.client.CreatePersistent(ctx, stream, s.cfg.ConsumerGroup, *s.cfg.groupSettings())
	if errors.Is(err, esclient.ErrGroupExists) {
		return nil
	}
	return err
}

// initializeTimeout bounds SubscribeInitialize, to which Watermill gives no context.
const initializeTimeout = 30 * time.Second

// SubscribeInitialize makes the consumer group of a topic if it does not exist, so that messages which are published
// before the first Subscribe are consumed, too, whatever the group's StartFrom. It is not needed otherwise, and does
// nothing in modes without groups.
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
	ctx, cancel := context.WithTimeout(s.ctx, initializeTimeout)
	defer cancel()
	if err := s.createGroup(ctx, stream); err != nil {
		return fmt.Errorf("eventstore: cannot initialize topic %q: %w", topic, err)
	}
	return nil
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

// Close ends all subscriptions as the end of their contexts does, closes their channels, and then the connection if it
// is the Subscriber's own. It waits for messages that were handed out at most for AckGrace. It may be called more than
// once and by several goroutines, and returns when all is done.
func (s *Subscriber) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		s.cancel()
		s.subs.Wait()
		s.closeErr = s.conn.close()
		s.log.Debug("Subscriber closed", nil)
	})
	return s.closeErr
}
