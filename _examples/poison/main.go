// Command poison handles messages that a handler cannot handle, and handles them after the handler was corrected, in
// two ways: with Watermill's poison queue, and with the parked messages of a consumer group.
//
//	go -C _examples/poison run .                                                    on an embedded server
//	EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 go -C _examples/poison run .  on a real one
//
// Parked messages are replayed over HTTP: at port 2113 of the same host, or at httpEndpoint of EVENTSTORE_URL.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	err := demonstrate(ctx, os.Stdout, os.Getenv("EVENTSTORE_URL"))
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "poison:", err)
		os.Exit(1)
	}
}

func demonstrate(ctx context.Context, out io.Writer, url string) error {
	var http string // where the HTTP interface is, if not at its usual port
	if url == "" {
		server, err := estest.Start()
		if err != nil {
			return err
		}
		defer server.Close()
		url, http = server.ConnectionString(), server.HTTPAddr()
	}
	client, err := open(url, http)
	if err != nil {
		return err
	}
	defer client.Close()
	fmt.Fprintln(out, "With a poison queue:")
	if err := withPoisonQueue(ctx, out, client); err != nil {
		return err
	}
	fmt.Fprintln(out, "With parked messages:")
	return withParking(ctx, out, client)
}

func open(url, http string) (*esclient.Client, error) {
	config, err := esclient.ParseConnectionString(url)
	if err != nil {
		return nil, err
	}
	if http != "" {
		config.HTTPEndpoint = http
	}
	return esclient.New(config)
}

func withPoisonQueue(ctx context.Context, out io.Writer, client *esclient.Client) error {
	s := &shop{client: client, topic: "orders-" + watermill.NewShortUUID()} // a new stream for each run
	if err := s.placeOrders(ctx); err != nil {
		return err
	}
	poison := s.poisonTopic(billing)
	stop, err := s.runWithPoisonQueues(ctx, s.bill("EUR"))
	if err != nil {
		return err
	}
	err = s.waitForOrders(ctx, orders-3, orders)
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	fmt.Fprintf(out, "  %v.\n", &s.done)
	for event, err := range client.ReadStream(ctx, poison, esclient.ReadOptions{}) {
		if err != nil {
			return err
		}
		metadata := make(map[string]string)
		if err := event.MetadataJSON(&metadata); err != nil {
			return err
		}
		fmt.Fprintf(out, "  poisoned: %s, since %s\n", event.Data, metadata[middleware.ReasonForPoisonedKey])
	}

	if stop, err = s.runWithPoisonQueues(ctx, s.bill("EUR", "CHF")); err != nil {
		return err
	}
	replayed, err := replay(ctx, client, poison)
	if err == nil {
		fmt.Fprintf(out, "  Now billing knows francs, and the poison queue is replayed: %d messages.\n", replayed)
		err = s.waitForOrders(ctx, orders, orders)
	}
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	if replayed, err = replay(ctx, client, poison); err != nil {
		return err
	}
	fmt.Fprintf(out, "  It is replayed again: %d messages.\n  %v.\n", replayed, &s.done)
	return nil
}

func withParking(ctx context.Context, out io.Writer, client *esclient.Client) error {
	s := &shop{client: client, topic: "orders-" + watermill.NewShortUUID()}
	if err := s.placeOrders(ctx); err != nil {
		return err
	}
	stop, err := s.runWithParking(ctx, s.bill("EUR"))
	if err != nil {
		return err
	}
	err = errors.Join(s.waitForOrders(ctx, orders-3, orders), s.waitForParked(ctx, 3))
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	fmt.Fprintf(out, "  %v.\n", &s.done)
	for parked, err := range client.ReadParked(ctx, s.topic, billing) {
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  parked: %s, since %s\n", parked.Event.Data, strings.ReplaceAll(parked.Reason, "\n", " "))
	}

	if stop, err = s.runWithParking(ctx, s.bill("EUR", "CHF")); err != nil {
		return err
	}
	if err = s.replayParked(ctx); err == nil {
		fmt.Fprintln(out, "  Now billing knows francs, and its parked messages are replayed.")
		err = s.waitForOrders(ctx, orders, orders)
	}
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	fmt.Fprintf(out, "  %v.\n", &s.done)
	return nil
}

// waitForOrders waits until the handlers have handled so many orders. The last order is not in francs.
func (s *shop) waitForOrders(ctx context.Context, billed, shipped int) error {
	return waitUntil(ctx, func() (bool, error) {
		b, _ := s.done.orders(billing)
		c, _ := s.done.orders(shipping)
		return b >= billed && c >= shipped, nil
	})
}

// waitForParked waits until the server has parked so many messages of billing. It does so after their handler's answer.
func (s *shop) waitForParked(ctx context.Context, messages int) error {
	return waitUntil(ctx, func() (bool, error) {
		parked := 0
		for _, err := range s.client.ReadParked(ctx, s.topic, billing) {
			if err != nil {
				return false, err
			}
			parked++
		}
		return parked == messages, nil
	})
}
