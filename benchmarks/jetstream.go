package main

import (
	"context"
	"net"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	natsgo "github.com/nats-io/nats.go"
)

// openJetStream opens Watermill's Pub/Sub for NATS with one JetStream stream in memory, which a durable queue group
// consumes. All settings are the defaults, but for AckAsync: without it the Subscriber waits for the server after each
// message.
func openJetStream(ctx context.Context, j job, m *meter) (message.Publisher, message.Subscriber, error) {
	options := []natsgo.Option{
		natsgo.SetCustomDialer(natsDialer{ctx, m}),
		natsgo.DisconnectErrHandler(func(_ *natsgo.Conn, err error) {
			if err != nil {
				m.drops.Add(1)
			}
		}),
	}
	nc, err := natsgo.Connect(j.URL, options...)
	if err != nil {
		return nil, nil, err
	}
	js, err := nc.JetStream()
	if err != nil {
		return nil, nil, err
	}
	if _, err := js.AddStream(&natsgo.StreamConfig{
		Name: j.Stream, Subjects: []string{j.Stream}, Storage: natsgo.MemoryStorage,
	}, natsgo.Context(ctx)); err != nil {
		return nil, nil, err
	}
	pub, err := nats.NewPublisher(nats.PublisherConfig{URL: j.URL, NatsOptions: options}, watermill.NopLogger{})
	if err != nil {
		return nil, nil, err
	}
	sub, err := nats.NewSubscriber(nats.SubscriberConfig{
		URL: j.URL, NatsOptions: options, QueueGroupPrefix: j.Group,
		JetStream: nats.JetStreamConfig{DurablePrefix: j.Group, AckAsync: true},
	}, watermill.NopLogger{})
	return pub, closing{sub, sync.OnceValue(func() error {
		defer nc.Close()
		return js.DeleteStream(j.Stream) // gives its memory back
	})}, err
}

// natsDialer counts the write calls.
type natsDialer struct {
	ctx context.Context // the end of the connection's owner
	m   *meter
}

func (d natsDialer) Dial(network, address string) (net.Conn, error) {
	return d.m.dial(d.ctx, network, address)
}
