package esclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

const (
	// missingFor is how long a group is looked for until it counts as deleted: whoever resets a group deletes it and
	// makes it anew right after, and a node that has just begun to lead may not know its groups yet.
	missingFor = time.Second
	// missingPause is how long it waits between two looks.
	missingPause = 50 * time.Millisecond
)

// resume follows the end of a session, in a goroutine of its own: either another one replaces it, or that was the end.
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
	p.c.goUnlessClosing(work) // or else Close ends it
}

// rejoin makes another session after one that ended with reason. If there can be none, the subscription ends.
func (p *PersistentSubscription) rejoin(reason error) {
	var missing time.Time         // since when the group is; zero while it is not
	r := p.c.newResumption(false) // where the server cannot make the group anew, nothing passes
	for {
		if errors.Is(reason, ErrGroupNotFound) {
			if missing.IsZero() {
				missing = time.Now()
			}
			reason = p.makeAnew(reason, time.Since(missing) >= missingFor)
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

// groupDeletedError ends a subscription whose group is gone for good. It is ErrGroupNotFound.
type groupDeletedError struct {
	what string
	err  error
}

func (e *groupDeletedError) Error() string {
	return fmt.Sprintf("esclient: %s: %s", e.what, trimPrefix(e.err))
}
func (e *groupDeletedError) Unwrap() error { return e.err }

// makeAnew makes the group anew, after it was found missing, if the options say so. Without an error the group is worth
// another look: it was made, or may turn up. The error is a groupDeletedError once it was missing for long.
func (p *PersistentSubscription) makeAnew(reason error, long bool) error {
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
	p.ledger.forgetSettled(stale) // another group: it knows of no ack
	if err == nil {
		p.pace.hear(settings.MessageTimeout)
		p.timeOn()
	}
	p.mu.Unlock()
	return nil
}

// logWentBack reports whether the server's log is another one than that which had the group, or an older state of it.
// An error means that it cannot tell yet.
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

// lookNow looks at the group and waits for the snapshot. It also returns what was known of the stream before.
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
