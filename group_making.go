package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

const (
	// initializeTimeout bounds SubscribeInitialize, to which Watermill gives no context.
	initializeTimeout = 30 * time.Second
	// makingInterval is how often the log is told of groups that are being made, where there are many.
	makingInterval = 5 * time.Second
)

// making is how far a Subscriber is with the groups that it makes.
type making struct {
	mu      sync.Mutex
	waiting int
	made    int       // since there was nothing to make
	last    time.Time // when a group was last known to be there
	told    time.Time // when the log was last told, or there was nothing to tell
	telling bool      // the log was told since then
}

// begin notes that a group is to be made.
func (m *making) begin(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting++; m.waiting == 1 {
		m.made, m.told, m.telling = 0, now, false
	}
}

// end notes how that went. tell asks to log how far it is: at intervals, and at the end if it has been told before.
func (m *making) end(now time.Time, err error) (made, waiting int, tell bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting--
	if err == nil || errors.Is(err, esclient.ErrGroupExists) {
		m.made, m.last = m.made+1, now
	}
	if m.waiting == 0 {
		return m.made, 0, m.telling
	}
	if now.Sub(m.told) < makingInterval {
		return 0, 0, false
	}
	m.told, m.telling = now, true
	return m.made, m.waiting, true
}

// left is how long a call that began at some time goes on without a group being made.
func (m *making) left(now, begun time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last.After(begun) {
		begun = m.last
	}
	return initializeTimeout - now.Sub(begun)
}

// patience returns a context that ends when nothing has got on for initializeTimeout.
func (m *making) patience(ctx context.Context) (patient context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(ctx)
	begun, over := time.Now(), make(chan struct{})
	go func() {
		defer close(over)
		for sleep(ctx, m.left(time.Now(), begun)) {
			if m.left(time.Now(), begun) <= 0 {
				end(fmt.Errorf("no group was made for %v: %w", initializeTimeout, context.DeadlineExceeded))
			}
		}
	}()
	return ctx, func() {
		end(nil)
		<-over
	}
}
