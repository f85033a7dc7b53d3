package essql_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/essql"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
)

// model is a read model: a row for each time that a message was applied, and a sum and a count of all.
type model struct {
	d  database
	db *sql.DB
}

func newModel(t *testing.T, d database, db *sql.DB) model {
	t.Helper()
	for _, statement := range []string{
		"CREATE TABLE " + d.Table + "_applied (place INTEGER NOT NULL)",
		"CREATE TABLE " + d.Table + "_totals (events INTEGER NOT NULL, places INTEGER NOT NULL)",
		"INSERT INTO " + d.Table + "_totals VALUES (0, 0)",
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	return model{d, db}
}

// add applies a message, once more whenever it is called.
func (m model) add(ctx context.Context, tx *sql.Tx, msg *message.Message) error {
	place, _ := eventstore.EventNumberFromCtx(msg.Context())
	_, err := tx.ExecContext(ctx, "INSERT INTO "+m.d.Table+"_applied VALUES ("+m.d.arg(1)+")", place)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx,
		"UPDATE "+m.d.Table+"_totals SET events = events + 1, places = places + "+m.d.arg(1), place)
	return err
}

func (m model) handle(store *essql.Store, msg *message.Message) error {
	ctx := msg.Context()
	return store.Apply(ctx, msg, func(tx *sql.Tx) error { return m.add(ctx, tx, msg) })
}

// applied returns the applied events, in the order of the stream.
func (m model) applied(t *testing.T) (places []int) {
	t.Helper()
	rows, err := m.db.QueryContext(t.Context(), "SELECT place FROM "+m.d.Table+"_applied ORDER BY place")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var place int
		require.NoError(t, rows.Scan(&place))
		places = append(places, place)
	}
	require.NoError(t, rows.Err())
	return places
}

// requireFold holds that the read model is that of the events 0 to n-1, each applied once.
func (m model) requireFold(t *testing.T, n int) {
	t.Helper()
	want := make([]int, n)
	sum := 0
	for i := range want {
		want[i] = i
		sum += i
	}
	require.Equal(t, want, m.applied(t))
	var events, places int
	query := "SELECT events, places FROM " + m.d.Table + "_totals"
	require.NoError(t, m.db.QueryRowContext(t.Context(), query).Scan(&events, &places))
	require.Equal(t, []int{n, sum}, []int{events, places})
}
