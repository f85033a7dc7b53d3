// Package essql keeps the checkpoints of read models in a SQL database: SQLite, PostgreSQL, MySQL or MariaDB. It works
// with any driver of database/sql and imports none.
//
// Set a [Store] as Checkpoints of [eventstore.SubscriberConfig]. Then a projector goes on where it stopped. A handler
// that changes a read model in the same database calls [Store.SaveTx] first in its transaction. The checkpoint is
// committed with the change, so that each event is applied exactly once:
//
//	tx, err := db.BeginTx(msg.Context(), nil)
//	if err != nil {
//		return err
//	}
//	defer tx.Rollback()
//	if err := store.SaveTx(msg.Context(), tx, msg); errors.Is(err, essql.ErrAlreadySaved) {
//		return nil // the read model has this event
//	} else if err != nil {
//		return err
//	}
//	// … change the read model by tx …
//	return tx.Commit()
//
// [Store.Apply] does all of that. A message that is given up, by [eventstore.SubscriberConfig].NackAction for example,
// is not applied.
//
// # Two processes of one name
//
// Load, which Subscribe calls, takes a name over: it writes the Store's owner token, which is random, into the row.
// From then on Save and SaveTx of another Store, in the same process or another one, fail with
// [eventstore.ErrCheckpointTaken], and its subscription ends with its next message. So the process that subscribes last
// goes on, and it begins behind all that was committed before. A transaction in which SaveTx has succeeded keeps the
// row locked, and a Load waits until it ends. SQLite locks the whole database.
//
// A Load that fails may have taken the name over. Subscriptions of one name in one Store do not end each other; what
// one of them has saved by SaveTx is [ErrAlreadySaved] for the others.
//
// # What is stored
//
// The table, by default "eventstore_checkpoints", has a row for each name. [Store.CreateTable] creates it, and
// [Store.DDL] returns the statement for a migration. On PostgreSQL it is
//
//	CREATE TABLE IF NOT EXISTS "eventstore_checkpoints" (
//		name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
//		owner VARCHAR(64) NOT NULL,
//		event_number BIGINT,
//		commit_position BIGINT,
//		prepare_position BIGINT,
//		source TEXT
//	)
//
// On MySQL and MariaDB the name is VARBINARY(1024), the source LONGTEXT, and the engine InnoDB: their text columns do
// not distinguish case and trailing spaces, and other engines have no transactions. On SQLite the name is TEXT with the
// collation BINARY. The user needs the rights to SELECT, INSERT and UPDATE, for CreateTable that to create a table, and
// for [Store.ResetTx] that to DELETE.
//
// A checkpoint of a stream is in event_number, and one of $all in the two positions. Save and SaveTx only move it
// forward. There are two exceptions: Save of the zero Checkpoint, and ResetTx, which deletes the row. The source is the
// stream and the filter of the subscription that saved the checkpoint, and the id of the last event before it, by which
// a log that was replaced is recognised; see [eventstore.CheckpointSourceFromCtx].
//
// # Databases
//
// Any isolation level will do. With REPEATABLE READ or SERIALIZABLE the database may refuse a transaction because of
// another one. As with every error, the handler returns it, and the message is redelivered.
//
// SQLite has one writer at a time. Make the others wait, with the pragma busy_timeout, and begin transactions with
// BEGIN IMMEDIATE if they read before SaveTx. In the driver modernc.org/sqlite these are _pragma=busy_timeout(5000) and
// _txlock=immediate. A commit survives a crash of the process. It survives a loss of power as well with PRAGMA
// synchronous=FULL, which is SQLite's default.
package essql
