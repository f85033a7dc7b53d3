package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/ThreeDotsLabs/watermill"
	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

// schema has the tables of the shop itself. The outbox has a table of its own.
const schema = `
CREATE TABLE IF NOT EXISTS orders (
	seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
	customer TEXT NOT NULL, amount INTEGER NOT NULL, events INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS customers (
	name TEXT NOT NULL PRIMARY KEY, owes INTEGER NOT NULL CHECK (owes <= 100)
);`

// OrderPlaced is the first event of an order. OrderPaid, without data, is the second one.
type OrderPlaced struct {
	Customer string `json:"customer"`
	Amount   int    `json:"amount"`
}

// ErrNoCredit means that the customer would owe the shop more than 100.
var ErrNoCredit = errors.New("the customer has no credit")

// Shop sells on credit. It needs its database only: each order has an event stream, but the events go to the outbox, in
// the transaction that changes the shop's tables.
type Shop struct {
	DB       *sql.DB
	Category string // the stream of an order is Category + "-" + its id
}

// openDatabase opens the SQLite file of the shop and of its outbox.
func openDatabase(ctx context.Context, file string) (*sql.DB, error) {
	// Readers do not wait for writers (WAL), and writers wait for each other instead of failing.
	db, err := sql.Open("sqlite",
		"file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := createOutbox(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Place places an order. With an error there is neither the order nor its event.
func (s *Shop) Place(ctx context.Context, id string, placed OrderPlaced) error {
	return s.inTransaction(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id, customer, amount, events) VALUES (?, ?, ?, 1)",
			id, placed.Customer, placed.Amount); err != nil {
			return err
		}
		if err := s.publish(ctx, tx, id, 0, "OrderPlaced", placed); err != nil {
			return err
		}
		// The credit comes last, to show that the event of a refused order disappears with it.
		var owes int
		if err := tx.QueryRowContext(ctx, "SELECT COALESCE(SUM(owes), 0) FROM customers WHERE name = ?",
			placed.Customer).Scan(&owes); err != nil {
			return err
		}
		if owes+placed.Amount > 100 {
			return fmt.Errorf("%w: %s owes %d", ErrNoCredit, placed.Customer, owes)
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO customers VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET owes = owes + excluded.owes`, placed.Customer, placed.Amount)
		return err
	})
}

// Pay pays an order. An order that is paid already stays as it is.
func (s *Shop) Pay(ctx context.Context, id string) error {
	return s.inTransaction(ctx, func(tx *sql.Tx) error {
		var customer string
		var amount, events int
		if err := tx.QueryRowContext(ctx, "SELECT customer, amount, events FROM orders WHERE id = ?", id).
			Scan(&customer, &amount, &events); err != nil {
			return fmt.Errorf("order %s: %w", id, err)
		}
		if events > 1 {
			return nil
		}
		if _, err := tx.ExecContext(ctx, "UPDATE orders SET events = events + 1 WHERE id = ?", id); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE customers SET owes = owes - ? WHERE name = ?",
			amount, customer); err != nil {
			return err
		}
		return s.publish(ctx, tx, id, events, "OrderPaid", struct{}{})
	})
}

// publish puts the event with a number in the stream of an order into the outbox.
func (s *Shop) publish(ctx context.Context, tx *sql.Tx, id string, number int, eventType string, event any) error {
	payload, err := json.Marshal(event)
	if err != nil {
		return err
	}
	// The UUID goes all the way to EventStore, as the event's id: it tells a repetition from a second event.
	msg := message.NewMessage(watermill.NewUUID(), payload)
	msg.Metadata.Set(eventstore.EventTypeKey, eventType)
	msg.Metadata.Set(eventNumberKey, strconv.Itoa(number))
	msg.SetContext(ctx)
	outbox, err := wsql.NewPublisher(wsql.TxFromStdSQL(tx), wsql.PublisherConfig{SchemaAdapter: outboxSchema{}}, nil)
	if err != nil {
		return err
	}
	return forwarder.NewPublisher(outbox, forwarder.PublisherConfig{ForwarderTopic: outboxTopic}).
		Publish(s.Category+"-"+id, msg)
}

func (s *Shop) inTransaction(ctx context.Context, change func(*sql.Tx) error) error {
	tx, err := s.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if err := change(tx); err != nil {
		return err
	}
	return tx.Commit()
}
