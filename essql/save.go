package essql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

var (
	// ErrAlreadySaved is the error of [Store.SaveTx] if the checkpoint of the message was saved before: the read model
	// has the message, which is redelivered because its ack got lost. The handler acks it and changes nothing.
	ErrAlreadySaved = errors.New("essql: the read model has this message already")
	// ErrNotLoaded is the error of [Store.Save] and [Store.SaveTx] for a name that this Store has not loaded. SaveTx
	// needs the Store that the Subscriber has as Checkpoints.
	ErrNotLoaded = errors.New("essql: this Store has not loaded the checkpoint; " +
		"give the Store of SaveTx to SubscriberConfig.Checkpoints")
)

// Save stores a checkpoint under a name that was loaded, durably. A checkpoint that is not later than the stored one
// changes nothing and is no error, since [Store.SaveTx] may have been ahead of it. The zero Checkpoint is stored
// always. Save fails with [eventstore.ErrCheckpointTaken] if another Store has loaded the name since, or the row was
// deleted, with [ErrNotLoaded], and with an [*esclient.ArgumentError] for a checkpoint that has no text, or that is an
// event number where a position is stored or the other way round.
func (s *Store) Save(ctx context.Context, name string, c esclient.Checkpoint) error {
	if err := s.mayHold(name); err != nil {
		return err
	}
	source := s.source(ctx, name)
	err := s.inTx(ctx, func(tx *sql.Tx) error { return s.save(ctx, tx, name, c, source) })
	if err != nil && !errors.Is(err, ErrAlreadySaved) {
		return fmt.Errorf("essql: cannot save checkpoint %q: %w", name, err)
	}
	return nil
}

// SaveTx saves the checkpoint of a message in the handler's transaction tx, which must be of the database of the Store.
// Call it before the read model is changed, and commit only if it returns nil. It fails with
//   - [ErrAlreadySaved] if the read model has the message: roll back, and ack the message;
//   - [eventstore.ErrCheckpointTaken] if another Store has loaded the name since: SaveTx then ends the subscription, by
//     [eventstore.NackWith] with ActionStop;
//   - [ErrNotLoaded] if the Subscriber has another Store, or another kind of Checkpoints;
//   - an [*esclient.ArgumentError] if [eventstore.CheckpointToSave] refuses the message, because of Concurrency or
//     StartOver for example, or if an event number is stored and the message has a position, or the other way round.
//
// A SaveTx that waits for another transaction ends with ctx or the lock timeout of the database.
func (s *Store) SaveTx(ctx context.Context, tx *sql.Tx, msg *message.Message) error {
	if tx == nil {
		return &esclient.ArgumentError{Argument: "tx", Reason: "is nil"}
	}
	name, c, err := eventstore.CheckpointToSave(msg)
	if err != nil {
		return err
	}
	if err := s.mayHold(name); err != nil {
		return err
	}
	if err := s.save(ctx, tx, name, c, s.source(msg.Context(), name)); err != nil {
		err = fmt.Errorf("essql: cannot save checkpoint %q in a transaction: %w", name, err)
		if errors.Is(err, eventstore.ErrCheckpointTaken) {
			// Without an ack the Subscriber has nothing to save, and would not learn it.
			eventstore.NackWith(msg, eventstore.ActionStop, err.Error())
		}
		return err
	}
	return nil
}

// Apply runs change in a transaction that saves the checkpoint of a message as well, so that the database has both or
// neither. If the read model has the message already, it does not call change and returns nil. All other errors of
// [Store.SaveTx], of change and of the database are returned: the handler returns them, and the message is redelivered.
// The transaction has the database's default isolation level and ends with ctx.
func (s *Store) Apply(ctx context.Context, msg *message.Message, change func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("essql: cannot begin a transaction: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	if err := s.SaveTx(ctx, tx, msg); errors.Is(err, ErrAlreadySaved) {
		return nil
	} else if err != nil {
		return err
	}
	if err := change(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("essql: cannot commit the message and its checkpoint: %w", err)
	}
	return nil
}

// ResetTx deletes the checkpoint of a name in a transaction, for example that which empties the read model. A
// subscription that uses the name ends with [eventstore.ErrCheckpointTaken], and the next one begins at
// SubscriberConfig.Start.
func (s *Store) ResetTx(ctx context.Context, tx *sql.Tx, name string) error {
	if tx == nil {
		return &esclient.ArgumentError{Argument: "tx", Reason: "is nil"}
	}
	if err := checkName(name); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, s.sql.reset, s.dialect.name(name)); err != nil {
		return fmt.Errorf("essql: cannot reset checkpoint %q: %w", name, err)
	}
	return nil
}

// save moves the checkpoint of a name forward, or says why not.
func (s *Store) save(ctx context.Context, tx *sql.Tx, name string, c esclient.Checkpoint, source string) error {
	if _, err := c.MarshalText(); err != nil {
		return err
	}
	statement, args := s.sql.saveNothing, []any{source, s.dialect.name(name), s.owner}
	if n, ok := c.Number(); ok {
		statement, args = s.sql.saveNumber, []any{n, source, s.dialect.name(name), s.owner, n}
	} else if p, ok := c.Position(); ok {
		statement, args = s.sql.savePos, []any{
			p.Commit, p.Prepare, source, s.dialect.name(name), s.owner, p.Commit, p.Commit, p.Prepare,
		}
	}
	result, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	if moved, err := result.RowsAffected(); err != nil || moved > 0 {
		return err
	}
	return s.explain(ctx, tx, name, c)
}

// explain says why a checkpoint was not moved.
func (s *Store) explain(ctx context.Context, tx *sql.Tx, name string, c esclient.Checkpoint) error {
	saved, err := scan(tx.QueryRowContext(ctx, s.sql.lock, s.dialect.name(name)))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fmt.Errorf("%w (its row was deleted)", eventstore.ErrCheckpointTaken)
	case err != nil:
		return err
	case saved.owner != s.owner:
		return eventstore.ErrCheckpointTaken
	}
	order, err := saved.checkpoint.Compare(c)
	switch {
	case err != nil:
		return fmt.Errorf("%w: reset it to begin anew", err)
	case order < 0:
		return errors.New("it was reset meanwhile: repeat the call")
	}
	return ErrAlreadySaved
}
