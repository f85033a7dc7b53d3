package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

const (
	// initializeTimeout limits SubscribeInitialize, which gets no context from Watermill.
	initializeTimeout = 30 * time.Second
	// creationLogInterval is the time between two log lines about many groups that a Subscriber creates.
	creationLogInterval = 5 * time.Second
)

// groupCreation tracks the consumer groups that a Subscriber creates.
type groupCreation struct {
	mu       sync.Mutex
	waiting  int
	created  int       // since no call was waiting
	last     time.Time // when a group was last created or found
	lastLog  time.Time // when progress was last logged, or the first call began to wait
	progress bool      // progress was logged since then

	expected atomic.Bool // the latest Subscribe had to create its group, so probably the next one must, too
}

// begin records that a call creates a group.
func (c *groupCreation) begin(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting++; c.waiting == 1 {
		c.created, c.lastLog, c.progress = 0, now, false
	}
}

// end records the result of that call. log is true if the caller must log the progress: at intervals, and at the end if
// there was a line before.
func (c *groupCreation) end(now time.Time, err error) (created, waiting int, log bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting--
	if err == nil || errors.Is(err, esclient.ErrGroupExists) {
		c.created, c.last = c.created+1, now
	}
	if c.waiting == 0 {
		return c.created, 0, c.progress
	}
	if now.Sub(c.lastLog) < creationLogInterval {
		return 0, 0, false
	}
	c.lastLog, c.progress = now, true
	return c.created, c.waiting, true
}

// remaining returns how long a call that began at begun still waits if no group is created meanwhile.
func (c *groupCreation) remaining(now, begun time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.After(begun) {
		begun = c.last
	}
	return initializeTimeout - now.Sub(begun)
}

// withStallTimeout returns a context that ends when no group was created for initializeTimeout.
func (c *groupCreation) withStallTimeout(ctx context.Context) (limited context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(ctx)
	begun, over := time.Now(), make(chan struct{})
	go func() {
		defer close(over)
		for sleep(ctx, c.remaining(time.Now(), begun)) {
			if c.remaining(time.Now(), begun) <= 0 {
				end(fmt.Errorf("no group was created for %v: %w", initializeTimeout, context.DeadlineExceeded))
			}
		}
	}()
	return ctx, func() {
		end(nil)
		<-over
	}
}
