package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/essql"
)

// OrderPlaced is the event of which the read model is made.
type OrderPlaced struct {
	Customer string `json:"customer"`
	Amount   int    `json:"amount"`
}

// Each version of the read model has a table of its own. A program has one of them, its latest; here are two to see the
// change from one to the other.
var versions = map[int]struct {
	create string
	apply  func(ctx context.Context, tx *sql.Tx, placed OrderPlaced) error
}{
	1: {
		create: "CREATE TABLE IF NOT EXISTS customers_v1 (name TEXT PRIMARY KEY, orders INTEGER NOT NULL)",
		apply: func(ctx context.Context, tx *sql.Tx, placed OrderPlaced) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO customers_v1 VALUES (?, 1)
				ON CONFLICT (name) DO UPDATE SET orders = orders + 1`, placed.Customer)
			return err
		},
	},
	2: {
		create: `CREATE TABLE IF NOT EXISTS customers_v2
			(name TEXT PRIMARY KEY, orders INTEGER NOT NULL, amount INTEGER NOT NULL)`,
		apply: func(ctx context.Context, tx *sql.Tx, placed OrderPlaced) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO customers_v2 VALUES (?, 1, ?)
				ON CONFLICT (name) DO UPDATE SET orders = orders + 1, amount = amount + excluded.amount`,
				placed.Customer, placed.Amount)
			return err
		},
	},
}

// rebuildPause leaves the database to the live version, after each old event: SQLite has one writer at a time, and does
// not make them take turns.
const rebuildPause = 2 * time.Millisecond

// errNewerVersion ends a projector whose version of the read model is not needed any more.
var errNewerVersion = errors.New("a newer version of the read model is live")

// openDatabase opens the SQLite file of the read model.
func openDatabase(ctx context.Context, file string) (*sql.DB, error) {
	// Readers do not wait for the projectors (WAL). A transaction has no other writer beside it from its begin on
	// (immediate), and waits for that (busy_timeout).
	db, err := sql.Open("sqlite",
		"file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS live (version INTEGER NOT NULL);
		INSERT INTO live SELECT 0 WHERE NOT EXISTS (SELECT * FROM live)`); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Projector keeps one version of the read model up to date. When its version has caught up, it makes that the live one.
type Projector struct {
	DB      *sql.DB
	URL     string // of EventStore
	Topic   string // the stream of the orders
	Version int
	Logger  watermill.LoggerAdapter

	store      *essql.Store
	rebuilding bool // beside a live version
}

func subscriberName(version int) string { return fmt.Sprintf("customers-v%d", version) }

// Run projects until ctx ends, and then returns nil. It returns errNewerVersion when a newer version is live.
func (p *Projector) Run(ctx context.Context) error {
	if err := p.prepare(ctx); err != nil {
		return err
	}
	caughtUp := make(chan struct{})
	var once sync.Once // it catches up again after a lost connection
	subscriber, err := eventstore.NewSubscriber(eventstore.SubscriberConfig{
		ConnectionString: p.URL,
		Mode:             eventstore.ModeCatchUp,
		SubscriberName:   subscriberName(p.Version), // a new version has no checkpoint: it begins with the first event
		Checkpoints:      p.store,
		OnCaughtUp:       func(string) { once.Do(func() { close(caughtUp) }) },
	}, p.Logger)
	if err != nil {
		return err
	}
	defer subscriber.Close()

	running, end := context.WithCancelCause(ctx)
	var switching sync.WaitGroup
	switching.Go(func() {
		select {
		case <-caughtUp:
			if err := p.goLive(running); err != nil {
				end(err)
			}
		case <-running.Done():
		}
	})
	err = p.project(running, subscriber)
	end(err)
	switching.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(running)
}

// prepare makes the tables of this version, unless a newer one is live.
func (p *Projector) prepare(ctx context.Context) error {
	store, err := essql.New(p.DB, essql.SQLite)
	if err != nil {
		return err
	}
	p.store = store
	if err := store.CreateTable(ctx); err != nil {
		return err
	}
	tx, err := p.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	live, err := liveVersion(ctx, tx)
	if err != nil {
		return err
	}
	if live > p.Version {
		return errNewerVersion
	}
	p.rebuilding = live > 0 && live < p.Version
	if _, err := tx.ExecContext(ctx, versions[p.Version].create); err != nil {
		return err
	}
	return tx.Commit()
}

// project applies messages until ctx or the subscription ends.
func (p *Projector) project(ctx context.Context, subscriber *eventstore.Subscriber) error {
	messages, err := subscriber.Subscribe(ctx, p.Topic)
	if err != nil {
		return err
	}
	for msg := range messages {
		if err := p.handle(msg); err != nil {
			if !errors.Is(err, eventstore.ErrCheckpointTaken) {
				p.Logger.Error("An event was not applied; it is handed out again", err, nil)
			}
			msg.Nack()
			continue
		}
		msg.Ack()
		if p.rebuilding && !eventstore.LiveFromCtx(msg.Context()) {
			time.Sleep(rebuildPause)
		}
	}
	live, err := liveVersion(ctx, p.DB)
	if err != nil {
		return err
	}
	if live > p.Version {
		return errNewerVersion // its switch has removed the checkpoint of this version
	}
	return errors.New("the subscription has ended; the log tells why")
}

// handle applies a message in a transaction that saves the checkpoint as well.
func (p *Projector) handle(msg *message.Message) error {
	ctx := msg.Context()
	if eventType, _ := eventstore.EventTypeFromCtx(ctx); eventType != "OrderPlaced" {
		return nil // of no interest to this read model
	}
	var placed OrderPlaced
	if err := json.Unmarshal(msg.Payload, &placed); err != nil {
		return err
	}
	return p.store.Apply(ctx, msg, func(tx *sql.Tx) error { return versions[p.Version].apply(ctx, tx, placed) })
}

// goLive makes this version the live one as soon as it is no longer behind the one that is.
func (p *Projector) goLive(ctx context.Context) error {
	for {
		live, err := p.tryGoLive(ctx)
		if live || errors.Is(err, errNewerVersion) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			p.Logger.Error("The read model did not go live; it is tried again", err, nil)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tryGoLive switches the readers over and removes the version before, in one transaction. A reader that asks the view
// customers sees the one version or the other, and never an older state than before: no projector can commit while this
// transaction lasts, since it is the only writer of SQLite. On other databases, read the checkpoints FOR UPDATE.
func (p *Projector) tryGoLive(ctx context.Context) (bool, error) {
	tx, err := p.DB.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	live, err := liveVersion(ctx, tx)
	if err != nil {
		return false, err
	}
	if live > p.Version {
		return false, errNewerVersion
	}
	if live == p.Version {
		return true, nil // since an earlier run of this program
	}
	mine, err := checkpoint(ctx, tx, p.checkpointName(p.Version))
	if err != nil {
		return false, err
	}
	theirs, err := checkpoint(ctx, tx, p.checkpointName(live))
	if err != nil || mine < theirs {
		return false, err
	}
	statements := []string{
		"DROP VIEW IF EXISTS customers",
		fmt.Sprintf("CREATE VIEW customers AS SELECT * FROM customers_v%d", p.Version),
		fmt.Sprintf("UPDATE live SET version = %d", p.Version),
	}
	if live > 0 {
		statements = append(statements, fmt.Sprintf("DROP TABLE customers_v%d", live))
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return false, fmt.Errorf("%s: %w", statement, err)
		}
	}
	// Without its checkpoint, the projector of the version before ends.
	if err := p.store.ResetTx(ctx, tx, p.checkpointName(live)); err != nil {
		return false, err
	}
	return true, tx.Commit()
}

// checkpointName returns the name under which a version's checkpoint is stored.
func (p *Projector) checkpointName(version int) string {
	return subscriberName(version) + "/" + p.Topic
}

// checkpoint returns the number of the last event that a version has, or -1. The checkpoint of a subscription to $all
// is in the columns commit_position and prepare_position instead.
func checkpoint(ctx context.Context, tx *sql.Tx, name string) (number int64, err error) {
	err = tx.QueryRowContext(ctx,
		"SELECT COALESCE(MAX(event_number), -1) FROM "+essql.DefaultTable+" WHERE name = ?", name).Scan(&number)
	return number, err
}

// liveVersion returns the version that readers see, or 0. Its last argument is a *sql.DB or a *sql.Tx.
func liveVersion(ctx context.Context, db querier) (version int, err error) {
	err = db.QueryRowContext(ctx, "SELECT version FROM live").Scan(&version)
	return version, err
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
