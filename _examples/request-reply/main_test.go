package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"go.uber.org/goleak"

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
	for _, line := range []string{
		"3 tea cost 750 cents.\n", "Of 200 requests at once, 200 got their own reply.\n",
		`The handler's error comes back: price of unicorn: there is no article "unicorn"`,
		"A slow handler: price of antique: no reply in time\n", "The server keeps the replies for 10m0s.\n",
		"One connection was open, and after the end there is none.\n",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("want %q in\n%s", line, out.String())
		}
	}
}

// Two instances of the service answer the requests of three callers. Some of them fail, and some are given up while the
// handler runs. Each command is handled once, each caller's stream has the replies to it only, and no connection or
// subscription is left over.
func TestNoConnectionIsLeftOver(t *testing.T) {
	const services, callers, requests = 2, 3, 60
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := openBench(t)
	var handled atomic.Int64
	begun := make([]chan struct{}, callers*requests) // handlers of requests that are given up
	for i := range begun {
		begun[i] = make(chan struct{})
	}
	release := make(chan struct{})
	handler := func(ctx context.Context, cmd *GetPrice) (Price, error) {
		handled.Add(1)
		if cmd.Article == slowArticle {
			close(begun[cmd.Count])
			<-release
			return Price{}, nil
		}
		return price(ctx, cmd)
	}
	var clients []*connections
	for range services {
		clients = append(clients, b.startService(ctx, t, handler))
	}
	var asking sync.WaitGroup
	for caller := range callers {
		requester, client := b.newRequester(ctx, t, caller)
		clients = append(clients, client)
		for n := range requests {
			n := caller*requests + n
			asking.Go(func() { checkPrice(ctx, t, requester, n, begun[n]) })
		}
	}
	asking.Wait()
	for i, client := range clients {
		if err := client.wait(ctx, 1); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	if b.server != nil {
		if have := b.server.Stats().Connections; have != services+callers {
			t.Errorf("there are %d connections, want one for each of %d clients", have, services+callers)
		}
	}
	close(release)
	for caller := range callers {
		b.waitForReplies(ctx, t, caller, requests)
	}
	if have := handled.Load(); have != callers*requests {
		t.Errorf("%d commands were handled, want %d", have, callers*requests)
	}
	b.close(t)
	for i, client := range clients {
		if err := client.wait(ctx, 0); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	if b.server == nil {
		return
	}
	for {
		stats := b.server.Stats()
		if stats.Connections == 0 && stats.Subscriptions == 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d connections and %d subscriptions are left", stats.Connections, stats.Subscriptions)
		case <-time.After(time.Millisecond):
		}
	}
}

// checkPrice makes one request. Every 10th has no price, and every 15th is given up when its handler has begun.
func checkPrice(ctx context.Context, t *testing.T, requester *Requester, n int, begun <-chan struct{}) {
	article, want := "tea", ""
	switch {
	case n%10 == 0:
		article, want = "unicorn", "no article"
	case n%15 == 1:
		article, want = slowArticle, context.Canceled.Error()
		giveUp, cancel := context.WithCancel(ctx)
		go func() {
			<-begun
			cancel()
		}()
		ctx = giveUp
	}
	price, err := requester.Price(ctx, article, n)
	switch {
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("request %d: %v, want %v", n, err, want)
	case want == "" && err != nil:
		t.Errorf("request %d: %v", n, err)
	case want == "" && price.Cents != n*prices["tea"]:
		t.Errorf("request %d: the price is %d", n, price.Cents)
	}
}

// A request that comes after a late reply gets its own.
func TestALateReplyHasNoReceiver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := openBench(t)
	begun, release := make(chan struct{}, 1), make(chan struct{})
	b.startService(ctx, t, func(_ context.Context, cmd *GetPrice) (Price, error) {
		if cmd.Article == slowArticle {
			begun <- struct{}{}
			<-release
		}
		return Price{Cents: cmd.Count}, nil
	})
	requester, _ := b.newRequester(ctx, t, 0)
	impatient, giveUp := context.WithCancel(ctx)
	asked := make(chan error, 1)
	go func() {
		_, err := requester.Price(impatient, slowArticle, 1)
		asked <- err
	}()
	<-begun
	giveUp()
	if err := <-asked; !errors.Is(err, context.Canceled) {
		t.Errorf("want the end of the context, have %v", err)
	}
	close(release)
	b.waitForReplies(ctx, t, 0, 1)
	if price, err := requester.Price(ctx, "tea", 2); err != nil || price.Cents != 2 {
		t.Errorf("the price is %d, %v", price.Cents, err)
	}
	b.close(t)
}

// bench has services and callers, each with a client of its own.
type bench struct {
	url, run string
	server   *estest.Server // nil if it is not ours
	closers  []func() error
}

func openBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{url: os.Getenv("EVENTSTORE_URL"), run: watermill.NewShortUUID()}
	if b.url == "" {
		b.server = estest.Run(t)
		b.url = b.server.ConnectionString()
	}
	return b
}

func (b *bench) open(t *testing.T) (*esclient.Client, *connections) {
	t.Helper()
	client, counter, err := openCounted(b.url)
	if err != nil {
		t.Fatal(err)
	}
	b.closers = append(b.closers, client.Close)
	return client, counter
}

func (b *bench) startService(
	ctx context.Context, t *testing.T, handler func(context.Context, *GetPrice) (Price, error),
) *connections {
	t.Helper()
	client, counter := b.open(t)
	service := &Service{Client: client, Commands: "commands-" + b.run, Price: handler, Logger: watermill.NopLogger{}}
	stop, err := service.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.closers = append(b.closers, stop)
	return counter
}

func (b *bench) replies(caller int) string { return fmt.Sprintf("replies-%s-%d", b.run, caller) }

func (b *bench) newRequester(ctx context.Context, t *testing.T, caller int) (*Requester, *connections) {
	t.Helper()
	client, counter := b.open(t)
	requester, err := NewRequester(
		ctx, client, "commands-"+b.run, b.replies(caller), 30*time.Second, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	b.closers = append(b.closers, requester.Close)
	return requester, counter
}

// waitForReplies waits until the stream of a caller has so many replies. There may not be more.
func (b *bench) waitForReplies(ctx context.Context, t *testing.T, caller, replies int) {
	t.Helper()
	client, err := esclient.Open(b.url)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for {
		page, err := client.ReadStreamPage(ctx, b.replies(caller), esclient.ReadOptions{})
		if err != nil && !errors.Is(err, esclient.ErrStreamNotFound) {
			t.Fatal(err)
		}
		if len(page.Events) > replies {
			t.Fatalf("there are %d replies, want %d", len(page.Events), replies)
		}
		if len(page.Events) == replies {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// close closes everything, in reverse order.
func (b *bench) close(t *testing.T) {
	t.Helper()
	for i := len(b.closers) - 1; i >= 0; i-- {
		if err := b.closers[i](); err != nil {
			t.Error(err)
		}
	}
	b.closers = nil
}
