package essql_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/essql"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// A read model that counts the orders. Each is counted once, however often the program is started and killed.
func Example() {
	srv, err := estest.Start() // an EventStore in the process; yours runs elsewhere
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	dir, err := os.MkdirTemp("", "essql")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(dir, "model.db"))+
		"?_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	for range 3 {
		publishOrder(srv.ConnectionString())
		if err := countOrders(ctx, db, srv.ConnectionString()); err != nil {
			log.Fatal(err)
		}
		var orders int
		if err := db.QueryRowContext(ctx, "SELECT orders FROM totals").Scan(&orders); err != nil {
			log.Fatal(err)
		}
		fmt.Println("orders:", orders)
	}
	// Output:
	// orders: 1
	// orders: 2
	// orders: 3
}

// countOrders counts one order more.
func countOrders(ctx context.Context, db *sql.DB, connectionString string) error {
	_, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS totals AS SELECT 0 AS orders`)
	if err != nil {
		return err
	}
	store, err := essql.New(db, essql.SQLite)
	if err != nil {
		return err
	}
	if err := store.CreateTable(ctx); err != nil {
		return err
	}
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		ConnectionString: connectionString, Mode: eventstore.ModeCatchUp,
		SubscriberName: "totals", Checkpoints: store,
	}, nil)
	if err != nil {
		return err
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(ctx, "orders")
	if err != nil {
		return err
	}
	msg := <-messages
	err = store.Apply(ctx, msg, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE totals SET orders = orders + 1")
		return err
	})
	if err != nil {
		msg.Nack() // it is redelivered
		return err
	}
	msg.Ack()
	return nil
}

func publishOrder(connectionString string) {
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{ConnectionString: connectionString}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
	if err := publisher.Publish("orders", message.NewMessage(watermill.NewUUID(), []byte(`{}`))); err != nil {
		log.Fatal(err)
	}
}
