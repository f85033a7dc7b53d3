// Command quickstart publishes messages through Watermill to EventStore and consumes them again: by the two members of
// a consumer group, which share them, and by a fan-out subscriber, which gets them all.
//
//	go -C _examples/quickstart run .                                                    on an embedded server
//	EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 go -C _examples/quickstart run .  on a real one
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

const orders = 6

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	err := run(ctx, os.Stdout, os.Getenv("EVENTSTORE_URL"))
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, url string) error {
	say := newPrinter(out)
	if url == "" {
		server, err := estest.Start()
		if err != nil {
			return err
		}
		defer server.Close()
		url = server.ConnectionString()
		say("An embedded EventStore listens on %s; set EVENTSTORE_URL to use another.", server.Addr())
	} else {
		say("Using the EventStore that EVENTSTORE_URL names.")
	}

	// Each topic is a stream. This one is new for each run, so that every run begins with the first event.
	topic := "orders-" + watermill.NewShortUUID()
	received := newTally()

	// Two members of a consumer group: each message goes to one of them.
	for _, member := range []string{"invoices 1", "invoices 2"} {
		end, err := consume(ctx, topic, member, received, say, eventstore.SubscriberConfig{
			ConnectionString: url,
			ConsumerGroup:    "invoices",
		})
		if err != nil {
			return err
		}
		defer end()
	}
	// A subscriber without a group: it gets every message that is published from now on.
	end, err := consume(ctx, topic, "dashboard", received, say, eventstore.SubscriberConfig{ConnectionString: url})
	if err != nil {
		return err
	}
	defer end()

	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{ConnectionString: url}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	for n := 1; n <= orders; n++ {
		msg := message.NewMessage(watermill.NewUUID(), fmt.Appendf(nil, `{"order":%d}`, n))
		msg.Metadata.Set("name", "OrderPlaced") // becomes the event's type
		msg.SetContext(ctx)
		say("Publishing %s to %s", msg.Payload, topic)
		if err := publisher.Publish(topic, msg); err != nil {
			return err
		}
	}

	if err := received.wait(ctx, orders, 2); err != nil {
		return err
	}
	say("Done: the group shared %d messages, the dashboard saw all %d.", orders, orders)
	return nil
}

// consume handles the messages of a topic in a goroutine, which end stops.
func consume(
	ctx context.Context, topic, who string, received *tally, say func(string, ...any),
	config eventstore.SubscriberConfig,
) (end func(), err error) {
	subscriber, err := eventstore.NewSubscriber(config, nil)
	if err != nil {
		return nil, err
	}
	messages, err := subscriber.Subscribe(ctx, topic)
	if err != nil {
		subscriber.Close()
		return nil, err
	}
	say("Subscribed %s", who)
	var handler sync.WaitGroup
	handler.Go(func() {
		for msg := range messages {
			number, _ := eventstore.EventNumberFromCtx(msg.Context())
			say("Received   %s by %s, as event %d", msg.Payload, who, number)
			msg.Ack() // only now the next message is handed out
			received.add(string(msg.Payload))
		}
	})
	return func() {
		subscriber.Close() // sends the acks, closes the channel
		handler.Wait()
	}, nil
}

// newPrinter returns a function that prints a line, for any goroutine.
func newPrinter(out io.Writer) func(format string, args ...any) {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, format+"\n", args...)
	}
}

// tally counts how often each message was received.
type tally struct {
	mu      sync.Mutex
	counts  map[string]int
	changed chan struct{}
}

func newTally() *tally { return &tally{counts: make(map[string]int), changed: make(chan struct{}, 1)} }

func (t *tally) add(payload string) {
	t.mu.Lock()
	t.counts[payload]++
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// wait returns when so many messages were received so many times each.
func (t *tally) wait(ctx context.Context, messages, times int) error {
	for !t.complete(messages, times) {
		select {
		case <-t.changed:
		case <-ctx.Done():
			return fmt.Errorf("not everything was received: %w", context.Cause(ctx))
		}
	}
	return nil
}

func (t *tally) complete(messages, times int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	complete := 0
	for _, n := range t.counts {
		if n >= times {
			complete++
		}
	}
	return complete >= messages
}
