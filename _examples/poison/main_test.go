package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDemonstration(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := demonstrate(ctx, &out, os.Getenv("EVENTSTORE_URL")); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for line, times := range map[string]int{
		"  billing has handled 7 orders, 0 of them twice; shipping has handled 10 orders, 0 of them twice.\n":       2,
		"  billing has handled 10 orders, 0 of them twice; shipping has handled 10 orders, 0 of them twice.\n":      2,
		"  poisoned: {\"id\":3,\"cents\":300,\"currency\":\"CHF\"}, since unknown currency CHF\n":                   1,
		"  Now billing knows francs, and the poison queue is replayed: 3 messages.\n":                               1,
		"  It is replayed again: 0 messages.\n":                                                                     1,
		"  parked: {\"id\":3,\"cents\":300,\"currency\":\"CHF\"}, since Client explicitly NAK'ed message. unknown ": 1,
		"  Now billing knows francs, and its parked messages are replayed.\n":                                       1,
	} {
		if strings.Count(out.String(), line) != times {
			t.Errorf("want %q %d times in\n%s", line, times, out.String())
		}
	}
}

// The replay is repeated as after a crash, before its checkpoint was saved. Nevertheless billing handles each order
// once, and shipping handles none again, although it gets the replayed messages too.
func TestARepeatedReplayHasNoEffect(t *testing.T) {
	ctx, s := openShop(t)
	if err := s.placeOrders(ctx); err != nil {
		t.Fatal(err)
	}
	s.run(ctx, t, s.runWithPoisonQueues, s.bill("EUR"), func() error {
		return s.waitForOrders(ctx, orders-3, orders)
	})
	poison := s.poisonTopic(billing)
	for range 3 {
		if replayed, err := replay(ctx, s.client, poison); err != nil || replayed != 3 {
			t.Fatalf("%d messages were replayed, %v; want 3", replayed, err)
		}
		// Without the stream of the checkpoint the next replay begins with the first message again.
		checkpoint := eventstore.DefaultCheckpointPrefix + "replay/" + poison
		if _, err := s.client.DeleteStream(ctx, checkpoint, esclient.Any); err != nil {
			t.Fatal(err)
		}
	}
	// When shipping has handled this message, it has seen the replayed ones before it.
	s.publish(ctx, t, s.topic, `{"id":11,"currency":"EUR"}`)
	s.run(ctx, t, s.runWithPoisonQueues, s.bill("EUR", "CHF"), func() error {
		return s.waitForOrders(ctx, orders+1, orders+1)
	})
	s.requireHandledOnce(t, orders+1)
	s.requireEvents(ctx, t, s.topic, orders+3+1)
	s.requireEvents(ctx, t, poison, 3)
}

func TestParkedMessagesAreHandledOnce(t *testing.T) {
	ctx, s := openShop(t)
	if err := s.placeOrders(ctx); err != nil {
		t.Fatal(err)
	}
	s.run(ctx, t, s.runWithParking, s.bill("EUR"), func() error {
		if err := s.waitForOrders(ctx, orders-3, orders); err != nil {
			return err
		}
		return s.waitForParked(ctx, 3)
	})
	// Billing still does not know francs: the messages are parked again.
	if err := s.replayParked(ctx); err != nil {
		t.Fatal(err)
	}
	var failed atomic.Int64
	bill := s.bill("EUR")
	s.run(ctx, t, s.runWithParking, func(msg *message.Message) error {
		err := bill(msg)
		if errors.Is(err, ErrCurrency) {
			failed.Add(1)
		}
		return err
	}, func() error {
		if err := waitUntil(ctx, func() (bool, error) { return failed.Load() == 3, nil }); err != nil {
			return err
		}
		return s.waitForParked(ctx, 3)
	})
	if err := s.replayParked(ctx); err != nil {
		t.Fatal(err)
	}
	s.run(ctx, t, s.runWithParking, s.bill("EUR", "CHF"), func() error {
		if err := s.waitForOrders(ctx, orders, orders); err != nil {
			return err
		}
		return s.waitForParked(ctx, 0)
	})
	s.requireHandledOnce(t, orders)
	s.requireEvents(ctx, t, s.topic, orders)
}

func TestReplayRefusesOtherMessages(t *testing.T) {
	ctx, s := openShop(t)
	poison := s.poisonTopic(billing)
	uuid := s.publish(ctx, t, poison, `{"id":1}`)
	for range 2 { // the next replay begins with it again
		replayed, err := replay(ctx, s.client, poison)
		if replayed != 0 || err == nil || !strings.Contains(err.Error(), uuid) {
			t.Errorf("want an error that names message %s, have %v", uuid, err)
		}
	}
}

func openShop(t *testing.T) (context.Context, *shop) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	url, http := os.Getenv("EVENTSTORE_URL"), ""
	if url == "" {
		server := estest.Run(t)
		url, http = server.ConnectionString(), server.HTTPAddr()
	}
	client, err := open(url, http)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return ctx, &shop{client: client, topic: "orders-" + watermill.NewShortUUID()}
}

type runner func(context.Context, message.NoPublishHandlerFunc) (stop func() error, err error)

// run runs the handlers until wait returns.
func (s *shop) run(
	ctx context.Context, t *testing.T, run runner, bill message.NoPublishHandlerFunc, wait func() error,
) {
	t.Helper()
	stop, err := run(ctx, bill)
	if err != nil {
		t.Fatal(err)
	}
	if err := wait(); err != nil {
		t.Errorf("%v: %v", err, &s.done)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func (s *shop) publish(ctx context.Context, t *testing.T, topic, payload string) (uuid string) {
	t.Helper()
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: s.client}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	msg := message.NewMessage(watermill.NewUUID(), []byte(payload))
	msg.SetContext(ctx)
	if err := publisher.Publish(topic, msg); err != nil {
		t.Fatal(err)
	}
	return msg.UUID
}

func (s *shop) requireHandledOnce(t *testing.T, orders int) {
	t.Helper()
	for _, handler := range []string{billing, shipping} {
		if handled, again := s.done.orders(handler); handled != orders || again != 0 {
			t.Errorf("%s has handled %d orders, %d of them more than once; want %d", handler, handled, again, orders)
		}
	}
}

func (s *shop) requireEvents(ctx context.Context, t *testing.T, stream string, want int) {
	t.Helper()
	have := 0
	for _, err := range s.client.ReadStream(ctx, stream, esclient.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		have++
	}
	if have != want {
		t.Errorf("%s has %d events, want %d", stream, have, want)
	}
}
