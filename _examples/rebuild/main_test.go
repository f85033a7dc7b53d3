package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/essql"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// programVariable makes the program of the tests the program that is tested, so that they can start and kill it.
const programVariable = "REBUILD_TEST_PROGRAM"

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
		"Version 1 is live.\nVersion 2 is live.\n",
		"The projector of version 1 has ended: a newer version of the read model is live.\n",
		"Ann: orders ",
	} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("want %q in\n%s", text, out.String())
		}
	}
}

// Both projectors are killed again and again, while orders are placed and read. The new version goes live nevertheless,
// no read fails or goes back, and in the end the read model has each order once.
func TestAKilledRebuildIsNotNoticed(t *testing.T) {
	const before, kills = 200, 12 // orders that are there when the rebuild begins
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	url := os.Getenv("EVENTSTORE_URL")
	if url == "" {
		url = estest.Run(t).ConnectionString()
	}
	topic := "orders-" + watermill.NewShortUUID()
	file := filepath.ToSlash(filepath.Join(t.TempDir(), "customers.db"))
	db, err := openDatabase(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()

	run, stopWriter, stopReader := newRunner(ctx, t)
	first := &process{url: url, file: file, topic: topic, version: 1}
	first.start(t)
	first.waitUntil(ctx, t, func() (bool, error) { live, err := liveVersion(ctx, db); return live == 1, err })
	reader := &reader{db: db}
	run(stopReader, reader.readAllTheTime)
	run(stopWriter, func(ctx context.Context) error { return placeOrders(ctx, url, topic, db) })
	first.waitUntil(ctx, t, func() (bool, error) { orders, err := countOrders(ctx, db); return orders >= before, err })

	second := &process{url: url, file: file, topic: topic, version: 2}
	switched := false
	for range kills {
		second.start(t)
		progress := applied(ctx, db, 2) + 1 + rand.IntN(30)
		second.waitUntil(ctx, t, func() (bool, error) { return applied(ctx, db, 2) >= progress, nil })
		second.kill(t)
		live, err := liveVersion(ctx, db)
		if err != nil {
			t.Fatal(err)
		}
		if switched = switched || live == 2; !switched {
			first.kill(t)
			orders := applied(ctx, db, 1)
			first.start(t)
			first.waitUntil(ctx, t, func() (bool, error) { return applied(ctx, db, 1) > orders, nil })
		}
	}
	second.start(t)
	second.waitUntil(ctx, t, func() (bool, error) { live, err := liveVersion(ctx, db); return live == 2, err })
	first.waitForEnd(ctx, t)
	stopWriter.stop()
	want := fold(ctx, t, url, topic)
	second.waitUntil(ctx, t, func() (bool, error) {
		orders, err := countOrders(ctx, db)
		return orders >= want.orders, err
	})
	stopReader.stop()
	second.kill(t)

	if have := readModel(ctx, t, db); !reflect.DeepEqual(have, want) {
		t.Errorf("the read model is %v, want %v", have, want)
	}
	requireGone(ctx, t, db, topic)
	t.Logf("%d orders, %d reads", want.orders, reader.reads.Load())

	// The version before is not brought back by a projector that is started once more.
	first.start(t)
	first.waitForEnd(ctx, t)
	if live, err := liveVersion(ctx, db); err != nil || live != 2 {
		t.Errorf("version %d is live, %v", live, err)
	}
}

// requireGone holds that nothing is left of version 1.
func requireGone(ctx context.Context, t *testing.T, db *sql.DB, topic string) {
	t.Helper()
	var tables, checkpoints int
	if err := db.QueryRowContext(ctx,
		"SELECT COUNT(*) FROM sqlite_master WHERE name = 'customers_v1'").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+essql.DefaultTable+" WHERE name = ?",
		"customers-v1/"+topic).Scan(&checkpoints); err != nil {
		t.Fatal(err)
	}
	if tables+checkpoints > 0 {
		t.Errorf("of version 1 there are %d tables and %d checkpoints", tables, checkpoints)
	}
}

// applied returns how many orders a version has, 0 if it has no table.
func applied(ctx context.Context, db *sql.DB, version int) (orders int) {
	query := fmt.Sprintf("SELECT COALESCE(SUM(orders), 0) FROM customers_v%d", version)
	if err := db.QueryRowContext(ctx, query).Scan(&orders); err != nil {
		return 0
	}
	return orders
}

// model is the read model, or the expected one.
type model struct {
	orders    int
	customers map[string][2]int // orders and amount
}

func (m *model) add(customer string, orders, amount int) {
	m.orders += orders
	sum := m.customers[customer]
	m.customers[customer] = [2]int{sum[0] + orders, sum[1] + amount}
}

func fold(ctx context.Context, t *testing.T, url, topic string) model {
	t.Helper()
	client, err := esclient.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	m := model{customers: make(map[string][2]int)}
	for event, err := range client.ReadStream(ctx, topic, esclient.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		var placed OrderPlaced
		if err := event.JSON(&placed); err != nil {
			t.Fatal(err)
		}
		m.add(placed.Customer, 1, placed.Amount)
	}
	return m
}

func readModel(ctx context.Context, t *testing.T, db *sql.DB) model {
	t.Helper()
	rows, err := db.QueryContext(ctx, "SELECT name, orders, amount FROM customers")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	m := model{customers: make(map[string][2]int)}
	for rows.Next() {
		var name string
		var orders, amount int
		if err := rows.Scan(&name, &orders, &amount); err != nil {
			t.Fatal(err)
		}
		m.add(name, orders, amount)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return m
}

// stopper ends a function that runs beside the test, and waits for its end.
type stopper struct {
	ctx    context.Context
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

func (s *stopper) stop() {
	s.cancel()
	s.ended.Wait()
}

// newRunner returns a function that runs something until its stopper stops it, and two stoppers.
func newRunner(ctx context.Context, t *testing.T) (
	run func(s *stopper, what func(context.Context) error), first, second *stopper,
) {
	newStopper := func() *stopper {
		s := &stopper{}
		s.ctx, s.cancel = context.WithCancel(ctx)
		t.Cleanup(s.stop)
		return s
	}
	return func(s *stopper, what func(context.Context) error) {
		s.ended.Go(func() {
			if err := what(s.ctx); err != nil && s.ctx.Err() == nil {
				t.Error(err)
			}
		})
	}, newStopper(), newStopper()
}

// process is a projector that runs as a process of its own.
type process struct {
	url, file, topic string
	version          int

	cmd   *exec.Cmd
	out   *bytes.Buffer
	ended chan error
}

func (p *process) start(t *testing.T) {
	t.Helper()
	p.out, p.ended = &bytes.Buffer{}, make(chan error, 1)
	p.cmd = exec.Command(os.Args[0], "-db", p.file, "-topic", p.topic, "-version", fmt.Sprint(p.version))
	p.cmd.Env = append(os.Environ(), programVariable+"=1", "EVENTSTORE_URL="+p.url)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, ended := p.cmd, p.ended
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // if the test has failed
}

// waitUntil waits for something that the process is to do.
func (p *process) waitUntil(ctx context.Context, t *testing.T, done func() (bool, error)) {
	t.Helper()
	for {
		ok, err := done()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		select {
		case err := <-p.ended:
			t.Fatalf("the projector has ended: %v\n%s", err, p.out)
		case <-ctx.Done():
			t.Fatal("the projector does not get on")
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
		t.Fatalf("the projector has ended before it was killed: %v\n%s", err, p.out)
	}
}

// waitForEnd waits until the process has ended because a newer version is live.
func (p *process) waitForEnd(ctx context.Context, t *testing.T) {
	t.Helper()
	select {
	case err := <-p.ended:
		if err != nil || !strings.Contains(p.out.String(), errNewerVersion.Error()) {
			t.Fatalf("the projector has ended: %v\n%s", err, p.out)
		}
	case <-ctx.Done():
		t.Fatal("the projector does not end")
	}
}
