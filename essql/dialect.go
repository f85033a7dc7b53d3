package essql

import (
	"database/sql"
	"fmt"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Dialect selects the SQL that a [Store] speaks.
type Dialect int

const (
	// SQLite is SQLite 3.24 or newer.
	SQLite Dialect = iota + 1
	// PostgreSQL is PostgreSQL 9.5 or newer.
	PostgreSQL
	// MySQL is MySQL 5.7 or newer, or MariaDB 10.2 or newer.
	MySQL
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// maxIdentifier is PostgreSQL's limit in bytes: it truncates longer names. MySQL's is 64.
const maxIdentifier = 63

// quoteTable returns a table's name, perhaps with a schema, as it stands in a statement.
func (d Dialect) quoteTable(table string) (string, error) {
	parts := strings.Split(table, ".")
	for i, part := range parts {
		if !isIdentifier(part) || len(parts) > 2 {
			return "", &esclient.ArgumentError{Argument: "table", Reason: fmt.Sprintf(
				"%q is no name of a table: up to %d letters, digits and underscores, perhaps behind a schema and a dot",
				table, maxIdentifier)}
		}
		if d == MySQL {
			parts[i] = "`" + part + "`"
		} else {
			parts[i] = `"` + part + `"`
		}
	}
	return strings.Join(parts, "."), nil
}

func isIdentifier(s string) bool {
	for i, r := range s {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != "" && len(s) <= maxIdentifier
}

// statements are the SQL of one Store.
type statements struct {
	create      string
	probe       string // fails unless the table is there with its columns
	take        string // name, owner, owner
	load        string // name
	lock        string // load, but reads the committed row, not that of an older snapshot of the transaction
	saveNumber  string // number, source, name, owner, number
	savePos     string // commit, prepare, source, name, owner, commit, commit, prepare
	saveNothing string // source, name, owner
	reset       string // name
}

func (d Dialect) statements(table string) statements {
	nameType, sourceType, suffix := `TEXT COLLATE "C"`, "TEXT", ""
	take := "ON CONFLICT (name) DO UPDATE SET owner = ?"
	forUpdate := " FOR UPDATE"
	switch d {
	case SQLite:
		nameType, forUpdate = "TEXT COLLATE BINARY", ""
	case MySQL:
		nameType, sourceType = fmt.Sprintf("VARBINARY(%d)", MaxNameLength), "LONGTEXT"
		suffix = " ENGINE = InnoDB"
		take = "ON DUPLICATE KEY UPDATE owner = ?"
	}
	load := "SELECT owner, event_number, commit_position, prepare_position, source FROM " + table
	update := "UPDATE " + table + " SET event_number = %s, commit_position = %s, prepare_position = %s, source = ?" +
		" WHERE name = ? AND owner = ?"
	return statements{
		create: "CREATE TABLE IF NOT EXISTS " + table + " (\n" +
			"\tname " + nameType + " NOT NULL PRIMARY KEY,\n" +
			"\towner VARCHAR(64) NOT NULL,\n" +
			"\tevent_number BIGINT,\n" +
			"\tcommit_position BIGINT,\n" +
			"\tprepare_position BIGINT,\n" +
			"\tsource " + sourceType + "\n" +
			")" + suffix,
		probe: load + " WHERE name = '' AND 1 = 0",
		take:  d.numbered("INSERT INTO " + table + " (name, owner) VALUES (?, ?) " + take),
		load:  d.numbered(load + " WHERE name = ?"),
		lock:  d.numbered(load + " WHERE name = ?" + forUpdate),
		saveNumber: d.numbered(fmt.Sprintf(update, "?", "NULL", "NULL") +
			" AND commit_position IS NULL AND (event_number IS NULL OR event_number < ?)"),
		savePos: d.numbered(fmt.Sprintf(update, "NULL", "?", "?") +
			" AND event_number IS NULL AND (commit_position IS NULL OR commit_position < ?" +
			" OR (commit_position = ? AND prepare_position < ?))"),
		saveNothing: d.numbered(fmt.Sprintf(update, "NULL", "NULL", "NULL")),
		reset:       d.numbered("DELETE FROM " + table + " WHERE name = ?"),
	}
}

// numbered replaces the placeholders of a statement by PostgreSQL's.
func (d Dialect) numbered(statement string) string {
	if d != PostgreSQL {
		return statement
	}
	var b strings.Builder
	for i, part := range strings.Split(statement, "?") {
		if i > 0 {
			fmt.Fprintf(&b, "$%d", i)
		}
		b.WriteString(part)
	}
	return b.String()
}

// name returns the argument for a name. For MySQL it is binary, so that the connection's character set does not matter.
func (d Dialect) name(name string) any {
	if d == MySQL {
		return []byte(name)
	}
	return name
}

// txOptions are those of the Store's own transactions. On PostgreSQL a default of SERIALIZABLE would fail most Saves
// while a handler's transaction holds the row. MySQL with statement-based binary logs refuses READ COMMITTED, and
// SQLite has nothing to choose.
func (d Dialect) txOptions() *sql.TxOptions {
	if d == PostgreSQL {
		return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	return nil
}
