package esclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

const (
	// missingFor is how long a group may be missing until it counts as deleted. To reset a group, a user deletes it and
	// creates it again right after. Besides, a node that has just become the leader may not know its groups yet.
	missingFor = time.Second
	// missingPause is the pause between two attempts.
	missingPause = 50 * time.Millisecond
)

// resume follows the end of a session in a goroutine of its own: it makes another session, or ends the subscription.
func (p *PersistentSubscription) resume(reason error) {
	work := func() {
		p.report.dropped(reason)
		if !replaces(reason) && failureOf(reason) != failNoGroup {
			p.end(explained(reason))
			return
		}
		if !p.endIfDrained() {
			p.rejoin(reason)
		}
	}
	p.c.goUnlessClosing(work) // otherwise Close ends it
}

// rejoin makes another session after one that ended with reason. If that is not possible, the subscription ends.
func (p *PersistentSubscription) rejoin(reason error) {
	var missing time.Time         // since when the group is missing; zero if it is not
	r := p.c.newResumption(false) // while the server cannot create the group, waiting does not help
	for {
		if errors.Is(reason, ErrGroupNotFound) {
			if missing.IsZero() {
				missing = time.Now()
			}
			reason = p.createAgain(reason, time.Since(missing) >= missingFor)
		} else {
			missing, reason = time.Time{}, nil
		}
		if reason == nil {
			reason = p.connect(p.ctx)
		}
		if reason == nil || p.ctx.Err() != nil {
			return
		}
		var gone *groupDeletedError
		var err error
		switch {
		case errors.As(reason, &gone):
			p.end(reason)
			return
		case failureOf(reason) == failNoGroup:
			err = sleep(p.ctx, missingPause)
		case r.goesOn(reason):
			err = r.sleep(p.ctx)
		default:
			p.end(reason)
			return
		}
		if err != nil {
			return
		}
	}
}

// groupDeletedError ends a subscription whose group stays missing. It is ErrGroupNotFound.
type groupDeletedError struct {
	what string
	err  error
}

func (e *groupDeletedError) Error() string {
	return fmt.Sprintf("esclient: %s: %s", e.what, trimPrefix(e.err))
}
func (e *groupDeletedError) Unwrap() error { return e.err }

// createAgain creates a missing group if the options say so. Without an error another attempt may succeed: the group
// was created, or may appear. The error is a groupDeletedError if the group was missing for long.
func (p *PersistentSubscription) createAgain(reason error, long bool) error {
	settings := p.opts.Recreate
	if settings == nil {
		back, err := p.logWentBack()
		switch {
		case err != nil:
			return err
		case back:
			settings = p.opts.Restore
		}
		if settings == nil && !long {
			return nil
		}
		if settings == nil {
			what := "the group was deleted"
			if back {
				what = "the server has come back without the group, with an older log or an empty one"
			}
			return &groupDeletedError{what: what, err: reason}
		}
	}
	err := p.c.CreatePersistent(p.ctx, p.stream, p.group, *settings)
	if err != nil && !errors.Is(err, ErrGroupExists) {
		return err
	}
	p.mu.Lock()
	p.ledger.forgetSettled(stale) // a new group knows no ack
	if err == nil {
		p.pushLimit.hear(settings.MessageTimeout)
		p.timeOn()
	}
	p.mu.Unlock()
	return nil
}

// logWentBack reports whether the server's log is not the one that had the group, or an older state of it. An error
// means that this is not known yet.
func (p *PersistentSubscription) logWentBack() (bool, error) {
	for n := 0; ; n++ {
		conn, err := p.c.conn(p.ctx)
		if err != nil {
			return false, err
		}
		now, before, err := p.lookNow(p.ctx, conn)
		if err != nil {
			return false, err
		}
		p.mu.Lock()
		v := compareSnapshots(p.seen, now, before.last, p.position)
		p.mu.Unlock()
		if v != groupLogOlder || n+1 == maxLooks || now.stream.anchor == anchorOther {
			return v == groupLogOlder, fromEngine(conn.Err())
		}
		if err := sleep(p.ctx, lookAgain); err != nil {
			return false, err
		}
	}
}

// lookNow takes a snapshot of the group and waits for it. It also returns the state of the stream as known before.
func (p *PersistentSubscription) lookNow(ctx context.Context, conn *engine.Conn) (*snapshot, knownStream, error) {
	p.mu.Lock()
	before := p.known()
	l := p.newLook(conn, &before, false)
	p.mu.Unlock()
	seen := make(chan struct{})
	l.start(ctx, func() { close(seen) })
	select {
	case <-seen:
		return l.snapshot(), before, nil
	case <-ctx.Done():
		return nil, before, context.Cause(ctx)
	}
}
