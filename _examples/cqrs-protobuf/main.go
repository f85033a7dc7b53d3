// Command cqrs-protobuf runs a shop with commands and events in protobuf, by Watermill's CQRS component. Each order has
// an event stream of its own. One group of event handlers reads all of them by the category, the other one by a filter
// on $all. Correlation and causation ids tell which message led to which.
//
//	go -C _examples/cqrs-protobuf run .                                                    on an embedded server
//	EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 go -C _examples/cqrs-protobuf run .  on a real one
//
// The server's projection $by_category must run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/_examples/cqrs-protobuf/shop"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := demonstrate(ctx, os.Stdout, os.Getenv("EVENTSTORE_URL"))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cqrs-protobuf:", err)
		os.Exit(1)
	}
}

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
	client, err := esclient.Open(url)
	if err != nil {
		return err
	}
	defer client.Close()
	told := newTold(out, "Report: order 1 is done.", "Report: order 2 is done.")
	category := "order" + watermill.NewShortUUID() // a new one for each run
	app := &application{client: client, category: category, tell: told.tell}
	stop, err := app.start(ctx, watermill.NopLogger{})
	if err != nil {
		return err
	}
	err = app.placeOrder(ctx, "request-1", &shop.PlaceOrder{OrderId: "1", Customer: "Ann", Cents: 1200})
	if err == nil {
		err = app.placeOrder(ctx, "request-2", &shop.PlaceOrder{OrderId: "2", Customer: "Ben", Cents: 3400})
	}
	if err == nil {
		err = told.wait(ctx)
	}
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	return printStory(ctx, out, app, "request-2", "2")
}

// told prints what the handlers tell, and waits until they have told certain lines.
type told struct {
	mu      sync.Mutex
	out     io.Writer
	missing map[string]bool
	all     chan struct{}
}

func newTold(out io.Writer, lines ...string) *told {
	t := &told{out: out, missing: make(map[string]bool), all: make(chan struct{})}
	for _, line := range lines {
		t.missing[line] = true
	}
	return t
}

func (t *told) tell(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(t.out, line)
	if t.missing[line] {
		delete(t.missing, line)
		if len(t.missing) == 0 {
			close(t.all)
		}
	}
}

func (t *told) wait(ctx context.Context) error {
	select {
	case <-t.all:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// step is an event that EventStore has, with the ids in its metadata.
type step struct {
	event       *esclient.Event
	Correlation string `json:"$correlationId"`
	Causation   string `json:"$causationId"`
}

// printStory prints the commands and the events of a request, each after its cause, as EventStore has them.
func printStory(ctx context.Context, out io.Writer, app *application, request, order string) error {
	effects, err := readEffects(ctx, app, request, order)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "EventStore has these events with the correlation id %s:\n", request)
	cause := step{event: &esclient.Event{Type: "the customer"}}
	for effect, ok := effects[""]; ok; effect, ok = effects[cause.event.ID.String()] {
		stream := strings.Replace(effect.event.Stream, app.category, "order", 1)
		fmt.Fprintf(out, "  %s in stream %s, caused by %s\n", effect.event.Type, stream, cause.event.Type)
		cause = effect
	}
	return nil
}

// readEffects reads all events of a request, by the ids of their causes.
func readEffects(ctx context.Context, app *application, request, order string) (map[string]step, error) {
	effects := make(map[string]step)
	for _, stream := range []string{
		app.commandTopic("shop.PlaceOrder"), app.commandTopic("shop.ShipOrder"), app.category + "-" + order,
	} {
		for event, err := range app.client.ReadStream(ctx, stream, esclient.ReadOptions{}) {
			if err != nil {
				return nil, err
			}
			s := step{event: event}
			if err := event.MetadataJSON(&s); err != nil {
				return nil, err
			}
			if s.Correlation == request {
				effects[s.Causation] = s
			}
		}
	}
	return effects, nil
}
