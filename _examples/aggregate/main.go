// Command aggregate keeps accounts in event streams: it loads an account, decides, and appends the event on condition
// that the account has not changed. Tellers who withdraw from one account at the same time never overdraw it.
//
//	go -C _examples/aggregate run .                                                    on an embedded server
//	EVENTSTORE_URL=tcp://admin:changeit@localhost:1113 go -C _examples/aggregate run .  on a real one
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	err := run(ctx, os.Stdout, os.Getenv("EVENTSTORE_URL"))
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "aggregate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, url string) error {
	if url == "" {
		server, err := estest.Start()
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
	accounts := &Accounts{
		Client: client, Category: "account",
		OnSnapshotError: func(err error) { fmt.Fprintln(out, "warning:", err) },
	}
	id := uuid.NewString() // a new account for each run

	// The caller chooses the id of a command. So the command can be made again, and counts once.
	deposit := uuid.New()
	for range 2 {
		if err := accounts.Deposit(ctx, id, deposit, 100); err != nil {
			return err
		}
	}
	account, err := accounts.Load(ctx, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "deposited 100, twice with the same id: the balance is %d\n", account.Balance)

	paid, refused, err := withdrawAtOnce(ctx, accounts, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "10 tellers have withdrawn 1 each, 15 times: %d were paid, %d refused\n", paid, refused)

	account, err = accounts.Load(ctx, id)
	if err != nil {
		return err
	}
	snapshot, err := accounts.loadSnapshot(ctx, id)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the balance is %d after event %d; the latest snapshot is of event %d\n",
		account.Balance, account.Version, snapshot.Version)
	return nil
}

// withdrawAtOnce has 10 tellers make 15 withdrawals each from one account.
func withdrawAtOnce(ctx context.Context, accounts *Accounts, id string) (paid, refused int, err error) {
	var tellers sync.WaitGroup
	results := make(chan error, 10*15)
	for range 10 {
		tellers.Go(func() {
			for range 15 {
				results <- accounts.Withdraw(ctx, id, uuid.New(), 1)
			}
		})
	}
	tellers.Wait()
	close(results)
	for err := range results {
		switch {
		case err == nil:
			paid++
		case errors.Is(err, ErrInsufficient):
			refused++
		default:
			return paid, refused, err
		}
	}
	return paid, refused, nil
}
