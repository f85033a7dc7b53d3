package essql_test

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/essql"
)

func number(n int64) esclient.Checkpoint { return esclient.CheckpointAtNumber(n) }

func position(commit, prepare int64) esclient.Checkpoint {
	return esclient.CheckpointAtPosition(esclient.Position{Commit: commit, Prepare: prepare})
}

func requireSaved(t *testing.T, d database, name string, want esclient.Checkpoint) {
	t.Helper()
	got, err := d.store(t).Load(t.Context(), name)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestSavedCheckpointsAreLoaded(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		store := d.store(t)
		for _, c := range []esclient.Checkpoint{
			{}, number(-1), number(0), number(1), number(math.MaxInt64), position(0, 0), position(1024, 1000),
			position(math.MaxInt64, math.MaxInt64), position(math.MaxInt64, 0),
		} {
			name := "of " + c.String()
			none, err := store.Load(t.Context(), name)
			require.NoError(t, err)
			require.True(t, none.IsZero())
			require.NoError(t, store.Save(t.Context(), name, c))
			loaded, err := store.Load(t.Context(), name)
			require.NoError(t, err)
			require.Equal(t, c, loaded)
			requireSaved(t, d, name, c)
		}
	})
}

func TestSaveNeverGoesBack(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		store := d.store(t)
		later := [][]esclient.Checkpoint{
			{{}, number(-1), number(0), number(7), number(8), number(math.MaxInt64)},
			{{}, position(0, 0), position(7, 5), position(7, 6), position(8, 1), position(math.MaxInt64, 2)},
		}
		for i, order := range later {
			name := string(rune('a' + i))
			_, err := store.Load(t.Context(), name)
			require.NoError(t, err)
			for j, c := range order {
				require.NoError(t, store.Save(t.Context(), name, c))
				for _, earlier := range order[1 : j+1] {
					require.NoError(t, store.Save(t.Context(), name, earlier))
				}
				saved, err := store.Load(t.Context(), name)
				require.NoError(t, err)
				require.Equal(t, c, saved)
			}
			// The log went back.
			require.NoError(t, store.Save(t.Context(), name, esclient.Checkpoint{}))
			require.NoError(t, store.Save(t.Context(), name, esclient.Checkpoint{}))
			require.NoError(t, store.Save(t.Context(), name, order[1]))
			requireSaved(t, d, name, order[1])
		}
	})
}

func TestNumbersAndPositionsAreNotConfused(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		store := d.store(t)
		for _, c := range [][2]esclient.Checkpoint{{number(3), position(9, 9)}, {position(3, 3), number(9)}} {
			_, err := store.Load(t.Context(), c[0].String())
			require.NoError(t, err)
			require.NoError(t, store.Save(t.Context(), c[0].String(), c[0]))
			require.ErrorIs(t, store.Save(t.Context(), c[0].String(), c[1]), esclient.ErrInvalidArgument)
			requireSaved(t, d, c[0].String(), c[0])
		}
	})
}

func TestLoadTakesTheNameOver(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		first, second := d.store(t), d.store(t)
		for _, store := range []*essql.Store{first, second} {
			require.ErrorIs(t, store.Save(t.Context(), "name", number(1)), essql.ErrNotLoaded)
		}
		_, err := first.Load(t.Context(), "name")
		require.NoError(t, err)
		_, err = first.Load(t.Context(), "another")
		require.NoError(t, err)
		require.NoError(t, first.Save(t.Context(), "name", number(5)))

		loaded, err := second.Load(t.Context(), "name")
		require.NoError(t, err)
		require.Equal(t, number(5), loaded)
		for _, c := range []esclient.Checkpoint{{}, number(4), number(5), number(6), position(7, 7)} {
			require.ErrorIs(t, first.Save(t.Context(), "name", c), eventstore.ErrCheckpointTaken)
		}
		require.NoError(t, second.Save(t.Context(), "name", number(5)))
		require.NoError(t, second.Save(t.Context(), "name", number(7)))
		require.NoError(t, first.Save(t.Context(), "another", number(1)), "the other name was not taken")

		loaded, err = first.Load(t.Context(), "name")
		require.NoError(t, err)
		require.Equal(t, number(7), loaded)
		require.ErrorIs(t, second.Save(t.Context(), "name", number(8)), eventstore.ErrCheckpointTaken)
	})
}

// Many processes take the same name over at the same time. One of them has it in the end, and only what was saved by an
// owner counts.
func TestProcessesRaceForAName(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		const processes, saves = 6, 20
		var wg sync.WaitGroup
		var mu sync.Mutex
		var highest int64
		owners := 0
		for p := range processes {
			store := d.store(t)
			wg.Go(func() {
				_, err := store.Load(t.Context(), "name")
				if !assert.NoError(t, err) {
					return
				}
				for i := range int64(saves) {
					n := i*processes + int64(p)
					err := store.Save(t.Context(), "name", number(n))
					if errors.Is(err, eventstore.ErrCheckpointTaken) {
						return
					}
					if !assert.NoError(t, err) {
						return
					}
					mu.Lock()
					highest = max(highest, n)
					mu.Unlock()
				}
				mu.Lock()
				owners++
				mu.Unlock()
			})
		}
		wg.Wait()
		assert.Positive(t, owners)
		requireSaved(t, d, "name", number(highest))
	})
}

func TestProcessesCreateTheTableAtTheSameTime(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		var wg sync.WaitGroup
		for range 8 {
			db := d.open(t)
			wg.Go(func() {
				store, err := essql.New(db, d.Dialect, essql.WithTable(d.Table))
				if assert.NoError(t, err) {
					assert.NoError(t, store.CreateTable(t.Context()))
				}
			})
		}
		wg.Wait()
		requireSaved(t, d, "name", esclient.Checkpoint{})
	})
}

func TestATableWithOtherColumnsIsRefused(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		db := d.open(t)
		_, err := db.ExecContext(t.Context(), "CREATE TABLE "+d.Table+" (name INTEGER, owner INTEGER)")
		require.NoError(t, err)
		store, err := essql.New(db, d.Dialect, essql.WithTable(d.Table))
		require.NoError(t, err)
		require.ErrorContains(t, store.CreateTable(t.Context()), "choose another one by WithTable")
	})
}

func TestDDLCreatesTheTable(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		db := d.open(t)
		store, err := essql.New(db, d.Dialect, essql.WithTable(d.Table))
		require.NoError(t, err)
		_, err = store.Load(t.Context(), "name")
		require.Error(t, err, "nothing creates the table unasked")
		for range 2 {
			_, err = db.ExecContext(t.Context(), store.DDL())
			require.NoError(t, err)
		}
		require.NoError(t, store.CreateTable(t.Context()))
		requireSaved(t, d, "name", esclient.Checkpoint{})
	})
}

func TestDifferentNamesAreDifferentRows(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		long := strings.Repeat("n", essql.MaxNameLength-1)
		names := []string{
			"orders", "Orders", "ORDERS", "orders ", " orders", "orders  ", "orders\t", "ordérs",
			"orde\u0301rs", "ordėrs", "o'rders", `o"rders`, "o`rders", `o\rders`, "o%rders", "o_rders", "\u200dorders",
			"straße", "strasse", "ﬁ", "fi", "ß", "ss", "日本", "日本 ", "🙂", "🙃", "i", "I", "ı",
			"İ", "?", "$1", "--", "\n", "1", "01", long + "a", long + "b",
		}
		store := d.store(t)
		for i, name := range names {
			c, err := store.Load(t.Context(), name)
			require.NoError(t, err, name)
			require.True(t, c.IsZero(), "%q is taken for an earlier name", name)
			require.NoError(t, store.Save(t.Context(), name, number(int64(i))))
		}
		for i, name := range names {
			requireSaved(t, d, name, number(int64(i)))
		}
	})
}

// How a driver sends arguments and counts rows is a setting of the connection.
func TestSettingsOfTheConnectionDoNotMatter(t *testing.T) {
	t.Parallel()
	settings := map[essql.Dialect][]string{
		essql.PostgreSQL: {
			"&default_query_exec_mode=simple_protocol", "&default_query_exec_mode=exec", "&client_encoding=UTF8",
			"&default_transaction_isolation=serializable", "&default_transaction_isolation=repeatable%20read",
		},
		essql.MySQL: {
			"?interpolateParams=true", "?clientFoundRows=true", "?charset=latin1", "?charset=utf8mb4,utf8",
			"?interpolateParams=true&charset=latin1&clientFoundRows=true", "?tx_isolation=%27SERIALIZABLE%27",
			"?tx_isolation=%27READ-COMMITTED%27", "?sql_mode=%27%27", "?sql_mode=%27ANSI%27",
		},
	}
	eachServer(t, func(t *testing.T, d database) {
		for _, s := range settings[d.Dialect] {
			changed := d
			changed.DSN += s
			first, second := changed.store(t), d.store(t)
			for i, name := range []string{"straße " + s, "STRASSE " + s, "日本🙂 ' \" \\ ` ? $1 " + s, "\n" + s} {
				c := number(int64(i))
				none, err := first.Load(t.Context(), name)
				require.NoError(t, err, s)
				require.True(t, none.IsZero())
				for _, c := range []esclient.Checkpoint{c, c, {}, {}, c, number(0)} {
					require.NoError(t, first.Save(t.Context(), name, c), s)
				}
				loaded, err := second.Load(t.Context(), name)
				require.NoError(t, err)
				require.Equal(t, c, loaded, s)
				require.ErrorIs(t, first.Save(t.Context(), name, number(9)), eventstore.ErrCheckpointTaken, s)
			}
		}
	})
}

func TestNamesThatSomeDatabaseCannotStoreAreRefused(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		db := d.open(t)
		store := d.storeIn(t, db)
		for _, name := range []string{
			"", "a\x00b", "a\xffb",
			strings.Repeat("n", essql.MaxNameLength+1), strings.Repeat("é", essql.MaxNameLength/2+1),
		} {
			_, err := store.Load(t.Context(), name)
			require.ErrorIs(t, err, esclient.ErrInvalidArgument)
			require.ErrorIs(t, inTx(t, db, func(tx *sql.Tx) error { return store.ResetTx(t.Context(), tx, name) }),
				esclient.ErrInvalidArgument)
		}
	})
}

func TestOtherTextsThanCheckpointsAreRefused(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		store := d.store(t)
		_, err := store.Load(t.Context(), "name")
		require.NoError(t, err)
		for _, c := range []esclient.Checkpoint{
			number(-2), number(math.MinInt64), position(-1, -1), position(-1, 3), position(3, -1),
		} {
			require.ErrorIs(t, store.Save(t.Context(), "name", c), esclient.ErrInvalidArgument)
		}
		requireSaved(t, d, "name", esclient.Checkpoint{})
	})
}

func TestARowThatIsNoCheckpointIsAnError(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		db := d.open(t)
		store := d.storeIn(t, db)
		for _, columns := range []string{
			"event_number = -2", "commit_position = 3", "prepare_position = 3",
			"event_number = 1, commit_position = 3, prepare_position = 3",
			"commit_position = -1, prepare_position = -1",
		} {
			_, err := store.Load(t.Context(), "name")
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), "UPDATE "+d.Table+" SET "+columns)
			require.NoError(t, err)
			_, err = d.store(t).Load(t.Context(), "name")
			require.ErrorIs(t, err, eventstore.ErrCheckpointCorrupt, columns)
			require.NoError(t, inTx(t, db, func(tx *sql.Tx) error { return store.ResetTx(t.Context(), tx, "name") }))
		}
	})
}

func inTx(t *testing.T, db *sql.DB, f func(*sql.Tx) error) error {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	if err := f(tx); err != nil {
		require.NoError(t, tx.Rollback())
		return err
	}
	return tx.Commit()
}

func TestResetStartsOverAndEndsTheOwner(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		db := d.open(t)
		store := d.storeIn(t, db)
		for _, name := range []string{"name", "another"} {
			_, err := store.Load(t.Context(), name)
			require.NoError(t, err)
			require.NoError(t, store.Save(t.Context(), name, number(7)))
		}
		other := d.store(t)
		failed := errors.New("the read model was not emptied")
		require.ErrorIs(t, inTx(t, db, func(tx *sql.Tx) error {
			require.NoError(t, other.ResetTx(t.Context(), tx, "name"))
			return failed
		}), failed)
		require.NoError(t, store.Save(t.Context(), "name", number(8)), "the reset was rolled back")

		require.NoError(t, inTx(t, db, func(tx *sql.Tx) error { return other.ResetTx(t.Context(), tx, "name") }))
		require.ErrorIs(t, store.Save(t.Context(), "name", number(9)), eventstore.ErrCheckpointTaken)
		requireSaved(t, d, "name", esclient.Checkpoint{})
		require.ErrorIs(t, store.Save(t.Context(), "name", number(9)), eventstore.ErrCheckpointTaken)
		requireSaved(t, d, "another", number(7))
	})
}

func TestNewRefusesInvalidSettings(t *testing.T) {
	t.Parallel()
	d := sqlite(t)
	db := d.open(t)
	_, err := essql.New(nil, essql.SQLite)
	require.ErrorIs(t, err, esclient.ErrInvalidArgument)
	for _, dialect := range []essql.Dialect{0, -1, essql.MySQL + 1} {
		_, err = essql.New(db, dialect)
		require.ErrorIs(t, err, esclient.ErrInvalidArgument, dialect)
	}
	for _, table := range []string{
		"", "1a", "a b", "a;b", `a"b`, "a`b", "a.", ".a", "a.b.c", "täble", "a-b", strings.Repeat("a", 64), "a\x00",
	} {
		for _, dialect := range []essql.Dialect{essql.SQLite, essql.PostgreSQL, essql.MySQL} {
			_, err = essql.New(db, dialect, essql.WithTable(table))
			require.ErrorIs(t, err, esclient.ErrInvalidArgument, table)
		}
	}
}

func TestATableMayHaveASchemaAndAKeywordAsItsName(t *testing.T) {
	t.Parallel()
	schemas := map[essql.Dialect]string{essql.SQLite: "main", essql.PostgreSQL: "public"}
	eachDatabase(t, func(t *testing.T, d database) {
		db := d.open(t)
		schema := schemas[d.Dialect]
		if d.Dialect == essql.MySQL {
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&schema))
		}
		for _, table := range []string{schema + ".Select", "Select", schema + "." + strings.Repeat("a", 63)} {
			store, err := essql.New(db, d.Dialect, essql.WithTable(table))
			require.NoError(t, err)
			require.NoError(t, store.CreateTable(t.Context()))
			_, err = store.Load(t.Context(), "name")
			require.NoError(t, err)
			require.NoError(t, store.Save(t.Context(), "name", number(1)))
		}
		for _, table := range []string{"Select", strings.Repeat("a", 63)} {
			quote := `"`
			if d.Dialect == essql.MySQL {
				quote = "`"
			}
			_, err := db.ExecContext(t.Context(), "DROP TABLE "+quote+table+quote)
			require.NoError(t, err)
		}
	})
}

func TestAnEndedContextChangesNothing(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		store := d.store(t)
		_, err := store.Load(t.Context(), "name")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = d.store(t).Load(ctx, "name")
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, store.Save(ctx, "name", number(3)), context.Canceled)
		require.NoError(t, store.Save(t.Context(), "name", number(2)), "the name was not taken over")
		requireSaved(t, d, "name", number(2))
	})
}
