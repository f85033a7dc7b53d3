package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

// openPubSub makes the Publisher and the Subscriber of a contender for the topic of a job.
type openPubSub func(ctx context.Context, j job, m *meter) (message.Publisher, message.Subscriber, error)

// overPubSub makes a contender of Watermill's interfaces.
func overPubSub(open openPubSub) contender {
	return func(ctx context.Context, j job, m *meter) (r result, err error) {
		if j.Work == churning { // which opens Subscribers itself
			return workChurn(ctx, j, m)
		}
		pub, sub, err := open(ctx, j, m)
		if err != nil {
			return result{}, fmt.Errorf("connecting: %w", err)
		}
		closePub := sync.OnceValue(pub.Close)
		defer func() { err = errors.Join(err, closePub(), sub.Close()) }()
		switch j.Work {
		case publishing:
			return workPublish(pub, j, m)
		case joining:
			return workJoin(ctx, sub, j, m)
		case sharing:
			return workShare(ctx, sub, j, m)
		case subscribing, routing, handling:
			if err := publishAll(pub, j); err != nil {
				return result{}, fmt.Errorf("publishing the messages to receive: %w", err)
			}
			// The buffers of a Publisher would make the heap larger, and so collections of garbage rarer.
			if any(pub) != any(sub) {
				if err := closePub(); err != nil {
					return result{}, err
				}
			}
			if j.Work != subscribing {
				return workRoute(ctx, sub, j, m)
			}
			return workSubscribe(ctx, sub, j, m)
		}
		return result{}, fmt.Errorf("%s cannot %s", j.Contender, j.Work)
	}
}

// openOwn makes this project's Publisher and Subscriber on one connection.
func openOwn(mode eventstore.Mode) openPubSub {
	return func(ctx context.Context, j job, m *meter) (message.Publisher, message.Subscriber, error) {
		c, err := openCounted(ctx, j.URL, m)
		if err != nil {
			return nil, nil, err
		}
		cfg := eventstore.SubscriberConfig{Client: c, Mode: mode}
		switch {
		case j.Contender == ownDefault:
			cfg.ConsumerGroup = j.Group
		case mode == eventstore.ModePersistent:
			settings := eventstore.DefaultGroupSettings()
			settings.ReadBatchSize, settings.BufferSize, settings.LiveBufferSize = groupPage, groupBuffer, groupBuffer
			cfg.ConsumerGroup, cfg.GroupSettings, cfg.InFlight = j.Group, &settings, groupInFlight(j.Size)
		}
		if j.Contender == ownLanes {
			cfg.Concurrency = lanes
			cfg.Key = func(msg *message.Message) string { return msg.UUID[:2] } // hexadecimal and random: 256 keys
		}
		pub, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: c}, nil)
		if err != nil {
			return nil, nil, err
		}
		sub, err := eventstore.NewSubscriber(cfg, nil)
		return pub, closing{sub, c.Close}, err
	}
}

// closing closes the shared resource of the Publisher and the Subscriber after the Subscriber. A Router closes its
// Subscriber as well, so last is called twice.
type closing struct {
	message.Subscriber
	last func() error
}

func (c closing) Close() error {
	return errors.Join(c.Subscriber.Close(), c.last())
}

// openGoChannel opens Watermill's Pub/Sub within a process. It keeps messages only if the job receives them.
func openGoChannel(_ context.Context, j job, m *meter) (message.Publisher, message.Subscriber, error) {
	m.unwatched = true
	c := gochannel.NewGoChannel(gochannel.Config{Persistent: j.Work != publishing}, nil)
	return c, c, nil
}

const (
	lanes       = 64  // messages of ownLanes that are handled at a time
	pubSubBatch = 100 // messages for each Publish, except in measurements of Publish
	pubSubCalls = 32  // Publish calls at a time, with the same exception
)

// workPublish publishes one message at a time in each of so many goroutines.
func workPublish(pub message.Publisher, j job, m *meter) (result, error) {
	data, topics := j.payload(), j.streams()
	return workCalls(j, m, func(n int) error {
		return pub.Publish(topics[n%len(topics)], message.NewMessage(watermill.NewUUID(), data))
	})
}

// publishAll publishes the messages to receive, to one topic after the other, from several goroutines: some contenders
// wait for the server after each message.
func publishAll(pub message.Publisher, j job) error {
	data, left := j.payload(), j.total()/j.Streams
	for _, topic := range j.streams() {
		batches := make(chan int, left/pubSubBatch+1)
		for rest := left; rest > 0; rest -= pubSubBatch {
			batches <- min(rest, pubSubBatch)
		}
		close(batches)
		if err := inParallel(min(len(batches), pubSubCalls), func(int) error {
			for n := range batches {
				batch := make([]*message.Message, n)
				for i := range batch {
					batch[i] = message.NewMessage(watermill.NewUUID(), data)
				}
				if err := pub.Publish(topic, batch...); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

var errChannelClosed = errors.New("the channel of messages was closed")

// workSubscribe acks every message, in one goroutine for each topic.
func workSubscribe(ctx context.Context, sub message.Subscriber, j job, m *meter) (result, error) {
	seen, all := m.counter(j)
	ended := make(chan struct{}, j.Streams)
	m.settle()
	for _, topic := range j.streams() {
		messages, err := sub.Subscribe(ctx, topic)
		if err != nil {
			return result{}, err
		}
		go func() {
			for msg := range messages {
				msg.Ack()
				seen()
			}
			ended <- struct{}{}
		}()
	}
	select {
	case <-all:
		return m.stop(), nil
	case <-ended:
		return result{}, errChannelClosed
	case <-ctx.Done():
		return result{}, context.Cause(ctx)
	}
}

// workRoute acks every message in a Router, after the handler's time.
func workRoute(ctx context.Context, sub message.Subscriber, j job, m *meter) (result, error) {
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return result{}, err
	}
	seen, all := m.counter(j)
	router.AddConsumerHandler("benchmark", j.Stream, sub, func(*message.Message) error {
		if j.Handler > 0 {
			time.Sleep(j.Handler)
		}
		seen()
		return nil
	})
	ended := make(chan error, 1)
	m.settle()
	go func() { ended <- router.Run(ctx) }()
	select {
	case <-all:
		r := m.stop()
		return r, errors.Join(router.Close(), <-ended)
	case err := <-ended:
		return result{}, errors.Join(errChannelClosed, err)
	case <-ctx.Done():
		return result{}, context.Cause(ctx)
	}
}
