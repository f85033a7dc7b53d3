package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestAggregate(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out, os.Getenv("EVENTSTORE_URL")); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, line := range []string{
		"deposited 100, twice with the same id: the balance is 100",
		"100 were paid, 50 refused",
		"the balance is 0 after event 100",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("want the line %q in\n%s", line, out.String())
		}
	}
}

// Many writers change one account, while connections are cut and callers lose patience. Each command is made again
// until its outcome is known.
func TestAnAccountIsNeverOverdrawn(t *testing.T) {
	const writers, commands = 8, 40
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	url, cut := server(t)
	id := uuid.NewString()
	var unknown atomic.Int64
	accepted := make([]map[uuid.UUID]int, writers) // how each writer's commands have changed the balance
	var running sync.WaitGroup
	for w := range writers {
		// Each has a connection of its own, as if it was another process.
		accounts := open(t, url)
		accepted[w] = make(map[uuid.UUID]int)
		running.Go(func() {
			for range commands {
				cut()
				command, amount := uuid.New(), rand.IntN(9)-5
				if amount >= 0 {
					amount++ // 1 to 4, or -5 to -1
				}
				err := insist(ctx, &unknown, func(ctx context.Context) error {
					if amount < 0 {
						return accounts.Withdraw(ctx, id, command, -amount)
					}
					return accounts.Deposit(ctx, id, command, amount)
				})
				switch {
				case err == nil:
					accepted[w][command] = amount
				case !errors.Is(err, ErrInsufficient):
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	running.Wait()
	t.Logf("%d attempts had an unknown outcome", unknown.Load())

	want := make(map[uuid.UUID]int)
	for _, commands := range accepted {
		for command, amount := range commands {
			want[command] = amount
		}
	}
	// Above, all attempts to save a snapshot may have run out of time.
	accounts := open(t, url)
	for range snapshotEvery {
		command := uuid.New()
		if err := accounts.Deposit(ctx, id, command, 1); err != nil {
			t.Fatal(err)
		}
		want[command] = 1
	}
	checkLog(ctx, t, accounts, id, want)
}

// insist makes a command again until it is accepted or refused. Its first attempts have little time.
func insist(ctx context.Context, unknown *atomic.Int64, command func(context.Context) error) error {
	for patience := time.Millisecond; ; patience *= 2 {
		attempt, cancel := context.WithTimeout(ctx, patience+rand.N(patience))
		err := command(attempt)
		outOfTime := attempt.Err() != nil
		cancel()
		if errors.Is(err, esclient.ErrOutcomeUnknown) {
			unknown.Add(1)
		}
		if err == nil || ctx.Err() != nil || !outOfTime || errors.Is(err, ErrInsufficient) {
			return err
		}
	}
}

// checkLog holds that the account has each accepted command once and no other, was never overdrawn, and that the latest
// snapshot does not change the loaded account.
func checkLog(ctx context.Context, t *testing.T, accounts *Accounts, id string, want map[uuid.UUID]int) {
	t.Helper()
	replayed := Account{Version: esclient.NoStream}
	got := make(map[uuid.UUID]int)
	for event, err := range accounts.Client.ReadStream(ctx, accounts.stream(id), esclient.ReadOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		before := replayed.Balance
		if err := replayed.apply(event); err != nil {
			t.Fatal(err)
		}
		if replayed.Balance < 0 {
			t.Fatalf("the balance is %d after event %d", replayed.Balance, event.Number)
		}
		if _, twice := got[event.ID]; twice {
			t.Errorf("command %v was written twice", event.ID)
		}
		got[event.ID] = replayed.Balance - before
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the stream has %d commands, the writers were told of %d, and they are not the same",
			len(got), len(want))
	}
	loaded, err := accounts.Load(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(loaded, replayed) {
		t.Errorf("loaded %+v, want %+v", loaded, replayed)
	}
	snapshot, err := accounts.loadSnapshot(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if behind := loaded.Version - snapshot.Version; behind < 0 || behind >= snapshotEvery {
		t.Errorf("the snapshot is of event %d, the last event is %d", snapshot.Version, loaded.Version)
	}
}

// server returns the server that EVENTSTORE_URL names, or an embedded one, of which cut cuts connections now and then.
func server(t *testing.T) (url string, cut func()) {
	t.Helper()
	if url := os.Getenv("EVENTSTORE_URL"); url != "" {
		return url, func() {}
	}
	srv := estest.Run(t)
	return srv.ConnectionString() + "?reconnectionDelay=1ms&maxReconnectionDelay=20ms", func() {
		switch rand.IntN(20) {
		case 0:
			srv.DropConnections()
		case 1, 2:
			srv.CutAfterReceived(rand.Int64N(2000)) // in the middle of a request
		case 3, 4:
			srv.CutAfterSent(rand.Int64N(2000)) // in the middle of a reply
		}
	}
}

func open(t *testing.T, url string) *Accounts {
	t.Helper()
	client, err := esclient.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Accounts{Client: client, Category: "account"}
}

// A snapshot of an earlier version of the program is not used, and one without its account is an error.
func TestSnapshots(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	url, _ := server(t)
	accounts, id := open(t, url), uuid.NewString()
	for range snapshotEvery {
		if err := accounts.Deposit(ctx, id, uuid.New(), 2); err != nil {
			t.Fatal(err)
		}
	}
	snapshot, err := accounts.loadSnapshot(ctx, id)
	if err != nil || snapshot.Version != snapshotEvery-1 || snapshot.Balance != 2*snapshotEvery {
		t.Fatalf("the snapshot is %+v, %v", snapshot, err)
	}
	if _, err := accounts.Client.Append(ctx, accounts.snapshotStream(id), esclient.Any, esclient.EventData{
		Type: "AccountSnapshot.v0", Data: []byte("something else"),
	}); err != nil {
		t.Fatal(err)
	}
	account, err := accounts.Load(ctx, id)
	if err != nil || account.Balance != 2*snapshotEvery {
		t.Fatalf("loaded %+v, %v", account, err)
	}

	if err := accounts.trySaveSnapshot(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.Client.DeleteStream(ctx, accounts.stream(id), esclient.Any); err != nil {
		t.Fatal(err)
	}
	if err := accounts.Deposit(ctx, id, uuid.New(), 1); !errors.Is(err, esclient.ErrStreamNotFound) {
		t.Fatalf("want an error that the stream is not there, have %v", err)
	}
}
