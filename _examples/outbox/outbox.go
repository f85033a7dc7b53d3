package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
)

// outboxTopic is the topic of the messages that wait in the database.
const outboxTopic = "outbox"

// createOutbox creates the table of the outbox. Watermill's own CREATE TABLE comes with the first subscription, which
// is too late for the shop.
func createOutbox(db *sql.DB) error {
	subscriber, err := newOutboxSubscriber(db)
	if err != nil {
		return err
	}
	return subscriber.SubscribeInitialize(outboxTopic)
}

// outboxSchema and outboxOffsets teach the SQL Pub/Sub of Watermill the dialect of SQLite. For PostgreSQL and MySQL it
// has adapters, which also deal with transactions that commit in another order than their rows were numbered in. In
// SQLite one transaction at a time writes, so the order is the same.
type outboxSchema struct{}

var _ wsql.SchemaAdapter = outboxSchema{}

func table(topic string) string { return `"watermill_` + strings.ReplaceAll(topic, `"`, `""`) + `"` }

func (outboxSchema) SchemaInitializingQueries(p wsql.SchemaInitializingQueriesParams) ([]wsql.Query, error) {
	return []wsql.Query{{Query: "CREATE TABLE IF NOT EXISTS " + table(p.Topic) + ` (
		"offset" INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL,
		created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, payload BLOB NOT NULL, metadata TEXT NOT NULL
	)`}}, nil
}

func (outboxSchema) InsertQuery(p wsql.InsertQueryParams) (wsql.Query, error) {
	q := wsql.Query{Query: "INSERT INTO " + table(p.Topic) + " (uuid, payload, metadata) VALUES (?, ?, ?)" +
		strings.Repeat(", (?, ?, ?)", len(p.Msgs)-1)}
	for _, msg := range p.Msgs {
		metadata, err := json.Marshal(msg.Metadata)
		if err != nil {
			return wsql.Query{}, fmt.Errorf("metadata of message %s: %w", msg.UUID, err)
		}
		q.Args = append(q.Args, msg.UUID, []byte(msg.Payload), string(metadata))
	}
	return q, nil
}

func (outboxSchema) SelectQuery(p wsql.SelectQueryParams) (wsql.Query, error) {
	return wsql.Query{Query: `SELECT "offset", uuid, payload, metadata FROM ` + table(p.Topic) +
		` ORDER BY "offset" LIMIT 100`}, nil
}

func (outboxSchema) UnmarshalMessage(p wsql.UnmarshalMessageParams) (wsql.Row, error) {
	var row wsql.Row
	if err := p.Row.Scan(&row.Offset, &row.UUID, &row.Payload, &row.Metadata); err != nil {
		return wsql.Row{}, fmt.Errorf("row of the outbox: %w", err)
	}
	row.Msg = message.NewMessage(string(row.UUID), row.Payload)
	if err := json.Unmarshal(row.Metadata, &row.Msg.Metadata); err != nil {
		return wsql.Row{}, fmt.Errorf("metadata of message %s: %w", row.UUID, err)
	}
	return row, nil
}

func (outboxSchema) SubscribeIsolationLevel() sql.IsolationLevel { return sql.LevelDefault }

// outboxOffsets removes messages from the outbox when they are acked. A message is acked after all before it.
type outboxOffsets struct{}

var _ wsql.OffsetsAdapter = outboxOffsets{}

func (outboxOffsets) AckMessageQuery(p wsql.AckMessageQueryParams) (wsql.Query, error) {
	return wsql.Query{
		Query: "DELETE FROM " + table(p.Topic) + ` WHERE "offset" <= ?`, Args: []any{p.LastRow.Offset},
	}, nil
}

func (outboxOffsets) ConsumedMessageQuery(wsql.ConsumedMessageQueryParams) (wsql.Query, error) {
	return wsql.Query{}, nil
}

func (outboxOffsets) NextOffsetQuery(wsql.NextOffsetQueryParams) (wsql.Query, error) {
	return wsql.Query{}, nil
}

func (outboxOffsets) SchemaInitializingQueries(wsql.OffsetsSchemaInitializingQueriesParams) ([]wsql.Query, error) {
	return nil, nil
}

func (outboxOffsets) BeforeSubscribingQueries(wsql.BeforeSubscribingQueriesParams) ([]wsql.Query, error) {
	return nil, nil
}

// autocommit runs each statement of the Subscriber by itself. The Subscriber would otherwise hold a transaction open
// until its messages are published. SQLite has one writer at a time: either the shop could not write while EventStore
// is down, or SQLite would refuse the ack because the shop has written meanwhile.
type autocommit struct{ wsql.Beginner }

func (a autocommit) BeginTx(context.Context, *sql.TxOptions) (wsql.Tx, error) {
	return statements{a}, nil
}

type statements struct{ wsql.ContextExecutor }

func (statements) Commit() error   { return nil }
func (statements) Rollback() error { return nil }
