package eventstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// timeouts ends Publish calls after a limit. A timer and a context of its own would be a fifth of the cost of a call,
// so calls that begin at about the same time share them. A call may end too early, by limit/timeoutSlices.
type timeouts struct {
	limit  time.Duration // no limit if it is not positive
	cause  error
	ctx    context.Context // the parent of the shared contexts
	cancel context.CancelCauseFunc

	slice atomic.Pointer[timeoutSlice] // for calls that begin now; nil until the first
	mu    sync.Mutex                   // held to make a slice
}

const timeoutSlices = 64

// timeoutSlice is the context of the calls that begin before its timer fires.
type timeoutSlice struct {
	ctx    context.Context
	cancel context.CancelFunc // unused: its parent ends when the Publisher is closed
	timer  *time.Timer
}

func (t *timeouts) init(parent context.Context, limit time.Duration, cause error) {
	t.limit, t.cause = limit, cause
	t.ctx, t.cancel = context.WithCancelCause(parent)
}

// limited returns a child of ctx that ends after the limit.
func (t *timeouts) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if t.limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, t.limit, t.cause)
}

// shared returns a context that ends after the limit, for calls whose messages have no context.
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

// end ends all shared contexts.
func (t *timeouts) end() {
	t.cancel(ErrPublisherClosed)
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.slice.Load(); s != nil {
		s.timer.Stop()
	}
}
