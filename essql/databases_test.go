package essql_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/essql"
)

// database is a database that a test runs on, with tables of its own.
type database struct {
	Dialect essql.Dialect
	Driver  string
	DSN     string
	Table   string // of the checkpoints
}

// eachDatabase runs a test on SQLite, PostgreSQL and MariaDB.
func eachDatabase(t *testing.T, test func(t *testing.T, d database)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, sqlite(t))
	})
	eachServer(t, test)
}

// eachServer runs a test on those that have connections to lose.
func eachServer(t *testing.T, test func(t *testing.T, d database)) {
	t.Helper()
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, withTable(t, postgres(t)))
	})
	t.Run("MariaDB", func(t *testing.T) {
		t.Parallel()
		test(t, withTable(t, mariadb(t)))
	})
}

func sqlite(t *testing.T) database {
	t.Helper()
	file := filepath.ToSlash(filepath.Join(t.TempDir(), "model.db"))
	return database{
		Dialect: essql.SQLite, Driver: "sqlite", Table: essql.DefaultTable,
		DSN: "file:" + file + "?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_txlock=immediate",
	}
}

func postgres(t *testing.T) database {
	t.Helper()
	return database{Dialect: essql.PostgreSQL, Driver: "pgx", DSN: server(t, "WATERMILL_TEST_POSTGRES_URL").String()}
}

func mariadb(t *testing.T) database {
	t.Helper()
	u := server(t, "WATERMILL_TEST_MARIADB_URL")
	c := mysql.NewConfig()
	c.Net, c.Addr, c.DBName, c.User = "tcp", u.Host, strings.Trim(u.Path, "/"), u.User.Username()
	c.Passwd, _ = u.User.Password()
	return database{Dialect: essql.MySQL, Driver: "mysql", DSN: c.FormatDSN()}
}

// address returns where the server listens.
func (d database) address(t *testing.T) (address string) {
	t.Helper()
	d.changeAddress(t, func(old string) string {
		address = old
		return old
	})
	return address
}

// at returns the same database at another address.
func (d database) at(t *testing.T, address string) database {
	t.Helper()
	d.DSN = d.changeAddress(t, func(string) string { return address })
	return d
}

func (d database) changeAddress(t *testing.T, change func(old string) string) (dsn string) {
	t.Helper()
	if d.Dialect == essql.MySQL {
		c, err := mysql.ParseDSN(d.DSN)
		require.NoError(t, err)
		c.Addr = change(c.Addr)
		return c.FormatDSN()
	}
	u, err := url.Parse(d.DSN)
	require.NoError(t, err)
	u.Host = change(u.Host)
	return u.String()
}

// server returns the URL of a database server. Without one the test is skipped, or fails in CI.
func server(t *testing.T, variable string) *url.URL {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		reason := variable + " names no server; `bash .ci/databases go -C essql test` starts one"
		if os.Getenv("CI") != "" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	u, err := url.Parse(value)
	require.NoError(t, err)
	return u
}

// withTable gives a test a table of its own in a database that others use, too.
func withTable(t *testing.T, d database) database {
	t.Helper()
	d.Table = "t" + strings.ToLower(watermill.NewShortUUID())
	db := d.open(t)
	t.Cleanup(func() {
		for _, table := range []string{d.Table, d.Table + "_applied", d.Table + "_totals"} {
			_, err := db.ExecContext(context.Background(), "DROP TABLE IF EXISTS "+table)
			require.NoError(t, err)
		}
	})
	return d
}

// open connects as another process would. The pool ends with the test.
func (d database) open(t testing.TB) *sql.DB {
	t.Helper()
	db, err := d.connect()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func (d database) connect() (*sql.DB, error) { return sql.Open(d.Driver, d.DSN) }

// store returns a Store as another process would have one.
func (d database) store(t testing.TB) *essql.Store {
	t.Helper()
	return d.storeIn(t, d.open(t))
}

func (d database) storeIn(t testing.TB, db *sql.DB) *essql.Store {
	t.Helper()
	store, err := essql.New(db, d.Dialect, essql.WithTable(d.Table))
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	return store
}

// arg returns the placeholder of an argument, counted from 1.
func (d database) arg(n int) string {
	if d.Dialect == essql.PostgreSQL {
		return fmt.Sprintf("$%d", n)
	}
	return "?"
}
