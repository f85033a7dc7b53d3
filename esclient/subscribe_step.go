package esclient

import (
	"context"
	"errors"
)

// step is work that a subscription needs before the next event: reading a page, or subscribing. It does not end with
// the context of Next. There is at most one. While it runs, only it uses the fields that belong to Next.
type step struct {
	done chan struct{}
	err  error // why the subscription ends; valid after done is closed
}

// begin starts a step in a goroutine.
func (s *Subscription) begin(work func(context.Context) error) {
	st := &step{done: make(chan struct{})}
	s.step = st
	s.c.goroutines.start(func() {
		defer close(st.done)
		st.err = s.persist(work)
	})
}

// await waits for the step. Its error is that of ctx, or the end of the subscription.
func (s *Subscription) await(ctx context.Context) error {
	drained := s.drained
	if s.feed.Load() != nil {
		drained = nil // the events of the feed come after those that the step reads
	}
	select {
	case <-s.step.done:
		err := s.step.err
		if s.step = nil; err != nil {
			return s.finish(err)
		}
		return nil
	case <-s.closed:
		return s.Err()
	case <-drained:
		return s.finish(ErrSubscriptionStopped)
	case <-ctx.Done():
		return s.c.outOfTime(ctx)
	}
}

// persist repeats a step until it succeeds or the subscription ends.
func (s *Subscription) persist(work func(context.Context) error) error {
	r := s.c.newResumption(s.report.begun.Load())
	for {
		err := work(s.ctx)
		switch {
		case err == nil:
			s.report.begun.Store(true)
			return nil
		case s.ctx.Err() != nil:
			return s.ended()
		case !r.goesOn(err):
			return err
		}
		s.report.waits(err)
		if r.sleep(s.ctx) != nil {
			return s.ended()
		}
	}
}

// ended returns why the subscription's context has ended.
func (s *Subscription) ended() error {
	if err := s.Err(); err != nil {
		return err
	}
	if s.c.closing.Load() {
		return ErrClosed
	}
	return context.Cause(s.ctx)
}

// first runs the first step, in which the server accepts or refuses the subscription. done reports whether the step is
// complete.
func (s *Subscription) first(ctx context.Context, work func(context.Context) error, done func() bool) error {
	ctx, cancel := s.merged(ctx)
	defer cancel()
	for {
		err := work(ctx)
		if err == nil && done() {
			s.report.begun.Store(true)
			s.progress.publish(&s.cursor)
			s.unread.publish(s.page, s.last)
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			continue
		}
		if s.ctx.Err() != nil {
			err = s.ended()
		}
		if e := (*OperationError)(nil); !errors.As(err, &e) {
			err = &OperationError{Operation: "subscribe to", Stream: s.stream, Err: err}
		}
		return s.finish(err)
	}
}

// merged returns a context that ends with ctx or the subscription, and has the subscription's credentials.
func (s *Subscription) merged(ctx context.Context) (context.Context, context.CancelFunc) {
	merged, cancel := context.WithCancelCause(s.ctx)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return merged, func() {
		stop()
		cancel(context.Canceled)
	}
}

// outOfTime returns the error of a context that has ended. If there is no connection, the error says why.
func (c *Client) outOfTime(ctx context.Context) error {
	if c.manager.Current() == nil {
		_, err := c.conn(ctx)
		if e := (*NotConnectedError)(nil); errors.As(err, &e) {
			return err
		}
	}
	return context.Cause(ctx)
}
