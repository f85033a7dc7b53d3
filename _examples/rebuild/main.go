// Command rebuild makes a new version of a read model beside the live one, and switches over when it has caught up.
// Meanwhile events arrive and readers read: none of them notices.
//
//	go -C _examples/rebuild run .                               a demonstration, on an embedded server
//	EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 go -C _examples/rebuild run .    the same on a real one
//
// As a program it projects one version until it is interrupted, or until a newer version is live:
//
//	EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 go -C _examples/rebuild run . -db customers.db -version 1
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/estest"

	_ "modernc.org/sqlite"
)

func main() {
	file := flag.String("db", "", "SQLite `file` of the read model; without it there is a demonstration")
	version := flag.Int("version", 2, "version of the read model, 1 or 2")
	topic := flag.String("topic", "orders", "stream of the orders")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if url := os.Getenv("EVENTSTORE_URL"); *file == "" {
		err = demonstrate(ctx, os.Stdout, url)
	} else {
		err = project(ctx, url, *file, *topic, *version)
	}
	stop()
	if errors.Is(err, errNewerVersion) {
		fmt.Println("ended:", err)
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rebuild:", err)
		os.Exit(1)
	}
}

// project is the program: it keeps one version of the read model up to date.
func project(ctx context.Context, url, file, topic string, version int) error {
	if url == "" {
		return errors.New("EVENTSTORE_URL is not set")
	}
	if _, ok := versions[version]; !ok {
		return fmt.Errorf("there is no version %d", version)
	}
	db, err := openDatabase(ctx, file)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	projector := &Projector{
		DB: db, URL: url, Topic: topic, Version: version, Logger: watermill.NewSlogLogger(logger),
	}
	return errors.Join(projector.Run(ctx), db.Close())
}

// demonstrate replaces version 1 by version 2, while orders are placed and the orders of the read model are counted.
func demonstrate(ctx context.Context, out io.Writer, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("it takes longer than 30 s"))
	defer cancel()
	if url == "" {
		server, err := estest.Start()
		if err != nil {
			return err
		}
		defer server.Close()
		url = server.ConnectionString()
	}
	dir, err := os.MkdirTemp("", "rebuild")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := openDatabase(ctx, filepath.ToSlash(filepath.Join(dir, "customers.db")))
	if err != nil {
		return err
	}
	defer db.Close()
	topic := "orders-" + watermill.NewShortUUID() // a new stream for each run

	// What follows runs until the demonstration ends. The first error ends all of it.
	ctx, end := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer end(nil)
	run := func(what func(context.Context) error) {
		running.Go(func() {
			if err := what(ctx); err != nil && ctx.Err() == nil {
				end(err)
			}
		})
	}
	start := func(version int) <-chan error {
		// No log: that of version 1 would have an error, which tells why its subscription has ended.
		projector := &Projector{DB: db, URL: url, Topic: topic, Version: version, Logger: watermill.NopLogger{}}
		ended := make(chan error, 1)
		run(func(ctx context.Context) error {
			err := projector.Run(ctx)
			ended <- err
			if errors.Is(err, errNewerVersion) {
				return nil
			}
			return err
		})
		return ended
	}

	first := start(1)
	if err := waitForVersion(ctx, db, 1); err != nil {
		return err
	}
	fmt.Fprintln(out, "Version 1 is live.")
	reader := &reader{db: db}
	run(reader.readAllTheTime)
	run(func(ctx context.Context) error { return placeOrders(ctx, url, topic, db) })
	if err := waitForOrders(ctx, db, 100); err != nil {
		return err
	}
	start(2)
	if err := waitForVersion(ctx, db, 2); err != nil {
		return err
	}
	fmt.Fprintln(out, "Version 2 is live.")
	select {
	case err := <-first:
		fmt.Fprintf(out, "The projector of version 1 has ended: %v.\n", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := waitForOrders(ctx, db, 200); err != nil {
		return err
	}
	fmt.Fprintf(out, "Orders were counted %d times: no read failed or saw fewer than the one before.\n",
		reader.reads.Load())
	return printCustomers(ctx, out, db)
}

// placeOrders is another program, which places orders, each when the read model has the one before. If they came faster
// than the live version can take them, it would never leave SQLite to the new one.
func placeOrders(ctx context.Context, url, topic string, db *sql.DB) error {
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{ConnectionString: url}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()
	customers := []string{"Ann", "Ben", "Cid"}
	for n := 1; ; n++ {
		payload, err := json.Marshal(OrderPlaced{customers[n%len(customers)], n})
		if err != nil {
			return err
		}
		msg := message.NewMessage(watermill.NewUUID(), payload)
		msg.Metadata.Set(eventstore.EventTypeKey, "OrderPlaced")
		msg.SetContext(ctx)
		if err := publisher.Publish(topic, msg); err != nil {
			return err
		}
		if err := waitForOrders(ctx, db, n); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// reader is another program, which reads the read model.
type reader struct {
	db    *sql.DB
	reads atomic.Int64
}

// readAllTheTime counts the orders until ctx ends. There may never be fewer than the time before.
func (r *reader) readAllTheTime(ctx context.Context) error {
	for before := 0; ; r.reads.Add(1) {
		orders, err := countOrders(ctx, r.db)
		if err != nil {
			return err
		}
		if orders < before {
			return fmt.Errorf("there were %d orders, and now there are %d", before, orders)
		}
		before = orders
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Millisecond):
		}
	}
}

func countOrders(ctx context.Context, db *sql.DB) (orders int, err error) {
	err = db.QueryRowContext(ctx, "SELECT COALESCE(SUM(orders), 0) FROM customers").Scan(&orders)
	return orders, err
}

func waitForOrders(ctx context.Context, db *sql.DB, atLeast int) error {
	return poll(ctx, func() (bool, error) {
		orders, err := countOrders(ctx, db)
		return orders >= atLeast, err
	})
}

func waitForVersion(ctx context.Context, db *sql.DB, version int) error {
	return poll(ctx, func() (bool, error) {
		live, err := liveVersion(ctx, db)
		return live == version, err
	})
}

func poll(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause // why the query has failed
			}
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}

func printCustomers(ctx context.Context, out io.Writer, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, "SELECT name, orders, amount FROM customers ORDER BY name")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var orders, amount int
		if err := rows.Scan(&name, &orders, &amount); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: orders %d, amount %d\n", name, orders, amount)
	}
	return rows.Err()
}
