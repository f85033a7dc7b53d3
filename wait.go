package eventstore

import (
	"context"
	"time"
)

// sleep waits for d. It returns false if ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	return !closedWithin(ctx.Done(), d)
}

// closedWithin waits until c is closed, for d at most, and reports whether it is.
func closedWithin(c <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		return isClosed(c)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
