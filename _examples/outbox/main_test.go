package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// programVariable makes the program of the tests the program that is tested, so that they can start and kill it.
const programVariable = "OUTBOX_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		return
	}
	// database/sql cancels the goroutine of a closed DB without waiting for it.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}

func TestDemonstration(t *testing.T) {
	var out bytes.Buffer
	if err := demonstrate(t.Context(), &out, os.Getenv("EVENTSTORE_URL")); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	want := `EventStore has these events, in the order of the log:
  0@1 OrderPlaced {"customer":"Ann","amount":60}
  1@1 OrderPaid {}
  0@3 OrderPlaced {"customer":"Ben","amount":30}
  0@4 OrderPlaced {"customer":"Cid","amount":20}
`
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("want\n%s\nin the end of\n%s", want, out.String())
	}
}

// The shop is killed at random moments, and the embedded server is restarted now and then, which makes it forget the
// event ids of earlier appends. In the end EventStore has the events of each committed order once, and no others.
func TestAKilledShopLosesAndRepeatsNothing(t *testing.T) {
	const kills = 40
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := openShop(t, ctx)
	for kill := range kills {
		p := s.start(t)
		if kill%3 == 0 {
			time.Sleep(rand.N(200 * time.Millisecond)) // it may have begun or not
		} else {
			p.waitForOrders(ctx, t, s.count(ctx, t)+1+rand.IntN(30))
		}
		p.kill(t)
		if s.server != nil && kill%4 == 0 {
			if err := s.server.Restart(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.requireForwarded(ctx, t)
}

// While EventStore is down, the shop goes on. The events arrive later, in order.
func TestTheShopGoesOnWhileEventStoreIsDown(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := openShop(t, ctx)
	if s.server == nil {
		t.Skip("the server of EVENTSTORE_URL is not stopped")
	}
	embedded := &eventStore{server: s.server}
	stopForwarding := startForwarding(ctx, s.shop.DB, s.client, watermill.NopLogger{})
	place := func(orders int) {
		t.Helper()
		for range orders {
			id := watermill.NewUUID()
			if err := s.shop.Place(ctx, id, OrderPlaced{"Ann", 1}); err != nil {
				t.Fatal(err)
			}
			if err := s.shop.Pay(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3 {
		place(20)
		if err := embedded.stop(); err != nil {
			t.Fatal(err)
		}
		place(20)
		if waiting, err := countOutbox(ctx, s.shop.DB); err != nil || waiting < 40 {
			t.Fatalf("%d events wait, want 40 at least; %v", waiting, err)
		}
		if err := embedded.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { embedded.server.Close() })
		if err := waitUntilForwarded(ctx, s.shop.DB); err != nil {
			t.Fatal(err)
		}
	}
	if err := stopForwarding(); err != nil {
		t.Fatal(err)
	}
	s.requireForwarded(ctx, t)
}

func TestAMessageWithoutANumberIsRefused(t *testing.T) {
	for _, number := range []string{"", "-1", "many"} {
		msg := message.NewMessage(watermill.NewUUID(), nil)
		msg.Metadata.Set(eventNumberKey, number)
		if err := (numbered{nil}).Publish("order-1", msg); err == nil || !strings.Contains(err.Error(), msg.UUID) {
			t.Errorf("number %q: want an error that names the message, have %v", number, err)
		}
	}
}

// shopUnderTest is a shop with an empty database, and its EventStore.
type shopUnderTest struct {
	url, file string
	server    *estest.Server // nil if it is not ours
	client    *esclient.Client
	shop      *Shop
	begin     esclient.Start
}

func openShop(t *testing.T, ctx context.Context) *shopUnderTest {
	t.Helper()
	s := &shopUnderTest{url: os.Getenv("EVENTSTORE_URL")}
	if s.url == "" {
		s.server = estest.Run(t)
		s.url = s.server.ConnectionString()
	}
	var err error
	if s.client, err = esclient.Open(s.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.client.Close() })
	if s.begin, err = endOfLog(ctx, s.client); err != nil {
		t.Fatal(err)
	}
	s.file = filepath.ToSlash(filepath.Join(t.TempDir(), "shop.db"))
	db, err := openDatabase(ctx, s.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s.shop = &Shop{DB: db, Category: "order" + watermill.NewShortUUID()}
	return s
}

func (s *shopUnderTest) count(ctx context.Context, t *testing.T) (orders int) {
	t.Helper()
	if err := s.shop.DB.QueryRowContext(ctx, "SELECT COUNT(*) FROM orders").Scan(&orders); err != nil {
		t.Fatal(err)
	}
	return orders
}

// requireForwarded forwards the outbox. It checks that EventStore then has all events of the orders in the database,
// once and in order, and no others.
func (s *shopUnderTest) requireForwarded(ctx context.Context, t *testing.T) {
	t.Helper()
	stop := startForwarding(ctx, s.shop.DB, s.client, watermill.NopLogger{})
	if err := errors.Join(waitUntilForwarded(ctx, s.shop.DB), stop()); err != nil {
		t.Fatal(err)
	}
	events, err := readEvents(ctx, s.client, s.begin, s.shop.Category)
	if err != nil {
		t.Fatal(err)
	}
	var placed []string // in the order of the log
	streams := make(map[string][]string)
	for _, event := range events {
		id := strings.TrimPrefix(event.Stream, s.shop.Category+"-")
		text := fmt.Sprintf("%d %s", event.Number, event.Type)
		if event.Type == "OrderPlaced" {
			placed = append(placed, id)
			text += fmt.Sprintf(" %s", event.Data)
		}
		streams[id] = append(streams[id], text)
	}

	orders, want := s.orders(ctx, t)
	if !slices.Equal(placed, orders) {
		t.Errorf("%d orders are placed in EventStore, want %d, in the same order", len(placed), len(orders))
	}
	for id, events := range streams {
		if !slices.Equal(events, want[id]) {
			t.Errorf("order %s has the events %q, want %q", id, events, want[id])
		}
	}
	t.Logf("%d events of %d orders", len(events), len(orders))
	if len(orders) == 0 {
		t.Error("there are no orders")
	}
}

// orders returns the ids of the orders in the database, as they were placed, and the events that they should have.
func (s *shopUnderTest) orders(ctx context.Context, t *testing.T) (ids []string, events map[string][]string) {
	t.Helper()
	rows, err := s.shop.DB.QueryContext(ctx, "SELECT id, customer, amount, events FROM orders ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	events = make(map[string][]string)
	for rows.Next() {
		var id, customer string
		var amount, number int
		if err := rows.Scan(&id, &customer, &amount, &number); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		events[id] = []string{fmt.Sprintf(`0 OrderPlaced {"customer":%q,"amount":%d}`, customer, amount)}
		if number > 1 {
			events[id] = append(events[id], "1 OrderPaid")
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids, events
}

// process is a shop that runs as a process of its own.
type process struct {
	shop  *shopUnderTest
	cmd   *exec.Cmd
	out   bytes.Buffer
	ended chan error
}

func (s *shopUnderTest) start(t *testing.T) *process {
	t.Helper()
	p := &process{
		shop: s, cmd: exec.Command(os.Args[0], "-db", s.file, "-category", s.shop.Category), ended: make(chan error, 1),
	}
	p.cmd.Env = append(os.Environ(), programVariable+"=1", "EVENTSTORE_URL="+s.url)
	p.cmd.Stderr = &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // if the test has failed
	return p
}

// waitForOrders waits until the shop has so many orders.
func (p *process) waitForOrders(ctx context.Context, t *testing.T, orders int) {
	t.Helper()
	for p.shop.count(ctx, t) < orders {
		select {
		case err := <-p.ended:
			t.Fatalf("the shop has ended: %v\n%s", err, p.out.String())
		case <-ctx.Done():
			t.Fatal("the shop does not get on")
		case <-time.After(time.Millisecond):
		}
	}
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err == nil || p.out.Len() > 0 {
		t.Fatalf("the shop has ended before it was killed: %v\n%s", err, p.out.String())
	}
}
