package eventstore_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// openWithLetters returns a client of a server whose stream letters has a message for each payload.
func openWithLetters(payloads ...string) (client *esclient.Client, stop func()) {
	url, stopServer := startServer()
	client, err := esclient.Open(url)
	if err != nil {
		log.Fatal(err)
	}
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: client}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
	for _, payload := range payloads {
		if err := publisher.Publish("letters", message.NewMessage(watermill.NewUUID(), []byte(payload))); err != nil {
			log.Fatal(err)
		}
	}
	return client, func() {
		client.Close()
		stopServer()
	}
}

// handleTwo hands out two messages of a read model, and ends.
func handleTwo(client *esclient.Client, store eventstore.Checkpoints) {
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		Client: client, Mode: eventstore.ModeCatchUp, SubscriberName: "readers", Checkpoints: store,
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	messages, err := subscriber.Subscribe(context.Background(), "letters")
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		msg := <-messages
		fmt.Printf("%s\n", msg.Payload)
		msg.Ack()
	}
	if err := subscriber.Close(); err != nil {
		log.Fatal(err)
	}
}

// A read model continues at the position at which its process ended.
func ExampleNewStreamCheckpoints() {
	client, stop := openWithLetters("a", "b", "c", "d")
	defer stop()
	for range 2 { // two runs of the program
		store, err := eventstore.NewStreamCheckpoints(client, "")
		if err != nil {
			log.Fatal(err)
		}
		handleTwo(client, store)
	}
	// Output:
	// a
	// b
	// c
	// d
}

// The checkpoint is in a file.
func ExampleNewFileCheckpoints() {
	client, stop := openWithLetters("a", "b", "c", "d")
	defer stop()
	dir, err := os.MkdirTemp("", "checkpoints")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for range 2 { // two runs of the program
		store, err := eventstore.NewFileCheckpoints(dir)
		if err != nil {
			log.Fatal(err)
		}
		handleTwo(client, store)
		if err := store.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// a
	// b
	// c
	// d
}
