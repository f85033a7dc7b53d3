package eventstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// timeouts ends Publish calls that take too long. A timer and a context for each would be a fifth of what a call costs,
// so calls that begin at about the same time share them: the limit may come early, by one part in timeoutSlices.
type timeouts struct {
	limit  time.Duration // none if it is not positive
	cause  error
	ctx    context.Context // the parent of what is shared
	cancel context.CancelCauseFunc

	slice atomic.Pointer[timeoutSlice] // of the calls that begin now; nil until there is one
	mu    sync.Mutex                   // held by who makes one
}

const timeoutSlices = 64

// timeoutSlice is the context of the calls that begin until the timer takes it away.
type timeoutSlice struct {
	ctx    context.Context
	cancel context.CancelFunc // when the Publisher is closed, by way of its parent
	timer  *time.Timer
}

func (t *timeouts) init(parent context.Context, limit time.Duration, cause error) {
	t.limit, t.cause = limit, cause
	t.ctx, t.cancel = context.WithCancelCause(parent)
}

// of returns a context that ends with ctx and in time.
func (t *timeouts) of(ctx context.Context) (context.Context, context.CancelFunc) {
	if t.limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, t.limit, t.cause)
}

// shared returns a context that ends in time, for calls whose messages have none.
func (t *timeouts) shared() context.Context {
	if t.limit <= 0 {
		return t.ctx
	}
	if s := t.slice.Load(); s != nil {
		return s.ctx
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.slice.Load(); s != nil {
		return s.ctx
	}
	s := new(timeoutSlice)
	s.ctx, s.cancel = context.WithTimeoutCause(t.ctx, t.limit, t.cause)
	s.timer = time.AfterFunc(t.limit/timeoutSlices, func() { t.slice.CompareAndSwap(s, nil) })
	t.slice.Store(s)
	return s.ctx
}

// end ends all contexts that are shared.
func (t *timeouts) end() {
	t.cancel(ErrPublisherClosed)
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.slice.Load(); s != nil {
		s.timer.Stop()
	}
}
