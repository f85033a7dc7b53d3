package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

const (
	// snapshotEvery is how many events lie between two snapshots of an account.
	snapshotEvery = 50
	// rememberedCommands is how many commands an account remembers, to recognise one that is repeated.
	rememberedCommands = 1000
	// snapshotType is the type of the events with snapshots. Change it when Account changes: snapshots of another type
	// are not read.
	snapshotType = "AccountSnapshot.v1"
)

// ErrInsufficient is the refusal of a withdrawal.
var ErrInsufficient = errors.New("the account does not have so much")

// Deposited and Withdrawn are the events of an account.
type (
	Deposited struct {
		Amount int `json:"amount"`
	}
	Withdrawn struct {
		Amount int `json:"amount"`
	}
)

// Account is the state of an account after its event number Version. Its JSON is a snapshot.
type Account struct {
	Version  esclient.ExpectedVersion `json:"version"`
	Balance  int                      `json:"balance"`
	Commands []uuid.UUID              `json:"commands"` // the latest, up to rememberedCommands
}

// apply changes the state by one event. It never refuses: events have happened.
func (a *Account) apply(e *esclient.Event) error {
	switch e.Type {
	case "Deposited":
		var d Deposited
		if err := e.JSON(&d); err != nil {
			return fmt.Errorf("event %d of %s: %w", e.Number, e.Stream, err)
		}
		a.Balance += d.Amount
	case "Withdrawn":
		var w Withdrawn
		if err := e.JSON(&w); err != nil {
			return fmt.Errorf("event %d of %s: %w", e.Number, e.Stream, err)
		}
		a.Balance -= w.Amount
	default:
		return fmt.Errorf("event %d of %s has the unknown type %q", e.Number, e.Stream, e.Type)
	}
	a.Version = esclient.ExpectedVersion(e.Number)
	a.Commands = append(a.Commands, e.ID)
	if n := len(a.Commands) - rememberedCommands; n > 0 {
		a.Commands = slices.Delete(a.Commands, 0, n)
	}
	return nil
}

// Accounts loads and changes accounts. Each has a stream of its own, and a second one for its snapshots.
type Accounts struct {
	Client *esclient.Client
	// Category is the first part of the names of the streams. It must not contain "-", which ends the category's name.
	Category string
	// OnSnapshotError gets the errors of snapshots that could not be saved.
	OnSnapshotError func(error)
}

func (r *Accounts) stream(id string) string         { return r.Category + "-" + id }
func (r *Accounts) snapshotStream(id string) string { return r.Category + "snapshot-" + id }

// Deposit adds an amount to an account. An account exists from its first deposit on.
func (r *Accounts) Deposit(ctx context.Context, id string, command uuid.UUID, amount int) error {
	if amount <= 0 {
		return fmt.Errorf("a deposit of %d: it must be positive", amount)
	}
	return r.change(ctx, id, command, func(Account) (esclient.EventData, error) {
		return esclient.JSONEvent("Deposited", Deposited{amount})
	})
}

// Withdraw takes an amount from an account. It fails with ErrInsufficient if the account does not have so much.
func (r *Accounts) Withdraw(ctx context.Context, id string, command uuid.UUID, amount int) error {
	if amount <= 0 {
		return fmt.Errorf("a withdrawal of %d: it must be positive", amount)
	}
	return r.change(ctx, id, command, func(a Account) (esclient.EventData, error) {
		if a.Balance < amount {
			return esclient.EventData{}, ErrInsufficient
		}
		return esclient.JSONEvent("Withdrawn", Withdrawn{amount})
	})
}

// change loads an account, decides, and appends the event on condition that the account is unchanged.
//
// The id of the command is that of its event. So a command counts once, however often it is made: if the error is
// esclient.ErrOutcomeUnknown, the caller makes it again, with the same id.
func (r *Accounts) change(
	ctx context.Context, id string, command uuid.UUID, decide func(Account) (esclient.EventData, error),
) error {
	for {
		account, err := r.Load(ctx, id)
		if err != nil {
			return err
		}
		if slices.Contains(account.Commands, command) {
			return nil // an earlier attempt was written
		}
		event, err := decide(account)
		if err != nil {
			return err
		}
		event.ID = command // a command with several events needs an id for each: uuid.NewSHA1(command, …)
		result, err := r.Client.Append(ctx, r.stream(id), account.Version, event)
		switch {
		case err == nil:
			if (result.LastEventNumber+1)%snapshotEvery == 0 {
				r.saveSnapshot(ctx, id)
			}
			return nil
		case errors.Is(err, esclient.ErrWrongExpectedVersion):
			// Another writer was faster, and this event was not written: decide again.
		default:
			// After a lost connection the client has repeated the append, because the expected version is a number.
			// The outcome is unknown only if ctx has ended, or the client was closed, before the reply.
			return err
		}
	}
}

// Load returns the state of an account: its latest snapshot, and the events since. An account without events is empty.
// To delete an account, delete its snapshots first: Load fails if it finds them alone.
func (r *Accounts) Load(ctx context.Context, id string) (Account, error) {
	account, err := r.loadSnapshot(ctx, id)
	if err != nil {
		return Account{}, err
	}
	from := esclient.FromStart()
	if account.Version >= 0 {
		from = esclient.AfterNumber(int64(account.Version))
	}
	for event, err := range r.Client.ReadStream(ctx, r.stream(id), esclient.ReadOptions{From: from}) {
		if errors.Is(err, esclient.ErrStreamNotFound) && account.Version == esclient.NoStream {
			break // there was no deposit yet
		}
		if err != nil {
			return Account{}, err
		}
		if err := account.apply(event); err != nil {
			return Account{}, err
		}
	}
	return account, nil
}

// loadSnapshot returns the latest snapshot of an account, or an empty account if there is none.
func (r *Accounts) loadSnapshot(ctx context.Context, id string) (Account, error) {
	empty := Account{Version: esclient.NoStream}
	event, err := r.Client.ReadEvent(ctx, r.snapshotStream(id), esclient.LastEvent, esclient.ReadEventOptions{})
	if errors.Is(err, esclient.ErrStreamNotFound) || errors.Is(err, esclient.ErrEventNotFound) {
		return empty, nil
	}
	if err != nil {
		return Account{}, err
	}
	if event.Type != snapshotType {
		return empty, nil // of another version of this program
	}
	var account Account
	if err := event.JSON(&account); err != nil {
		return Account{}, fmt.Errorf("snapshot %d of %s: %w", event.Number, event.Stream, err)
	}
	return account, nil
}

// saveSnapshot saves a snapshot. It only saves time: no command fails because there is none, and if two writers save at
// the same time, either snapshot is right.
func (r *Accounts) saveSnapshot(ctx context.Context, id string) {
	if err := r.trySaveSnapshot(ctx, id); err != nil && r.OnSnapshotError != nil {
		r.OnSnapshotError(fmt.Errorf("snapshot of account %s: %w", id, err))
	}
}

func (r *Accounts) trySaveSnapshot(ctx context.Context, id string) error {
	account, err := r.Load(ctx, id)
	if err != nil {
		return err
	}
	stream := r.snapshotStream(id)
	// The server keeps the latest snapshot only. The metadata is written once: later it has another version.
	_, err = r.Client.SetStreamMetadata(ctx, stream, esclient.NoStream, esclient.StreamMetadata{MaxCount: 1})
	if err != nil && !errors.Is(err, esclient.ErrWrongExpectedVersion) {
		return err
	}
	data, err := json.Marshal(account)
	if err != nil {
		return err
	}
	_, err = r.Client.Append(ctx, stream, esclient.Any, esclient.EventData{
		Type: snapshotType, ContentType: esclient.ContentTypeJSON, Data: data,
	})
	return err
}
