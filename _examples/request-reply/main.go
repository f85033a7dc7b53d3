// Command request-reply asks a service for prices over EventStore, by Watermill's component requestreply. Commands go
// to a consumer group, and replies come back in one stream for each instance of the caller, which keeps them for a
// while only. However many requests there are, an instance has one connection.
//
//	go -C _examples/request-reply run .                                                    on an embedded server
//	EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 go -C _examples/request-reply run .  on a real one
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill"

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
		fmt.Fprintln(os.Stderr, "request-reply:", err)
		os.Exit(1)
	}
}

func demonstrate(ctx context.Context, out io.Writer, url string) error {
	if url == "" {
		server, err := estest.Start()
		if err != nil {
			return err
		}
		defer server.Close()
		url = server.ConnectionString()
	}
	client, connections, err := openCounted(url)
	if err != nil {
		return err
	}
	err = run(ctx, out, client)
	if err == nil {
		err = connections.wait(ctx, 1)
	}
	if err := errors.Join(err, client.Close()); err != nil {
		return err
	}
	if err := connections.wait(ctx, 0); err != nil {
		return err
	}
	fmt.Fprintln(out, "One connection was open, and after the end there is none.")
	return nil
}

// run runs a service and a caller, which share a client.
func run(ctx context.Context, out io.Writer, client *esclient.Client) (err error) {
	id := watermill.NewShortUUID() // new streams for each run
	service := &Service{Client: client, Commands: "commands-" + id, Price: price, Logger: watermill.NopLogger{}}
	stop, err := service.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	fmt.Fprintln(out, "The service listens.")

	replies := "replies-" + id
	requester, err := NewRequester(ctx, client, service.Commands, replies, 10*time.Second, watermill.NopLogger{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, requester.Close()) }()
	if err := ask(ctx, out, requester); err != nil {
		return err
	}
	metadata, _, err := client.StreamMetadata(ctx, replies)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The server keeps the replies for %v.\n", metadata.MaxAge)
	return nil
}

// ask makes requests of all kinds.
func ask(ctx context.Context, out io.Writer, requester *Requester) error {
	price, err := requester.Price(ctx, "tea", 3)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "3 tea cost %d cents.\n", price.Cents)

	right, err := askAtOnce(ctx, requester, 200)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Of 200 requests at once, %d got their own reply.\n", right)

	if _, err = requester.Price(ctx, "unicorn", 1); err == nil {
		return errors.New("there was a price for a unicorn")
	}
	fmt.Fprintln(out, "The handler's error comes back:", err)

	impatient, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	switch _, err = requester.Price(impatient, slowArticle, 1); {
	case err == nil:
		return errors.New("the reply of a slow handler came in time")
	case !errors.Is(err, ErrNoReply):
		return err
	}
	fmt.Fprintln(out, "A slow handler:", err)
	return nil
}

// askAtOnce makes n different requests at the same time, and returns how many got the right reply.
func askAtOnce(ctx context.Context, requester *Requester, n int) (right int, err error) {
	errs := make(chan error, n)
	var asking sync.WaitGroup
	for count := range n {
		asking.Go(func() {
			price, err := requester.Price(ctx, "tea", count)
			if err == nil && price.Cents != count*prices["tea"] {
				err = fmt.Errorf("%d tea cost %d", count, price.Cents)
			}
			errs <- err
		})
	}
	asking.Wait()
	close(errs)
	for one := range errs {
		if one == nil {
			right++
		}
		err = errors.Join(err, one)
	}
	return right, err
}

// slowArticle has a price that takes long to find.
const slowArticle = "antique"

var prices = map[string]int{"tea": 250, "coffee": 310, slowArticle: 99_000}

// price is the handler of the service.
func price(ctx context.Context, cmd *GetPrice) (Price, error) {
	cents, ok := prices[cmd.Article]
	if !ok {
		return Price{}, fmt.Errorf("there is no article %q", cmd.Article)
	}
	if cmd.Article == slowArticle {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return Price{}, ctx.Err()
		}
	}
	return Price{Cents: cents * cmd.Count}, nil
}

// connections counts the open connections of a client.
type connections struct{ open atomic.Int64 }

// OnConnected and OnDisconnected are hooks of the client.
func (c *connections) OnConnected(esclient.ConnectionInfo)    { c.open.Add(1) }
func (c *connections) OnDisconnected(esclient.ConnectionInfo) { c.open.Add(-1) }

// wait waits until n connections are open: hooks run a moment later.
func (c *connections) wait(ctx context.Context, n int64) error {
	for c.open.Load() != n {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d connections are open, want %d: %w", c.open.Load(), n, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func openCounted(url string) (*esclient.Client, *connections, error) {
	config, err := esclient.ParseConnectionString(url)
	if err != nil {
		return nil, nil, err
	}
	counter := new(connections)
	config.Hooks = append(config.Hooks, counter)
	client, err := esclient.New(config)
	return client, counter, err
}
