package essql

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

const (
	// DefaultTable is the table of a [Store] without [WithTable].
	DefaultTable = "eventstore_checkpoints"
	// MaxNameLength is the limit in bytes of the name of a checkpoint. In a Subscriber that is SubscriberName + "/" +
	// topic.
	MaxNameLength = 1024
)

// Store keeps checkpoints in a table of a SQL database; see the package comment. It implements
// [eventstore.Checkpoints]. Its methods are safe for concurrent use, also by several Subscribers.
type Store struct {
	db      *sql.DB
	dialect Dialect
	sql     statements
	owner   string // of the names that Load takes over

	mu     sync.Mutex
	loaded map[string]bool // by name: whether a Subscriber has loaded it
}

var _ eventstore.Checkpoints = (*Store)(nil)

// Option is an option of [New].
type Option func(*options)

type options struct{ table string }

// WithTable sets the name of the table, by default [DefaultTable]: up to 63 letters, digits and underscores, perhaps
// behind a schema and a dot. PostgreSQL distinguishes its case.
func WithTable(table string) Option { return func(o *options) { o.table = table } }

// New returns a Store in db, which stays the caller's. It returns an [*esclient.ArgumentError] for an invalid argument.
// It does not connect.
func New(db *sql.DB, dialect Dialect, opts ...Option) (*Store, error) {
	o := options{table: DefaultTable}
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case db == nil:
		return nil, &esclient.ArgumentError{Argument: "db", Reason: "is nil"}
	case dialect < SQLite || dialect > MySQL:
		return nil, &esclient.ArgumentError{Argument: "dialect", Reason: dialect.String() + " is unknown"}
	}
	table, err := dialect.quoteTable(o.table)
	if err != nil {
		return nil, err
	}
	return &Store{
		db: db, dialect: dialect, sql: dialect.statements(table), owner: rand.Text(), loaded: make(map[string]bool),
	}, nil
}

// DDL returns the statement of [Store.CreateTable], for a migration.
func (s *Store) DDL() string { return s.sql.create }

// CreateTable creates the table if it is missing. Several processes may call it at the same time. If the table is
// there, it takes no right to create one. It fails if the table has other columns.
func (s *Store) CreateTable(ctx context.Context) error {
	if s.probe(ctx) == nil {
		return nil
	}
	// Two PostgreSQL sessions that create a table at the same time can fail, IF NOT EXISTS or not. The probe decides.
	_, createErr := s.db.ExecContext(ctx, s.sql.create)
	probeErr := s.probe(ctx)
	switch {
	case probeErr == nil:
		return nil
	case createErr != nil:
		return fmt.Errorf("essql: cannot create the table of checkpoints: %w", createErr)
	}
	return fmt.Errorf("essql: the table cannot be used for checkpoints; choose another one by WithTable: %w", probeErr)
}

func (s *Store) probe(ctx context.Context) error {
	rows, err := s.db.QueryContext(ctx, s.sql.probe)
	if err != nil {
		return err
	}
	for rows.Next() { // Next tells some drivers' errors; there is no row
	}
	return errors.Join(rows.Err(), rows.Close())
}

// Load returns the checkpoint that was saved last under a name, or the zero Checkpoint, and takes the name over: Save
// and SaveTx of other Stores fail from now on with [eventstore.ErrCheckpointTaken]. If it fails, the name may have been
// taken over nevertheless; a repetition is safe. A row that holds no checkpoint is an
// [eventstore.ErrCheckpointCorrupt]. A checkpoint of another stream or filter is an [eventstore.ErrCheckpointSource],
// and its owner keeps the name.
func (s *Store) Load(ctx context.Context, name string) (esclient.Checkpoint, error) {
	if err := checkName(name); err != nil {
		return esclient.Checkpoint{}, err
	}
	var saved row
	err := s.inTx(ctx, func(tx *sql.Tx) (err error) {
		if _, err = tx.ExecContext(ctx, s.sql.take, s.dialect.name(name), s.owner, s.owner); err == nil {
			saved, err = scan(tx.QueryRowContext(ctx, s.sql.load, s.dialect.name(name)))
		}
		if err == nil {
			err = eventstore.CheckCheckpointSource(ctx, saved.source)
		}
		return err
	})
	if err != nil {
		return esclient.Checkpoint{}, fmt.Errorf("essql: cannot load checkpoint %q: %w", name, err)
	}
	s.mu.Lock()
	s.loaded[name] = eventstore.CheckpointSourceFromCtx(ctx) != ""
	s.mu.Unlock()
	return saved.checkpoint, nil
}

// mayHold returns an error for a name that this Store has never loaded.
func (s *Store) mayHold(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.loaded[name]; !ok {
		return fmt.Errorf("%w: %q", ErrNotLoaded, name)
	}
	return nil
}

// source returns the text to store beside a checkpoint. ctx is that of a Save call or of a message. It is empty if the
// caller of Load was no Subscriber, whatever ctx the caller of Save has.
func (s *Store) source(ctx context.Context, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.loaded[name] {
		return ""
	}
	return eventstore.CheckpointSourceFromCtx(ctx)
}

// inTx runs f in a transaction of the Store's own.
func (s *Store) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, s.dialect.txOptions())
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the changes of f were refused or lost; none of them stays
		return err
	}
	return tx.Commit()
}

// row is the row of a name.
type row struct {
	owner      string
	checkpoint esclient.Checkpoint
	source     string
}

func scan(r *sql.Row) (row, error) {
	var owner string
	var number, commit, prepare sql.NullInt64
	var source sql.NullString
	if err := r.Scan(&owner, &number, &commit, &prepare, &source); err != nil {
		return row{}, err
	}
	for i, n := range []sql.NullInt64{number, commit, prepare} {
		least := int64(0)
		if i == 0 {
			least = -1 // before the first event
		}
		if n.Valid && n.Int64 < least {
			return row{}, fmt.Errorf("%w: %d is less than %d", eventstore.ErrCheckpointCorrupt, n.Int64, least)
		}
	}
	switch {
	case commit.Valid != prepare.Valid || number.Valid && commit.Valid:
		return row{}, fmt.Errorf("%w: it is neither an event number nor a position", eventstore.ErrCheckpointCorrupt)
	case number.Valid:
		return row{owner, esclient.CheckpointAtNumber(number.Int64), source.String}, nil
	case commit.Valid:
		p := esclient.Position{Commit: commit.Int64, Prepare: prepare.Int64}
		return row{owner, esclient.CheckpointAtPosition(p), source.String}, nil
	}
	return row{owner: owner, source: source.String}, nil
}

// checkName refuses names that not all databases can store.
func checkName(name string) error {
	var reason string
	switch {
	case name == "":
		reason = "is empty"
	case len(name) > MaxNameLength:
		reason = fmt.Sprintf("has %d bytes: shorten SubscriberName or the topic to %d together",
			len(name), MaxNameLength)
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		reason = fmt.Sprintf("%q has a zero byte or is no UTF-8", name)
	default:
		return nil
	}
	return &esclient.ArgumentError{Argument: "name", Reason: reason}
}
