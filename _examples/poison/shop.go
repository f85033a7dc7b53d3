package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Order is the payload of a message.
type Order struct {
	ID       int    `json:"id"`
	Cents    int    `json:"cents"`
	Currency string `json:"currency"`
}

var (
	// ErrCurrency means that the program does not know the currency: to handle the message again does not help.
	ErrCurrency = errors.New("unknown currency")
	errBank     = errors.New("the bank does not answer") // later it will
)

// The handlers, and so their consumer groups.
const (
	billing  = "billing"
	shipping = "shipping"
)

// shop bills and ships orders. It has a topic, and a client for all publishers and subscribers.
type shop struct {
	client *esclient.Client
	topic  string
	done   ledger
}

// orders is how many orders there are. Every third one is in francs: three of them.
const orders = 10

func (s *shop) placeOrders(ctx context.Context) error {
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: s.client}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	var messages []*message.Message
	for id := 1; id <= orders; id++ {
		order := Order{ID: id, Cents: 100 * id, Currency: "EUR"}
		if id%3 == 0 {
			order.Currency = "CHF"
		}
		payload, err := json.Marshal(order)
		if err != nil {
			return err
		}
		msg := message.NewMessage(watermill.NewUUID(), payload)
		msg.Metadata.Set(eventstore.EventTypeKey, "OrderPlaced")
		msg.SetContext(ctx)
		messages = append(messages, msg)
	}
	return publisher.Publish(s.topic, messages...)
}

// bill is the handler of billing, in the version of the program that knows these currencies.
func (s *shop) bill(currencies ...string) message.NoPublishHandlerFunc {
	known := make(map[string]bool, len(currencies))
	for _, currency := range currencies {
		known[currency] = true
	}
	return func(msg *message.Message) error {
		var order Order
		if err := json.Unmarshal(msg.Payload, &order); err != nil {
			return err
		}
		if !known[order.Currency] {
			return fmt.Errorf("%w %s", ErrCurrency, order.Currency)
		}
		if retries, _ := eventstore.RetryCountFromCtx(msg.Context()); order.ID == 4 && retries == 0 {
			return errBank
		}
		s.done.add(billing, order.ID)
		return nil
	}
}

// ship is the handler of shipping, which ships all orders.
func (s *shop) ship(msg *message.Message) error {
	var order Order
	if err := json.Unmarshal(msg.Payload, &order); err != nil {
		return err
	}
	s.done.add(shipping, order.ID)
	return nil
}

// start runs a router until stop is called. It returns when the handlers listen.
func start(ctx context.Context, router *message.Router) (stop func() error, err error) {
	ended := make(chan error, 1)
	go func() { ended <- router.Run(ctx) }()
	select {
	case <-router.Running():
		return func() error { return errors.Join(router.Close(), <-ended) }, nil
	case err := <-ended:
		return nil, errors.Join(errors.New("the router has ended before it began"), err)
	}
}

// ledger counts how often each handler has handled each order.
type ledger struct {
	mu     sync.Mutex
	counts map[string]map[int]int // by handler and order
}

func (l *ledger) add(handler string, order int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = make(map[string]map[int]int)
	}
	if l.counts[handler] == nil {
		l.counts[handler] = make(map[int]int)
	}
	l.counts[handler][order]++
}

// orders returns how many orders a handler has handled, and how many of them more than once.
func (l *ledger) orders(handler string) (handled, again int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.counts[handler] {
		if times > 1 {
			again++
		}
	}
	return len(l.counts[handler]), again
}

func (l *ledger) String() string {
	billed, billedAgain := l.orders(billing)
	shipped, shippedAgain := l.orders(shipping)
	return fmt.Sprintf("%s has handled %d orders, %d of them twice; %s has handled %d orders, %d of them twice",
		billing, billed, billedAgain, shipping, shipped, shippedAgain)
}

// waitUntil waits until a condition holds.
func waitUntil(ctx context.Context, holds func() (bool, error)) error {
	for {
		switch ok, err := holds(); {
		case ok || err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		time.Sleep(time.Millisecond)
	}
}
