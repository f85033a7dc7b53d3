package eventstore

import (
	"context"
	"sync/atomic"
	"time"
)

// timeouts ends Publish calls that take too long. A timer and a context for each would be a fifth of what a call costs,
// so calls that begin at about the same time share them: the limit may come early, by one part in timeoutSlices.
type timeouts struct {
	limit time.Duration // none if it is not positive
	cause error
	ctx   context.Context // the parent of what is shared
	end   context.CancelFunc
	slice atomic.Pointer[timeoutSlice]
}

const timeoutSlices = 64

// timeoutSlice is the context of the calls that begin before a point in time.
type timeoutSlice struct {
	until  time.Time
	ctx    context.Context
	cancel context.CancelFunc // when the Publisher is closed, by way of its parent
}

func (t *timeouts) init(limit time.Duration, cause error) {
	t.limit, t.cause = limit, cause
	t.ctx, t.end = context.WithCancel(context.Background())
}

// of returns a context that ends with ctx and in time.
func (t *timeouts) of(ctx context.Context) (context.Context, context.CancelFunc) {
	switch {
	case t.limit <= 0:
		return ctx, func() {}
	case ctx == context.Background():
		return t.shared(time.Now()), func() {}
	}
	return context.WithTimeoutCause(ctx, t.limit, t.cause)
}

func (t *timeouts) shared(now time.Time) context.Context {
	if s := t.slice.Load(); s != nil && now.Before(s.until) {
		return s.ctx
	}
	// Several may come here at a time: each has made a slice that will do.
	s := &timeoutSlice{until: now.Add(t.limit / timeoutSlices)}
	s.ctx, s.cancel = context.WithDeadlineCause(t.ctx, now.Add(t.limit), t.cause)
	t.slice.Store(s)
	return s.ctx
}
