package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/metrics"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// These are the consumer groups.
const (
	billers = "billing"
	packers = "packing"
)

// packingTime is how long the server waits for the packer. When that takes a break, the client gives the orders that
// wait back to the server.
const packingTime = 200 * time.Millisecond

// shop publishes orders and bills them. All that it does is measured by its client.
type shop struct {
	client   *esclient.Client
	topic    string
	registry *prometheus.Registry
	server   *estest.Server // nil if it is not the embedded one
}

// open sells until ctx ends.
func (s *shop) open(ctx context.Context) error {
	log := watermill.NopLogger{}
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: s.client}, log)
	if err != nil {
		return err
	}
	defer publisher.Close()
	router, err := s.billing(log)
	if err != nil {
		return err
	}
	if err := s.packing(router, log); err != nil {
		return err
	}
	var working sync.WaitGroup
	defer working.Wait()
	defer router.Close()
	ran := make(chan error, 1)
	working.Go(func() { ran <- router.Run(context.WithoutCancel(ctx)) })
	select {
	case <-router.Running():
	case err := <-ran:
		return err
	}
	if err := s.sell(ctx, publisher); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// billing returns a router with the handler of orders. Every tenth order cannot be billed and is parked.
func (s *shop) billing(log watermill.LoggerAdapter) (*message.Router, error) {
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: s.client, ConsumerGroup: billers, MaxNacks: 1, NackAction: eventstore.ActionPark,
	}, log)
	if err != nil {
		return nil, err
	}
	router, err := message.NewRouter(message.RouterConfig{}, log)
	if err != nil {
		return nil, err
	}
	metrics.NewPrometheusMetricsBuilder(s.registry, "watermill", "").AddPrometheusRouterMetrics(router)
	billed := 0
	router.AddConsumerHandler(billers, s.topic, subscriber, func(*message.Message) error {
		if billed++; billed%10 == 0 {
			return errors.New("the customer has moved")
		}
		return nil
	})
	return router, nil
}

// packing adds the handler that packs orders. It takes a break before every fortieth.
func (s *shop) packing(router *message.Router, log watermill.LoggerAdapter) error {
	settings := eventstore.DefaultGroupSettings()
	settings.MessageTimeout = packingTime
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: s.client, ConsumerGroup: packers, GroupSettings: &settings,
	}, log)
	if err != nil {
		return err
	}
	packed := 0
	router.AddConsumerHandler(packers, s.topic, subscriber, func(msg *message.Message) error {
		if packed++; packed%40 == 0 {
			select {
			case <-time.After(2 * packingTime):
			case <-msg.Context().Done():
			}
		}
		return nil
	})
	return nil
}

// sell publishes orders, and has somebody look at the first one now and then.
func (s *shop) sell(ctx context.Context, publisher message.Publisher) error {
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for n := 1; ; n++ {
		msg := message.NewMessage(watermill.NewUUID(), []byte(`{"article":"tea"}`))
		msg.SetContext(ctx)
		if err := publisher.Publish(s.topic, msg); err != nil {
			return err
		}
		if n%20 == 0 {
			if err := s.audit(ctx); err != nil {
				return err
			}
		}
		if n%50 == 0 && s.server != nil {
			if err := s.outage(ctx); err != nil {
				return err
			}
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// outage has the server hang, and lose its connections while an order is being read. The client reads it again.
func (s *shop) outage(ctx context.Context) error {
	s.server.Pause()
	read := make(chan error, 1)
	go func() {
		_, err := s.client.ReadEvent(ctx, s.topic, 0, esclient.ReadEventOptions{})
		read <- err
	}()
	time.Sleep(50 * time.Millisecond)
	s.server.DropConnections()
	s.server.Resume()
	return <-read
}

// audit reads the first orders by a subscription of its own, and an order that does not exist.
func (s *shop) audit(ctx context.Context) error {
	orders, err := s.client.SubscribeCatchUp(ctx, s.topic, esclient.CatchUpOptions{})
	if err != nil {
		return err
	}
	defer orders.Stop()
	for range 5 {
		if _, err := orders.Next(ctx); err != nil {
			return err
		}
	}
	_, err = s.client.ReadEvent(ctx, s.topic, 1_000_000, esclient.ReadEventOptions{})
	if errors.Is(err, esclient.ErrEventNotFound) {
		return nil
	}
	return err
}
