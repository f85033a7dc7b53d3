package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// write appends an event of each type to a stream.
func write(c *esclient.Client, stream string, types ...string) {
	for _, eventType := range types {
		event := esclient.EventData{Type: eventType}
		if _, err := c.Append(context.Background(), stream, esclient.Any, event); err != nil {
			log.Fatal(err)
		}
	}
}

// makeGroup makes a group that begins with the first event of a stream.
func makeGroup(c *esclient.Client, stream, group string) {
	settings := esclient.DefaultPersistentSettings()
	settings.StartFrom = 0
	if err := c.CreatePersistent(context.Background(), stream, group, settings); err != nil {
		log.Fatal(err)
	}
}

// Receive the events that are written from now on.
func ExampleClient_SubscribeVolatile() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	write(client, "orders", "placed")
	subscription, err := client.SubscribeVolatile(ctx, "orders", esclient.VolatileOptions{FillGaps: true})
	if err != nil {
		log.Fatal(err)
	}
	defer subscription.Stop()
	write(client, "orders", "paid")

	event, err := subscription.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(event.Number, event.Type)
	// Output: 1 paid
}

// Go on after the last processed event: first with the existing events, then with new ones.
func ExampleClient_SubscribeCatchUp() {
	client, closeAll := exampleOrders()
	defer closeAll()
	ctx := context.Background()

	checkpoint := int64(0) // as it was stored the last time
	subscription, err := client.SubscribeCatchUp(ctx, "order-1", esclient.CatchUpOptions{
		Start: esclient.AfterNumber(checkpoint),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer subscription.Stop()
	for event, err := range subscription.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		checkpoint = event.Original().Number // to be stored together with the changes for the event
		fmt.Println(checkpoint, event.Type)
		if event.Type == "shipped" {
			break
		}
	}
	// Output:
	// 1 paid
	// 2 shipped
}

// A view of the stream is complete when the subscription has caught up.
func ExampleSubscription_CaughtUp() {
	client, closeAll := exampleOrders()
	defer closeAll()
	ctx := context.Background()

	subscription, err := client.SubscribeCatchUp(ctx, "order-1", esclient.CatchUpOptions{})
	if err != nil {
		log.Fatal(err)
	}
	events := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range subscription.All(ctx) {
			if err != nil {
				log.Print(err)
				return
			}
			events++
		}
	}()
	<-subscription.CaughtUp()
	subscription.Stop()
	<-done
	fmt.Println(events, "events")
	// Output: 3 events
}

// A subscription that is drained delivers the events that it has received, and then ends.
func ExampleSubscription_Drain() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	subscription, err := client.SubscribeVolatile(ctx, "orders", esclient.VolatileOptions{})
	if err != nil {
		log.Fatal(err)
	}
	write(client, "orders", "placed", "paid")
	if _, err := client.Ping(ctx); err != nil { // its reply comes behind the events
		log.Fatal(err)
	}
	subscription.Drain()
	write(client, "orders", "shipped")
	for event, err := range subscription.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Type)
	}
	fmt.Println(errors.Is(subscription.Err(), esclient.ErrSubscriptionStopped))
	// Output:
	// placed
	// paid
	// true
}

// A group of consumers shares the events of a stream. The server knows how far they are, by their acks.
func ExampleClient_ConnectPersistent() {
	client, closeAll := exampleOrders()
	defer closeAll()
	ctx := context.Background()

	settings := esclient.DefaultPersistentSettings()
	settings.StartFrom = 0
	err := client.CreatePersistent(ctx, "order-1", "invoices", settings)
	if err != nil && !errors.Is(err, esclient.ErrGroupExists) {
		log.Fatal(err)
	}
	consumer, err := client.ConnectPersistent(ctx, "order-1", "invoices", esclient.PersistentOptions{InFlight: 20})
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range consumer.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Number, event.Type)
		if err := consumer.Ack(event); err != nil {
			log.Fatal(err)
		}
		if event.Type == "shipped" {
			break
		}
	}
	if err := consumer.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 0 placed
	// 1 paid
	// 2 shipped
}

// An event that cannot be dealt with is tried again, and then parked.
func ExamplePersistentSubscription_Nack() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	makeGroup(client, "orders", "invoices")
	write(client, "orders", "placed")
	consumer, err := client.ConnectPersistent(ctx, "orders", "invoices", esclient.PersistentOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		event, err := consumer.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("retry count", event.RetryCount)
		action := esclient.NackRetry
		if event.RetryCount == 2 {
			action = esclient.NackPark
		}
		if err := consumer.Nack(action, "no customer", event); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// retry count 0
	// retry count 1
	// retry count 2
}

// Events that are not acked when a consumer stops go to another one at once.
func ExamplePersistentSubscription_Stop() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	makeGroup(client, "orders", "invoices")
	write(client, "orders", "placed")
	for consumerNumber := range 2 {
		consumer, err := client.ConnectPersistent(ctx, "orders", "invoices", esclient.PersistentOptions{})
		if err != nil {
			log.Fatal(err)
		}
		event, err := consumer.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("consumer", consumerNumber, "has", event.Type)
		if err := consumer.Stop(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// consumer 0 has placed
	// consumer 1 has placed
}

// A consumer that is drained processes the received events, and ends when all are settled.
func ExamplePersistentSubscription_Drain() {
	client, closeAll := exampleOrders()
	defer closeAll()
	ctx := context.Background()

	makeGroup(client, "order-1", "invoices")
	consumer, err := client.ConnectPersistent(ctx, "order-1", "invoices", esclient.PersistentOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := client.Ping(ctx); err != nil { // its reply comes behind the events
		log.Fatal(err)
	}
	consumer.Drain()
	var events []*esclient.Event
	for event, err := range consumer.All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		events = append(events, event)
	}
	if err := consumer.Ack(events...); err != nil {
		log.Fatal(err)
	}
	<-consumer.Closed()
	fmt.Println(len(events), "events")
	// Output: 3 events
}

// The settings of a group can be changed. Its subscribers come back by themselves.
func ExampleClient_UpdatePersistent() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	makeGroup(client, "orders", "invoices")
	settings := esclient.DefaultPersistentSettings()
	settings.MessageTimeout = 5 * time.Minute
	fmt.Println(client.UpdatePersistent(ctx, "orders", "invoices", settings))
	settings.ReadBatchSize = settings.BufferSize // with which the server would never read
	err := client.UpdatePersistent(ctx, "orders", "invoices", settings)
	var wrong *esclient.ArgumentError
	if errors.As(err, &wrong) {
		fmt.Println(wrong.Argument)
	}
	// Output:
	// <nil>
	// PersistentSettings.ReadBatchSize
}

// The settings of a group decide what happens to events without an ack.
func ExampleClient_GroupSettings() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	makeGroup(client, "orders", "invoices")
	settings, err := client.GroupSettings(ctx, "orders", "invoices")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("again after", settings.MessageTimeout, "and parked after", settings.MaxRetryCount, "retries")
	_, err = client.GroupSettings(ctx, "orders", "deliveries")
	fmt.Println("missing:", errors.Is(err, esclient.ErrGroupNotFound))
	// Output:
	// again after 30s and parked after 10 retries
	// missing: true
}

// A group that is deleted is gone with its checkpoint and its parked events.
func ExampleClient_DeletePersistent() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()

	makeGroup(client, "orders", "invoices")
	fmt.Println(client.DeletePersistent(ctx, "orders", "invoices"))
	err := client.DeletePersistent(ctx, "orders", "invoices")
	fmt.Println(errors.Is(err, esclient.ErrGroupNotFound))
	// Output:
	// <nil>
	// true
}

// meter prints the calls of hooks.
type meter struct{}

func (meter) OnOperationEnded(_ context.Context, i esclient.OperationInfo) {
	fmt.Println(i.Command, i.Stream, "retries:", i.Retries, "error:", i.Err)
}

func (meter) OnDelivered(i esclient.SubscriptionInfo) {
	fmt.Println("delivered", i.Event.Type, "lag:", i.Lag)
}

// A hook implements the interfaces of the calls that it needs.
func ExampleHook() {
	client, closeAll := exampleClientWith(func(cfg *esclient.Config) { cfg.Hooks = []esclient.Hook{meter{}} })
	defer closeAll()
	ctx := context.Background()

	write(client, "orders", "placed", "paid")
	subscription, err := client.SubscribeCatchUp(ctx, "orders", esclient.CatchUpOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer subscription.Stop()
	for range 2 {
		if _, err := subscription.Next(ctx); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// WriteEvents orders retries: 0 error: <nil>
	// WriteEvents orders retries: 0 error: <nil>
	// ReadStreamEventsForward orders retries: 0 error: <nil>
	// delivered placed lag: 1
	// delivered paid lag: 0
}

// What a group has given up can be looked at.
func ExampleClient_ReadParked() {
	client, closeAll := exampleClient()
	defer closeAll()
	ctx := context.Background()
	makeGroup(client, "orders", "invoices")
	write(client, "orders", "placed", "paid")
	consumer, err := client.ConnectPersistent(ctx, "orders", "invoices", esclient.PersistentOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		event, err := consumer.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if err := consumer.Nack(esclient.NackPark, "no customer", event); err != nil {
			log.Fatal(err)
		}
	}
	if _, err := client.Ping(ctx); err != nil { // its reply tells that the nacks have arrived
		log.Fatal(err)
	}

	for parked, err := range client.ReadParked(ctx, "orders", "invoices") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s: %q\n", parked.Number, parked.Event.Type, parked.Reason)
	}
	// Output:
	// 0 placed: "Client explicitly NAK'ed message.\nno customer"
	// 1 paid: "Client explicitly NAK'ed message.\nno customer"
}
