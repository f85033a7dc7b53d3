package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/essql"
)

// schema is the read model. A history entry or a sum would be wrong if an event was applied twice.
const schema = `
CREATE TABLE IF NOT EXISTS orders (
	stream TEXT NOT NULL PRIMARY KEY, customer TEXT NOT NULL, amount INTEGER NOT NULL, cancelled INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS customers (
	name TEXT NOT NULL PRIMARY KEY, orders INTEGER NOT NULL, amount INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS history (stream TEXT NOT NULL, number INTEGER NOT NULL, type TEXT NOT NULL);`

// OrderPlaced is the first event of an order. OrderCancelled has no data.
type OrderPlaced struct {
	Customer string `json:"customer"`
	Amount   int    `json:"amount"`
}

// openDatabase opens the SQLite file of the read model.
func openDatabase(ctx context.Context, file string) (*sql.DB, error) {
	// Readers do not wait for the projector (WAL), and writers wait for each other instead of failing.
	db, err := sql.Open("sqlite",
		"file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Projector keeps the read model up to date.
type Projector struct {
	DB       *sql.DB
	URL      string // of EventStore
	Category string // of the orders: the part before the first "-" in the names of their streams
	// OnCaughtUp is called when the read model has all that the category has, and OnLive after each event since.
	OnCaughtUp func()
	OnLive     func(stream, eventType string)
	Logger     watermill.LoggerAdapter
}

// Run projects until ctx ends, and then returns nil.
func (p *Projector) Run(ctx context.Context) error {
	store, err := essql.New(p.DB, essql.SQLite)
	if err != nil {
		return err
	}
	if err := store.CreateTable(ctx); err != nil {
		return err
	}
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		ConnectionString: p.URL,
		Mode:             eventstore.ModeCatchUp,
		SubscriberName:   "orders", // another name is another read model
		Checkpoints:      store,
		// The server's projection $by_category links the events of all orders into one stream. A link to an order that
		// was deleted is skipped; see UnresolvedAction.
		ResolveLinks: true,
		OnCaughtUp:   func(string) { p.OnCaughtUp() },
	}, p.Logger)
	if err != nil {
		return err
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(ctx, "$ce-"+p.Category)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	var failure error
	for msg := range messages {
		if failure = p.handle(store, msg); failure != nil {
			p.Logger.Error("An event was not applied; it is handed out again", failure, nil)
			msg.Nack()
			continue
		}
		msg.Ack()
		if eventstore.LiveFromCtx(msg.Context()) {
			stream, _ := eventstore.StreamFromCtx(msg.Context())
			eventType, _ := eventstore.EventTypeFromCtx(msg.Context())
			p.OnLive(stream, eventType)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(failure, eventstore.ErrCheckpointTaken) {
		return fmt.Errorf("another projector has taken over: %w", failure)
	}
	return errors.New("the subscription has ended; the log tells why")
}

// handle applies a message to the read model, in one transaction with its checkpoint: both are there, or neither.
func (p *Projector) handle(store *essql.Store, msg *message.Message) error {
	ctx := msg.Context()
	tx, err := p.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	err = store.SaveTx(ctx, tx, msg)
	if errors.Is(err, essql.ErrAlreadySaved) {
		return nil // the read model has the event, but its ack got lost
	}
	if err != nil {
		return err
	}
	if err := apply(ctx, tx, msg); err != nil {
		return err
	}
	return tx.Commit()
}

// apply changes the read model by one event.
func apply(ctx context.Context, tx *sql.Tx, msg *message.Message) error {
	stream, _ := eventstore.StreamFromCtx(ctx) // of the order, not of the link
	number, _ := eventstore.EventNumberFromCtx(ctx)
	eventType, _ := eventstore.EventTypeFromCtx(ctx)
	_, err := tx.ExecContext(ctx, "INSERT INTO history VALUES (?, ?, ?)", stream, number, eventType)
	if err != nil {
		return err
	}
	switch eventType {
	case "OrderPlaced":
		var placed OrderPlaced
		if err := json.Unmarshal(msg.Payload, &placed); err != nil {
			return fmt.Errorf("event %d of %s: %w", number, stream, err)
		}
		if _, err := tx.ExecContext(ctx,
			"INSERT INTO orders VALUES (?, ?, ?, 0)", stream, placed.Customer, placed.Amount); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO customers VALUES (?, 1, ?)
			ON CONFLICT (name) DO UPDATE SET orders = orders + 1, amount = amount + excluded.amount`,
			placed.Customer, placed.Amount)
		return err
	case "OrderCancelled":
		// Without the order, because its first event was truncated, both statements change nothing.
		if _, err := tx.ExecContext(ctx, `UPDATE customers SET orders = orders - 1, amount = customers.amount - o.amount
			FROM orders AS o WHERE o.stream = ? AND o.cancelled = 0 AND customers.name = o.customer`,
			stream); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE orders SET cancelled = 1 WHERE stream = ?", stream)
		return err
	default:
		return nil // of no interest to this read model
	}
}
