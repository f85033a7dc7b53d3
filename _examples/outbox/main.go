// Command outbox takes orders while EventStore is down, and publishes the event of each order exactly once. An order
// and its event are written to SQLite in one transaction; Watermill's forwarder publishes the events from there.
//
//	go -C _examples/outbox run .                       a demonstration, on an embedded server, that ends by itself
//	go -C _examples/outbox run . -db shop.db           a shop on the server of EVENTSTORE_URL, until it is interrupted
//
// With EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 the demonstration takes place on that server, too.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"

	_ "modernc.org/sqlite"
)

func main() {
	file := flag.String("db", "", "SQLite `file` of the shop; without it there is a demonstration")
	category := flag.String("category", "order", "category of the orders' streams")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if url := os.Getenv("EVENTSTORE_URL"); *file == "" {
		err = demonstrate(ctx, os.Stdout, url)
	} else {
		err = sell(ctx, url, *file, *category)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "outbox:", err)
		os.Exit(1)
	}
}

// sell is the program: it takes orders and forwards their events until ctx ends.
func sell(ctx context.Context, url, file, category string) error {
	if url == "" {
		return errors.New("EVENTSTORE_URL is not set")
	}
	db, err := openDatabase(ctx, file)
	if err != nil {
		return err
	}
	defer db.Close()
	client, err := esclient.Open(url)
	if err != nil {
		return err
	}
	defer client.Close()
	stopForwarding := startForwarding(ctx, db, client, watermill.NewSlogLogger(
		slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))))
	err = takeOrders(ctx, &Shop{DB: db, Category: category})
	if ctx.Err() != nil {
		err = nil // interrupted, as it should be
	}
	return errors.Join(err, stopForwarding())
}

// startForwarding forwards in the background, until stop is called or ctx ends.
func startForwarding(
	ctx context.Context, db *sql.DB, client *esclient.Client, logger watermill.LoggerAdapter,
) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- forward(ctx, db, client, logger) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// takeOrders has customers place orders, some of them too large, and pay most of them, until ctx ends.
func takeOrders(ctx context.Context, shop *Shop) error {
	for {
		id, customer := watermill.NewUUID(), fmt.Sprintf("customer %d", rand.IntN(1000))
		err := shop.Place(ctx, id, OrderPlaced{customer, 1 + rand.IntN(120)})
		if err == nil && rand.IntN(10) > 0 {
			err = shop.Pay(ctx, id)
		}
		if err != nil && !errors.Is(err, ErrNoCredit) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(4 * time.Millisecond)):
		}
	}
}

// demonstrate places orders before, during and after an outage of EventStore.
func demonstrate(ctx context.Context, out io.Writer, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("it takes longer than 30 s"))
	defer cancel()
	var embedded *eventStore // nil if EventStore is not ours to stop
	if url == "" {
		server, err := estest.Start()
		if err != nil {
			return err
		}
		embedded = &eventStore{server: server}
		defer func() { embedded.server.Close() }()
		url = server.ConnectionString()
	}
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := openDatabase(ctx, filepath.ToSlash(filepath.Join(dir, "shop.db")))
	if err != nil {
		return err
	}
	defer db.Close()
	client, err := esclient.Open(url)
	if err != nil {
		return err
	}
	defer client.Close()
	before, err := endOfLog(ctx, client)
	if err != nil {
		return err
	}
	shop := &Shop{DB: db, Category: "order" + watermill.NewShortUUID()} // a new category for each run

	// No log: the forwarder reports the outage as an error, again and again.
	stopForwarding := startForwarding(ctx, db, client, watermill.NopLogger{})
	err = errors.Join(sellInAnOutage(ctx, out, embedded, shop), stopForwarding())
	if err != nil {
		return err
	}
	events, err := readEvents(ctx, client, before, shop.Category)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "EventStore has these events, in the order of the log:")
	for _, event := range events {
		fmt.Fprintf(out, "  %d@%s %s %s\n", event.Number, strings.TrimPrefix(event.Stream, shop.Category+"-"),
			event.Type, event.Data)
	}
	return nil
}

// eventStore is an embedded server that can be down for a while.
type eventStore struct {
	server *estest.Server
	data   *estest.Snapshot
}

// stop ends the server as a crash does.
func (e *eventStore) stop() error {
	e.server.Pause() // it confirms nothing that the snapshot does not have
	e.data = e.server.Snapshot()
	return e.server.Close()
}

func (e *eventStore) start() error {
	server, err := estest.Start(estest.WithSnapshot(e.data), estest.WithTCPAddr(e.server.Addr()))
	if err == nil {
		e.server = server
	}
	return err
}

// sellInAnOutage prints its steps. It returns when the outbox is empty again.
func sellInAnOutage(ctx context.Context, out io.Writer, embedded *eventStore, shop *Shop) error {
	if err := shop.Place(ctx, "1", OrderPlaced{"Ann", 60}); err != nil {
		return err
	}
	fmt.Fprintln(out, "Order 1 of Ann, for 60, is placed.")
	switch err := shop.Place(ctx, "2", OrderPlaced{"Ann", 50}); {
	case err == nil:
		return errors.New("order 2 was not refused")
	case !errors.Is(err, ErrNoCredit):
		return err
	}
	fmt.Fprintln(out, "Order 2 of Ann, for 50, is refused: its event, which was in the outbox, is rolled back with it.")
	if err := waitUntilForwarded(ctx, shop.DB); err != nil {
		return err
	}
	if embedded == nil {
		fmt.Fprintln(out, "The outbox is empty. This EventStore is not ours to stop.")
	} else {
		fmt.Fprintln(out, "The outbox is empty. Now EventStore is stopped.")
		if err := embedded.stop(); err != nil {
			return err
		}
	}
	if err := shop.Pay(ctx, "1"); err != nil {
		return err
	}
	if err := shop.Place(ctx, "3", OrderPlaced{"Ben", 30}); err != nil {
		return err
	}
	if err := shop.Place(ctx, "4", OrderPlaced{"Cid", 20}); err != nil {
		return err
	}
	fmt.Fprintln(out, "Order 1 is paid, and orders 3 and 4 are placed.")
	if embedded != nil {
		waiting, err := countOutbox(ctx, shop.DB)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d events wait in the outbox. EventStore is started again.\n", waiting)
		if err := embedded.start(); err != nil {
			return err
		}
	}
	return waitUntilForwarded(ctx, shop.DB)
}

func countOutbox(ctx context.Context, db *sql.DB) (messages int, err error) {
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table(outboxTopic)).Scan(&messages)
	return messages, err
}

func waitUntilForwarded(ctx context.Context, db *sql.DB) error {
	for {
		switch waiting, err := countOutbox(ctx, db); {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil || waiting == 0:
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// endOfLog returns the position behind the last event of the server.
func endOfLog(ctx context.Context, client *esclient.Client) (esclient.Start, error) {
	for event, err := range client.ReadAll(ctx, esclient.ReadAllOptions{Backward: true, MaxCount: 1}) {
		if err != nil {
			return esclient.Start{}, err
		}
		return esclient.AfterPosition(event.Position), nil
	}
	return esclient.FromStart(), nil
}

// readEvents reads the events of a category, in the order of the log.
func readEvents(
	ctx context.Context, client *esclient.Client, from esclient.Start, category string,
) (events []*esclient.Event, err error) {
	for event, err := range client.ReadAll(ctx, esclient.ReadAllOptions{From: from}) {
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(event.Stream, category+"-") {
			events = append(events, event)
		}
	}
	return events, nil
}
