package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// exampleOrders is a client of an EventStore that has a stream of three events.
func exampleOrders() (c *esclient.Client, closeAll func()) {
	c, closeAll = exampleClient()
	_, err := c.Append(context.Background(), "order-1", esclient.NoStream,
		esclient.EventData{Type: "placed", Data: []byte(`{"total":12}`), ContentType: esclient.ContentTypeJSON},
		esclient.EventData{Type: "paid", Data: []byte(`{"by":"card"}`), ContentType: esclient.ContentTypeJSON},
		esclient.EventData{Type: "shipped", Data: []byte(`{}`), ContentType: esclient.ContentTypeJSON})
	if err != nil {
		log.Fatal(err)
	}
	return c, closeAll
}

// One event is read, by its number and as the last one.
func ExampleClient_ReadEvent() {
	client, closeAll := exampleOrders()
	defer closeAll()
	ctx := context.Background()

	for _, number := range []int64{0, esclient.LastEvent, 7} {
		event, err := client.ReadEvent(ctx, "order-1", number, esclient.ReadEventOptions{})
		switch {
		case errors.Is(err, esclient.ErrEventNotFound):
			fmt.Println("there is no event", number)
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println(event.Number, event.Type)
		}
	}
	// Output:
	// 0 placed
	// 2 shipped
	// there is no event 7
}

// A stream is read from its beginning.
func ExampleClient_ReadStream() {
	client, closeAll := exampleOrders()
	defer closeAll()

	for event, err := range client.ReadStream(context.Background(), "order-1", esclient.ReadOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s %s\n", event.Number, event.Type, event.Data)
	}
	// Output:
	// 0 placed {"total":12}
	// 1 paid {"by":"card"}
	// 2 shipped {}
}

// The latest event of a type is searched for from the end. Leaving the loop ends the read.
func ExampleClient_ReadStream_backward() {
	client, closeAll := exampleOrders()
	defer closeAll()

	for event, err := range client.ReadStream(context.Background(), "order-1", esclient.ReadOptions{Backward: true}) {
		if err != nil {
			log.Fatal(err)
		}
		if event.Type == "paid" {
			fmt.Println("paid in event", event.Number)
			break
		}
	}
	// Output: paid in event 1
}

// Read a stream page by page, with control over each request.
func ExampleClient_ReadStreamPage() {
	client, closeAll := exampleOrders()
	defer closeAll()

	opts := esclient.ReadOptions{PageSize: 2}
	for {
		page, err := client.ReadStreamPage(context.Background(), "order-1", opts)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(page.Events), "events, the last of the stream is", page.LastEventNumber)
		if page.EndOfStream {
			break
		}
		opts.From = page.Next
	}
	// Output:
	// 2 events, the last of the stream is 2
	// 1 events, the last of the stream is 2
}

// The log of all streams is read backward: what happened last?
func ExampleClient_ReadAll() {
	client, closeAll := exampleOrders()
	defer closeAll()

	opts := esclient.ReadAllOptions{Backward: true, MaxCount: 2}
	for event, err := range client.ReadAll(context.Background(), opts) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Stream, event.Number, event.Type)
	}
	// Output:
	// order-1 2 shipped
	// order-1 1 paid
}

// A page of the log is read behind a position that is known.
func ExampleClient_ReadAllPage() {
	client, closeAll := exampleOrders()
	defer closeAll()
	ctx := context.Background()
	written, err := client.Append(ctx, "order-2", esclient.NoStream, esclient.EventData{Type: "placed"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = client.Append(ctx, "order-1", esclient.StreamExists, esclient.EventData{Type: "delivered"})
	if err != nil {
		log.Fatal(err)
	}

	page, err := client.ReadAllPage(ctx, esclient.ReadAllOptions{From: esclient.AfterPosition(written.Position)})
	if err != nil {
		log.Fatal(err)
	}
	for _, event := range page.Events {
		fmt.Println(event.Stream, event.Type)
	}
	// Output: order-1 delivered
}

// Read from the leader to see the latest write, even if the configuration allows a follower.
func ExampleWithRequireLeader() {
	client, closeAll := exampleOrders()
	defer closeAll()

	ctx := esclient.WithRequireLeader(context.Background(), true)
	event, err := client.ReadEvent(ctx, "order-1", esclient.LastEvent, esclient.ReadEventOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(event.Type)
	// Output: shipped
}

// The data of an event is decoded.
func ExampleEvent_JSON() {
	client, closeAll := exampleOrders()
	defer closeAll()

	event, err := client.ReadEvent(context.Background(), "order-1", 0, esclient.ReadEventOptions{})
	if err != nil {
		log.Fatal(err)
	}
	var placed struct{ Total int }
	if err := event.JSON(&placed); err != nil {
		log.Fatal(err)
	}
	fmt.Println(placed.Total)
	// Output: 12
}

// An event that is kept for long is copied, so that the page it came in can go.
func ExampleEvent_Clone() {
	client, closeAll := exampleOrders()
	defer closeAll()

	var placed *esclient.Event
	for event, err := range client.ReadStream(context.Background(), "order-1", esclient.ReadOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		if event.Type == "placed" {
			placed = event.Clone()
		}
	}
	fmt.Printf("%s\n", placed.Data)
	// Output: {"total":12}
}

// exampleFiltering stands for a client of an EventStore from 20.6 on, which knows filters.
func exampleFiltering() (c *esclient.Client, closeAll func()) {
	srv, err := estest.Start(estest.WithPersona(estest.Persona2310))
	if err != nil {
		log.Fatal(err)
	}
	c, err = esclient.Open(srv.ConnectionString())
	if err != nil {
		log.Fatal(err)
	}
	for n, typ := range []string{"placed", "paid", "placed", "shipped"} {
		stream := fmt.Sprintf("order-%d", n%2)
		_, err := c.Append(context.Background(), stream, esclient.Any, esclient.EventData{Type: typ})
		if err != nil {
			log.Fatal(err)
		}
	}
	return c, func() {
		c.Close()
		srv.Close()
	}
}

// The server picks events of all streams by their type.
func ExampleFilter() {
	client, closeAll := exampleFiltering()
	defer closeAll()

	opts := esclient.ReadAllOptions{Filter: &esclient.Filter{TypePrefixes: []string{"placed", "shipped"}}}
	for event, err := range client.ReadAll(context.Background(), opts) {
		if errors.Is(err, esclient.ErrNotSupported) {
			log.Fatal("filters need a server from 20.6 on")
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Stream, event.Number, event.Type)
	}
	// Output:
	// order-0 0 placed
	// order-0 1 placed
	// order-1 1 shipped
}

// A subscription goes on where another has stopped. The checkpoint covers the events before the latest call of Next.
func ExampleSubscription_Checkpoint() {
	client, closeAll := exampleFiltering()
	defer closeAll()
	ctx := context.Background()
	filter := &esclient.Filter{StreamPrefixes: []string{"order-"}}

	first, err := client.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{Filter: filter})
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		event, err := first.Next(ctx)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Stream, event.Type)
	}
	first.Stop() // before it has dealt with the third event
	kept := first.Checkpoint()

	second, err := client.SubscribeCatchUp(ctx, esclient.AllStream,
		esclient.CatchUpOptions{Start: kept.Start(), Filter: filter})
	if err != nil {
		log.Fatal(err)
	}
	defer second.Stop()
	event, err := second.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("again", event.Stream, event.Type)
	// Output:
	// order-0 placed
	// order-1 paid
	// order-0 placed
	// again order-0 placed
}
