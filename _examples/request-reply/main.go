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
	"net"
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

func demonstrate(ctx context.Context, out io.Writer, url string) (err error) {
	if url == "" {
		server, err := estest.Start()
		if err != nil {
			return err
		}
		defer server.Close()
		url = server.ConnectionString()
	}
	client, opened, err := openCounted(url)
	if err != nil {
		return err
	}
	defer client.Close()
	run := watermill.NewShortUUID()
	service := &Service{Client: client, Commands: "commands-" + run, Price: price, Logger: watermill.NopLogger{}}
	stop, err := service.Start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	fmt.Fprintln(out, "The service listens.")

	requester, err := NewRequester(ctx, client, service.Commands, "replies-"+run, 10*time.Second, watermill.NopLogger{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, requester.Close()) }()
	if err := ask(ctx, out, requester); err != nil {
		return err
	}
	metadata, _, err := client.StreamMetadata(ctx, "replies-"+run)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The server keeps the replies for %v.\n", metadata.MaxAge)
	fmt.Fprintf(out, "All of this took %d connection.\n", opened.Load())
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

// openCounted opens a client and counts its connections.
func openCounted(url string) (client *esclient.Client, opened *atomic.Int64, err error) {
	config, err := esclient.ParseConnectionString(url)
	if err != nil {
		return nil, nil, err
	}
	opened = new(atomic.Int64)
	var dialer net.Dialer
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			opened.Add(1)
		}
		return conn, err
	}
	client, err = esclient.New(config)
	return client, opened, err
}
