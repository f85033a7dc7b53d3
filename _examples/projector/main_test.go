package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// programVariable makes the program of the tests the program that is tested, so that they can start and kill it.
const programVariable = "PROJECTOR_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestDemonstration(t *testing.T) {
	var out bytes.Buffer
	if err := demonstrate(t.Context(), &out, os.Getenv("EVENTSTORE_URL")); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, text := range []string{
		"Ann: orders 1, amount 10\nBen: orders 2, amount 60\n",
		"caught up: the read model has all that the category has\n",
		"Ann: orders 0, amount 0\nBen: orders 3, amount 100\n",
	} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("want %q in\n%s", text, out.String())
		}
	}
}

// The projector is killed at random moments while orders are placed, cancelled and deleted. In the end it has applied
// each event once.
func TestAKilledProjectorLosesAndRepeatsNothing(t *testing.T) {
	const kills = 40
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	url, shop, file, db := openShop(t, ctx)

	stopWriting := make(chan struct{})
	var kept []int // orders that were not deleted
	var writing sync.WaitGroup
	writing.Go(func() { kept = write(ctx, t, shop, stopWriting) })
	for kill := range kills {
		p := start(t, url, file, shop.category)
		if kill%3 == 0 {
			time.Sleep(rand.N(200 * time.Millisecond)) // it may have begun or not
		} else {
			p.waitForEvents(ctx, t, db, count(ctx, t, db)+1+rand.IntN(50))
		}
		p.kill(t)
	}
	close(stopWriting)
	writing.Wait()
	if t.Failed() {
		return
	}

	want := fold(ctx, t, shop, kept)
	p := start(t, url, file, shop.category)
	for have := readModel(ctx, t, db, shop, kept); len(have.history) < len(want.history); {
		p.check(ctx, t)
		have = readModel(ctx, t, db, shop, kept)
	}
	p.stop(ctx, t)
	if have := readModel(ctx, t, db, shop, kept); !reflect.DeepEqual(have, want) {
		t.Errorf("the read model is\n%v\nwant\n%v", have, want)
	}
	var twice int
	if err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM (
		SELECT 1 FROM history GROUP BY stream, number HAVING COUNT(*) > 1)`).Scan(&twice); err != nil {
		t.Fatal(err)
	}
	if twice > 0 {
		t.Errorf("%d events were applied twice", twice)
	}
	t.Logf("%d events of %d orders, %d kills", len(want.history), len(kept), kills)
}

// write places orders, cancels some and deletes others, until stop is closed. It returns the orders that it has kept.
// Those that it deletes are Dee's: the read model may have seen them or not.
func write(ctx context.Context, t *testing.T, shop *shop, stop <-chan struct{}) (kept []int) {
	for n := 0; ; n++ {
		select {
		case <-stop:
			return kept
		case <-time.After(rand.N(4 * time.Millisecond)):
		}
		placed := OrderPlaced{[]string{"Ann", "Ben", "Cid"}[rand.IntN(3)], 1 + rand.IntN(1000)}
		deleted := rand.IntN(5) == 0
		if deleted {
			placed.Customer = "Dee"
		}
		err := shop.place(ctx, n, placed)
		if err == nil && rand.IntN(3) == 0 {
			err = shop.cancel(ctx, n)
		}
		if deleted && err == nil {
			err = shop.remove(ctx, n)
		}
		if err != nil {
			t.Errorf("order %d: %v", n, err)
			return kept
		}
		if !deleted {
			kept = append(kept, n)
		}
	}
}

// model is the read model of the orders that were kept.
type model struct {
	history   []string // sorted
	customers map[string]string
}

// fold makes the read model of the log, without the projector.
func fold(ctx context.Context, t *testing.T, shop *shop, kept []int) model {
	t.Helper()
	m := model{customers: make(map[string]string)}
	orders, amounts := make(map[string]int), make(map[string]int)
	for _, n := range kept {
		var placed OrderPlaced
		for event, err := range shop.client.ReadStream(ctx, shop.stream(n), esclient.ReadOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			m.history = append(m.history, fmt.Sprint(event.Stream, event.Number, event.Type))
			sign := 1
			switch event.Type {
			case "OrderPlaced":
				if err := event.JSON(&placed); err != nil {
					t.Fatal(err)
				}
			case "OrderCancelled":
				sign = -1
			}
			orders[placed.Customer] += sign
			amounts[placed.Customer] += sign * placed.Amount
		}
	}
	slices.Sort(m.history)
	for name := range maps.Keys(orders) {
		m.customers[name] = fmt.Sprint(orders[name], amounts[name])
	}
	return m
}

// readModel reads the read model without the deleted orders.
func readModel(ctx context.Context, t *testing.T, db *sql.DB, shop *shop, kept []int) model {
	t.Helper()
	streams := make(map[string]bool, len(kept))
	for _, n := range kept {
		streams[shop.stream(n)] = true
	}
	m := model{customers: make(map[string]string)}
	query(ctx, t, db, "SELECT stream, number, type FROM history", func(rows *sql.Rows) error {
		var stream, eventType string
		var number int64
		err := rows.Scan(&stream, &number, &eventType)
		if streams[stream] {
			m.history = append(m.history, fmt.Sprint(stream, number, eventType))
		}
		return err
	})
	query(ctx, t, db, "SELECT name, orders, amount FROM customers WHERE name <> 'Dee'", func(rows *sql.Rows) error {
		var name string
		var orders, amount int
		err := rows.Scan(&name, &orders, &amount)
		m.customers[name] = fmt.Sprint(orders, amount)
		return err
	})
	slices.Sort(m.history)
	return m
}

func query(ctx context.Context, t *testing.T, db *sql.DB, text string, scan func(*sql.Rows) error) {
	t.Helper()
	rows, err := db.QueryContext(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// count returns how many events were applied.
func count(ctx context.Context, t *testing.T, db *sql.DB) (events int) {
	t.Helper()
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM history").Scan(&events); err != nil {
		t.Fatal(err)
	}
	return events
}

// process is a projector that runs as a process of its own.
type process struct {
	cmd      *exec.Cmd
	out      bytes.Buffer // its errors
	caughtUp caughtUp
	ended    chan error
}

// caughtUp is the output of a projector. The first that it prints is that it has caught up.
type caughtUp struct {
	once    sync.Once
	printed chan struct{}
}

func (c *caughtUp) Write(b []byte) (int, error) {
	c.once.Do(func() { close(c.printed) })
	return len(b), nil
}

func start(t *testing.T, url, file, category string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], "-db", file, "-category", category), ended: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), programVariable+"=1", "EVENTSTORE_URL="+url)
	p.caughtUp.printed = make(chan struct{})
	p.cmd.Stdout, p.cmd.Stderr = &p.caughtUp, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // if the test has failed
	return p
}

// waitForEvents waits until so many events were applied.
func (p *process) waitForEvents(ctx context.Context, t *testing.T, db *sql.DB, events int) {
	t.Helper()
	for count(ctx, t, db) < events {
		p.check(ctx, t)
	}
}

// check waits a little, and fails the test if the process has ended or takes too long.
func (p *process) check(ctx context.Context, t *testing.T) {
	t.Helper()
	select {
	case err := <-p.ended:
		t.Fatalf("the projector has ended: %v\n%s", err, p.out.String())
	case <-ctx.Done():
		t.Fatal("the projector does not get on")
	case <-time.After(time.Millisecond):
	}
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err == nil || p.out.Len() > 0 {
		t.Fatalf("the projector has ended before it was killed: %v\n%s", err, p.out.String())
	}
}

// stop interrupts the projector, which then ends in good order. Before it has caught up, the program may not have
// begun to wait for signals.
func (p *process) stop(ctx context.Context, t *testing.T) {
	t.Helper()
	for waiting := true; waiting; {
		select {
		case <-p.caughtUp.printed:
			waiting = false
		default:
			p.check(ctx, t)
		}
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-p.ended; err != nil || p.out.Len() > 0 {
		t.Fatalf("the projector has ended: %v\n%s", err, p.out.String())
	}
}

// Of two projectors of one read model, the one that was started later goes on, and the other one ends with an error.
func TestALaterProjectorTakesOver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	url, shop, _, db := openShop(t, ctx)
	run := func() <-chan error {
		caughtUp, ended := make(chan struct{}), make(chan error, 1)
		var once sync.Once
		p := &Projector{
			DB: db, URL: url, Category: shop.category, Logger: watermill.NopLogger{},
			OnCaughtUp: func() { once.Do(func() { close(caughtUp) }) },
			OnLive:     func(string, string) {},
		}
		go func() { ended <- p.Run(ctx) }()
		select {
		case <-caughtUp:
		case err := <-ended:
			t.Fatal(err)
		}
		return ended
	}
	earlier := run()
	later := run()
	if err := shop.place(ctx, 0, OrderPlaced{"Ann", 1}); err != nil {
		t.Fatal(err)
	}
	if err := <-earlier; !errors.Is(err, eventstore.ErrCheckpointTaken) {
		t.Errorf("want an error that tells of the other projector, have %v", err)
	}
	for count(ctx, t, db) == 0 {
		select {
		case err := <-later:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-later; err != nil {
		t.Error(err)
	}
	if events := count(t.Context(), t, db); events != 1 {
		t.Errorf("one event was applied %d times", events)
	}
}

// openShop opens a server with an empty shop, and the database of its read model in a new file.
func openShop(t *testing.T, ctx context.Context) (url string, s *shop, file string, db *sql.DB) {
	t.Helper()
	url = os.Getenv("EVENTSTORE_URL")
	if url == "" {
		url = estest.Run(t, estest.WithProjections()).ConnectionString()
	}
	client, err := esclient.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	file = filepath.ToSlash(filepath.Join(t.TempDir(), "orders.db"))
	db, err = openDatabase(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return url, &shop{client: client, category: "order" + watermill.NewShortUUID()}, file, db
}
