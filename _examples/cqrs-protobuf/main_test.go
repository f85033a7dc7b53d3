package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/_examples/cqrs-protobuf/shop"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDemonstration(t *testing.T) {
	var out bytes.Buffer
	if err := demonstrate(t.Context(), &out, os.Getenv("EVENTSTORE_URL")); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, line := range []string{
		"Ann places order 1.", "Ben places order 2.", "Order 1 is shipped.", "Order 2 is shipped.",
		"Report: order 1 of Ann, for 1200 cents, is open.", "Report: order 2 of Ben, for 3400 cents, is open.",
		"Report: order 1 is done.", "Report: order 2 is done.",
	} {
		if strings.Count(out.String(), line+"\n") != 1 {
			t.Errorf("want the line %q once in\n%s", line, out.String())
		}
	}
	story := `EventStore has these events with the correlation id request-2:
  shop.PlaceOrder in stream order_commands.PlaceOrder, caused by the customer
  shop.OrderPlaced in stream order-2, caused by shop.PlaceOrder
  shop.ShipOrder in stream order_commands.ShipOrder, caused by shop.OrderPlaced
  shop.OrderShipped in stream order-2, caused by shop.ShipOrder
`
	if !strings.HasSuffix(out.String(), story) {
		t.Errorf("want\n%s\nin the end of\n%s", story, out.String())
	}
}

// A command that comes twice, as one whose ack was lost does, leads to one order.
func TestACommandThatComesTwiceCountsOnce(t *testing.T) {
	ctx, app, told := startApplication(t, "Report: order 1 is done.", "Report: order 2 is done.")
	command, err := marshaler.Marshal(&shop.PlaceOrder{OrderId: "1", Customer: "Ann", Cents: 5})
	if err != nil {
		t.Fatal(err)
	}
	// Without UseMessageUUIDAsEventID both messages are written.
	publisher, err := eventstore.NewPublisher(eventstore.PublisherConfig{Client: app.client}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	for _, msg := range []*message.Message{command, command.Copy()} {
		msg.SetContext(ctx)
		if err := publisher.Publish(app.commandTopic("shop.PlaceOrder"), msg); err != nil {
			t.Fatal(err)
		}
	}
	// Commands and events are handled in order, so behind this one nothing follows from the others.
	if err := app.placeOrder(ctx, "request", &shop.PlaceOrder{OrderId: "2", Customer: "Ann", Cents: 5}); err != nil {
		t.Fatal(err)
	}
	if err := told.wait(ctx); err != nil {
		t.Fatal(err)
	}
	requireTypes(ctx, t, app, app.commandTopic("shop.PlaceOrder"),
		"shop.PlaceOrder", "shop.PlaceOrder", "shop.PlaceOrder")
	requireTypes(ctx, t, app, app.category+"-1", "shop.OrderPlaced", "shop.OrderShipped")
	requireTypes(ctx, t, app, app.commandTopic("shop.ShipOrder"), "shop.ShipOrder", "shop.ShipOrder")
}

// Another program, without Watermill, sends a command and reads the events.
func TestOtherProgramsUseTheSameEvents(t *testing.T) {
	ctx, app, told := startApplication(t, "Report: order 7 is done.")
	data, err := proto.Marshal(&shop.PlaceOrder{OrderId: "7", Customer: "Cid", Cents: 9})
	if err != nil {
		t.Fatal(err)
	}
	command := esclient.EventData{ID: uuid.New(), Type: "shop.PlaceOrder", Data: data}
	if _, err := app.client.Append(ctx, app.commandTopic(command.Type), esclient.NoStream, command); err != nil {
		t.Fatal(err)
	}
	if err := told.wait(ctx); err != nil {
		t.Fatal(err)
	}
	event, err := app.client.ReadEvent(ctx, app.category+"-7", 0, esclient.ReadEventOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var placed shop.OrderPlaced
	if err := proto.Unmarshal(event.Data, &placed); err != nil {
		t.Fatal(err)
	}
	if want := (&shop.OrderPlaced{OrderId: "7", Customer: "Cid", Cents: 9}); !proto.Equal(&placed, want) {
		t.Errorf("the event is %v, want %v", &placed, want)
	}
	var ids step
	if err := event.MetadataJSON(&ids); err != nil {
		t.Fatal(err)
	}
	if id := command.ID.String(); ids.Causation != id || ids.Correlation != id {
		t.Errorf("causation id %s, correlation id %s; want %s for both", ids.Causation, ids.Correlation, id)
	}
}

func startApplication(t *testing.T, lines ...string) (context.Context, *application, *told) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	url := os.Getenv("EVENTSTORE_URL")
	if url == "" {
		url = estest.Run(t, estest.WithProjections()).ConnectionString()
	}
	client, err := esclient.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	told := newTold(t.Output(), lines...)
	app := &application{client: client, category: "order" + watermill.NewShortUUID(), tell: told.tell}
	stop, err := app.start(ctx, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return ctx, app, told
}

func requireTypes(ctx context.Context, t *testing.T, app *application, stream string, want ...string) {
	t.Helper()
	var have []string
	for event, err := range app.client.ReadStream(ctx, stream, esclient.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, event.Type)
	}
	if strings.Join(have, " ") != strings.Join(want, " ") {
		t.Errorf("%s has %q, want %q", stream, have, want)
	}
}
