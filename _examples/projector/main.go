// Command projector keeps a read model of orders in SQLite. Each event is applied exactly once, whenever the program
// is killed: the checkpoint is saved in the transaction that changes the read model.
//
//	go -C _examples/projector run .                     a demonstration, on an embedded server, that ends by itself
//	go -C _examples/projector run . -db orders.db       on the server of EVENTSTORE_URL, until it is interrupted
//
// With EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 the demonstration takes place on that server, too. Its
// projection $by_category must run.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"

	_ "modernc.org/sqlite"
)

func main() {
	file := flag.String("db", "", "SQLite `file` of the read model; without it there is a demonstration")
	category := flag.String("category", "order", "category of the orders' streams")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if url := os.Getenv("EVENTSTORE_URL"); *file == "" {
		err = demonstrate(ctx, os.Stdout, url)
	} else {
		err = project(ctx, os.Stdout, url, *file, *category)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "projector:", err)
		os.Exit(1)
	}
}

// project is the program: it keeps the read model up to date until ctx ends.
func project(ctx context.Context, out io.Writer, url, file, category string) error {
	if url == "" {
		return errors.New("EVENTSTORE_URL is not set")
	}
	db, err := openDatabase(ctx, file)
	if err != nil {
		return err
	}
	projector := newProjector(out, db, url, category)
	return errors.Join(projector.Run(ctx), db.Close())
}

func newProjector(out io.Writer, db *sql.DB, url, category string) *Projector {
	return &Projector{
		DB: db, URL: url, Category: category,
		OnCaughtUp: func() { fmt.Fprintln(out, "caught up: the read model has all that the category has") },
		OnLive:     func(stream, eventType string) { fmt.Fprintln(out, "live:", eventType, "of", stream) },
		Logger: watermill.NewSlogLogger(
			slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))),
	}
}

// demonstrate runs the projector, stops it, and runs it again.
func demonstrate(ctx context.Context, out io.Writer, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second,
		errors.New("it takes longer than 30 s: does the server run the projection $by_category?"))
	defer cancel()
	if url == "" {
		server, err := estest.Start(estest.WithProjections())
		if err != nil {
			return err
		}
		defer server.Close()
		url = server.ConnectionString()
	}
	dir, err := os.MkdirTemp("", "projector")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := openDatabase(ctx, filepath.ToSlash(filepath.Join(dir, "orders.db")))
	if err != nil {
		return err
	}
	defer db.Close()
	client, err := esclient.Open(url)
	if err != nil {
		return err
	}
	defer client.Close()
	shop := &shop{client: client, category: "order" + watermill.NewShortUUID()} // a new category for each run

	// While the projector is not running, three orders are placed. One of them is deleted with its events.
	for n, placed := range []OrderPlaced{{"Ann", 10}, {"Ben", 20}, {"Ann", 5}} {
		if err := shop.place(ctx, n, placed); err != nil {
			return err
		}
	}
	if err := shop.remove(ctx, 2); err != nil {
		return err
	}
	fmt.Fprintln(out, "The projector is started.")
	if err := runUntilPlaced(ctx, newProjector(out, db, url, shop.category), shop, 3); err != nil {
		return err
	}
	if err := printCustomers(ctx, out, db); err != nil {
		return err
	}
	if err := shop.cancel(ctx, 0); err != nil {
		return err
	}
	fmt.Fprintln(out, "The projector is started again, and goes on where it was.")
	if err := runUntilPlaced(ctx, newProjector(out, db, url, shop.category), shop, 4); err != nil {
		return err
	}
	return printCustomers(ctx, out, db)
}

// runUntilPlaced runs the projector, places order n when it has caught up, and stops it when the read model has it.
func runUntilPlaced(ctx context.Context, p *Projector, shop *shop, n int) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	onCaughtUp, onLive := p.OnCaughtUp, p.OnLive
	var once sync.Once // it catches up again after a lost connection
	p.OnCaughtUp = func() {
		onCaughtUp()
		once.Do(func() {
			if err := shop.place(ctx, n, OrderPlaced{"Ben", 40}); err != nil {
				stop(err)
			}
		})
	}
	projected := errors.New("the read model has the order")
	p.OnLive = func(stream, eventType string) {
		onLive(stream, eventType)
		if stream == shop.stream(n) {
			stop(projected)
		}
	}
	err := p.Run(ctx)
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, projected) {
		return cause
	}
	return err
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

// shop is another program, which writes the orders. Each has a stream of its own.
type shop struct {
	client   *esclient.Client
	category string
}

func (s *shop) stream(n int) string { return fmt.Sprintf("%s-%d", s.category, n) }

func (s *shop) place(ctx context.Context, n int, placed OrderPlaced) error {
	event, err := esclient.JSONEvent("OrderPlaced", placed)
	if err != nil {
		return err
	}
	_, err = s.client.Append(ctx, s.stream(n), esclient.NoStream, event)
	return err
}

func (s *shop) cancel(ctx context.Context, n int) error {
	event, err := esclient.JSONEvent("OrderCancelled", struct{}{})
	if err != nil {
		return err
	}
	_, err = s.client.Append(ctx, s.stream(n), esclient.StreamExists, event)
	return err
}

func (s *shop) remove(ctx context.Context, n int) error {
	_, err := s.client.DeleteStream(ctx, s.stream(n), esclient.Any)
	return err
}
