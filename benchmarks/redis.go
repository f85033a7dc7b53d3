package main

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// openRedis opens Watermill's Pub/Sub for Redis streams at its defaults, with a consumer group. Redis keeps the stream
// in memory.
func openRedis(_ context.Context, j job, m *meter) (message.Publisher, message.Subscriber, error) {
	dial := func() *redis.Client { // each of the two closes its own
		return redis.NewClient(&redis.Options{Addr: strings.TrimPrefix(j.URL, "redis://"), Dialer: m.dial})
	}
	pub, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: dial()}, watermill.NopLogger{})
	if err != nil {
		return nil, nil, err
	}
	sub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
		Client: dial(), ConsumerGroup: j.Group,
	}, watermill.NopLogger{})
	return pub, closing{sub, sync.OnceValue(func() error {
		c := dial() // the memory of the stream is for the next contender
		return errors.Join(c.Del(context.Background(), j.Stream).Err(), c.Close())
	})}, err
}
