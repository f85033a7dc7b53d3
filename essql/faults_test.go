package essql_test

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/essql"
)

// with returns the same SQLite database with other settings of a connection.
func (d database) with(settings string) database {
	file, _, _ := strings.Cut(d.DSN, "?")
	d.DSN = file + "?" + settings
	return d
}

func TestAFullDiskIsAnErrorAndChangesNothing(t *testing.T) {
	t.Parallel()
	d := sqlite(t).with("")
	db, store, messages := received(t, d, 2)
	db.SetMaxOpenConns(1) // the limit is the connection's
	model := newModel(t, d, db)
	require.NoError(t, store.Apply(t.Context(), messages[0], func(tx *sql.Tx) error {
		return model.add(t.Context(), tx, messages[0])
	}))
	var pages int
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA page_count").Scan(&pages))
	limit := func(pages int) {
		var set int
		require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA max_page_count="+strconv.Itoa(pages)).Scan(&set))
		require.Equal(t, pages, set)
	}
	limit(pages)

	apply := func() error {
		return store.Apply(t.Context(), messages[1], func(tx *sql.Tx) error {
			if err := model.add(t.Context(), tx, messages[1]); err != nil {
				return err
			}
			_, err := tx.ExecContext(t.Context(), "CREATE TABLE large AS SELECT zeroblob(100000) AS b")
			return err
		})
	}
	require.ErrorContains(t, apply(), "full")
	long := strings.Repeat("n", essql.MaxNameLength)
	failures := 0
	for i := range 100 {
		if _, err := store.Load(t.Context(), long[:len(long)-i]); err != nil {
			require.ErrorContains(t, err, "full")
			failures++
		}
	}
	require.Positive(t, failures)
	require.Equal(t, []int{0}, model.applied(t))

	limit(1000 * pages)
	require.NoError(t, apply())
	model.requireFold(t, 2)
	requireSaved(t, d, saveName, number(1))
}

func TestAReadOnlyDatabaseIsAnErrorAndKeepsItsOwner(t *testing.T) {
	t.Parallel()
	d := sqlite(t)
	store := d.store(t)
	_, err := store.Load(t.Context(), "name")
	require.NoError(t, err)
	require.NoError(t, store.Save(t.Context(), "name", number(1)))

	reader := d.with("mode=ro").store(t) // CreateTable needs no right to write where the table is there
	_, err = reader.Load(t.Context(), "name")
	require.ErrorContains(t, err, "readonly")
	require.NoError(t, store.Save(t.Context(), "name", number(2)))
	requireSaved(t, d, "name", number(2))
}

func TestABusyDatabaseIsAnErrorThatPasses(t *testing.T) {
	t.Parallel()
	d := sqlite(t).with("_pragma=busy_timeout(0)&_pragma=journal_mode(WAL)")
	db, store, messages := received(t, d, 1)
	another := d.store(t)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, store.SaveTx(t.Context(), tx, messages[0]))

	_, err = another.Load(t.Context(), saveName)
	require.ErrorContains(t, err, "locked")
	require.ErrorContains(t, store.Save(t.Context(), saveName, number(5)), "locked")
	require.NoError(t, tx.Commit())
	require.NoError(t, store.Save(t.Context(), saveName, number(5)))
	saved, err := another.Load(t.Context(), saveName)
	require.NoError(t, err)
	require.Equal(t, number(5), saved)
}

// What waits for another transaction's lock ends with its context.
func TestAWaitForALockEndsWithTheContext(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, d database) {
		db, store, messages := received(t, d, 2)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		require.NoError(t, store.SaveTx(t.Context(), tx, messages[0]))

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		another := d.store(t)
		errs := make(chan error, 3)
		go func() { errs <- store.Save(ctx, saveName, number(1)) }()
		go func() {
			_, err := another.Load(ctx, saveName)
			errs <- err
		}()
		go func() { errs <- store.Apply(ctx, messages[1], func(*sql.Tx) error { return nil }) }()
		select {
		case err := <-errs:
			require.Fail(t, "it did not wait", err)
		case <-time.After(50 * time.Millisecond): // a moment, to see that nothing happens
		}
		cancel()
		for range cap(errs) {
			require.Error(t, <-errs)
		}
		require.NoError(t, tx.Commit())
		require.NoError(t, store.Save(t.Context(), saveName, number(0)), "the Load that gave up took nothing over")
		requireSaved(t, d, saveName, number(0))
	})
}

func TestALostDatabaseIsAnErrorUntilItIsBack(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, d database) {
		c := newCutter(t, d.address(t), 0)
		store := d.at(t, c.address()).store(t)
		_, err := store.Load(t.Context(), "name")
		require.NoError(t, err)
		c.refuse(true)
		require.Error(t, store.Save(t.Context(), "name", number(1)))
		_, err = store.Load(t.Context(), "name")
		require.Error(t, err)
		c.refuse(false)
		require.NoError(t, store.Save(t.Context(), "name", number(1)))
		requireSaved(t, d, "name", number(1))
	})
}

// On PostgreSQL a Save must not fail because the handler's transaction commits while it waits for that.
func TestASerializableSaveWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	d := withTable(t, postgres(t))
	d.DSN += "&default_transaction_isolation=serializable"
	db, store, messages := received(t, d, 2)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, store.SaveTx(t.Context(), tx, messages[1]))
	saved := make(chan error, 1)
	go func() { saved <- store.Save(t.Context(), saveName, number(0)) }()
	require.Eventually(t, func() bool {
		var waiting int
		err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM pg_stat_activity"+
			" WHERE wait_event_type = 'Lock' AND query LIKE $1", "UPDATE%"+d.Table+"%").Scan(&waiting)
		return err == nil && waiting == 1
	}, patience, time.Millisecond)
	require.NoError(t, tx.Commit())
	require.NoError(t, <-saved)
	requireSaved(t, d, saveName, number(1))
}
