package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// startServer stands for an EventStore that runs elsewhere.
func startServer() (url string, stop func()) {
	srv, err := estest.Start()
	if err != nil {
		log.Fatal(err)
	}
	return srv.ConnectionString(), func() { srv.Close() }
}

// Publish a message and consume it with a group.
func Example() {
	url, stop := startServer()
	defer stop()

	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{ConnectionString: url}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		ConnectionString: url, ConsumerGroup: "invoices",
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer subscriber.Close()

	messages, err := subscriber.Subscribe(context.Background(), "orders")
	if err != nil {
		log.Fatal(err)
	}
	if err := publisher.Publish("orders", message.NewMessage(watermill.NewUUID(), []byte(`{"order":1}`))); err != nil {
		log.Fatal(err)
	}
	msg := <-messages
	fmt.Printf("%s\n", msg.Payload)
	msg.Ack()
	// Output: {"order":1}
}

// Publish each aggregate to a stream of its own, with an expected version that detects concurrent writers.
func ExampleWithExpectedVersion() {
	url, stop := startServer()
	defer stop()
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{
		ConnectionString: url,
		StreamName: func(topic string, msg *message.Message) (string, error) {
			return topic + "-" + msg.Metadata.Get("order"), nil
		},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()

	for range 2 {
		msg := message.NewMessage(watermill.NewUUID(), []byte("placed"))
		msg.Metadata.Set("order", "17")
		msg.SetContext(eventstore.WithExpectedVersion(context.Background(), esclient.NoStream))
		err := publisher.Publish("order", msg)
		fmt.Println(errors.Is(err, esclient.ErrWrongExpectedVersion), errors.Unwrap(err))
	}
	// Output:
	// false <nil>
	// true esclient: append "order-17": wrong expected version of stream "order-17": expected no stream, it is at 0
}

// Replay from a checkpoint that the application stores.
func ExampleCheckpointFromCtx() {
	client, stop := openWithLetters("a", "b", "c")
	defer stop()
	checkpoint := esclient.CheckpointAtNumber(0) // that of the last message that was handled
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: client,
		Mode:   eventstore.ModeCatchUp,
		LoadStart: func(context.Context, string) (esclient.Start, error) {
			return checkpoint.Start(), nil
		},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(context.Background(), "letters")
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		msg := <-messages
		checkpoint, _ = eventstore.CheckpointFromCtx(msg.Context())
		fmt.Printf("%v: %s\n", checkpoint, msg.Payload)
		msg.Ack()
	}
	// Output:
	// 1: b
	// 2: c
}

// Park a message that cannot be processed, with a reason.
func ExampleNackWith() {
	url, stop := startServer()
	defer stop()
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{ConnectionString: url}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		ConnectionString: url, ConsumerGroup: "invoices",
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(context.Background(), "orders")
	if err != nil {
		log.Fatal(err)
	}
	for _, payload := range []string{"nonsense", "order 1"} {
		if err := publisher.Publish("orders", message.NewMessage(watermill.NewUUID(), []byte(payload))); err != nil {
			log.Fatal(err)
		}
	}
	for range 2 {
		msg := <-messages
		if string(msg.Payload) == "nonsense" {
			eventstore.NackWith(msg, eventstore.ActionPark, "this is no order")
			continue
		}
		fmt.Printf("%s\n", msg.Payload)
		msg.Ack()
	}
	// Output: order 1
}

// Read a category without projections, and serve the read model once it has all that was there.
func ExampleSubscriberConfig_onCaughtUp() {
	url, stop := startServer()
	defer stop()
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{ConnectionString: url}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
	for _, stream := range []string{"order-1", "customer-1", "order-2"} {
		if err := publisher.Publish(stream, message.NewMessage(watermill.NewUUID(), []byte(stream))); err != nil {
			log.Fatal(err)
		}
	}
	ready := make(chan struct{}, 1)
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		ConnectionString: url, Mode: eventstore.ModeCatchUp,
		Filter: &esclient.Filter{StreamPrefixes: []string{"order-"}},
		OnCaughtUp: func(string) {
			select {
			case ready <- struct{}{}:
			default: // it was ready before
			}
		},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(context.Background(), esclient.AllStream)
	if err != nil {
		log.Fatal(err)
	}
	orders := 0
	for {
		select {
		case msg := <-messages:
			orders++
			msg.Ack()
		case <-ready:
			fmt.Printf("serving %d orders\n", orders)
			return
		}
	}
	// Output: serving 2 orders
}
