package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// storeCall is one call of a [Checkpoints] store by a Subscriber. The context of the call has it.
type storeCall struct {
	keeper *checkpointKeeper
	known  esclient.KnownEvent // to save; or that was loaded
}

type storeCallKey struct{}

func (c *storeCall) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, storeCallKey{}, c)
}

// storeCallFrom returns the call that has ctx, or nil if the caller of the store is no Subscriber.
func storeCallFrom(ctx context.Context) *storeCall {
	c, _ := ctx.Value(storeCallKey{}).(*storeCall)
	return c
}

// checkpointOwner returns the keeper that calls the store with ctx. The stores of this package need it, because
// subscriptions of one process may have the same name. It is nil if the caller of the store is no Subscriber.
func checkpointOwner(ctx context.Context) *checkpointKeeper {
	if c := storeCallFrom(ctx); c != nil {
		return c.keeper
	}
	return nil
}

// storeCalls are the calls of a [Checkpoints] store by one subscription. They run one at a time. If the store ignores
// the end of its context, the subscription stops waiting for the call, but begins no other call before it has returned.
type storeCalls struct {
	latest chan struct{} // closed when the latest call has returned; nil before the first
}

// storeGrace is the time after the end of its context for which the subscription still waits for a call.
const storeGrace = time.Second

var errStoreHangs = errors.New("eventstore: a call of the store goes on although its context has ended")

// call calls f in a goroutine, and waits until f returns, or storeGrace after the end of ctx.
func (c *storeCalls) call(
	ctx context.Context, f func(context.Context) (esclient.Checkpoint, error),
) (esclient.Checkpoint, error) {
	if c.isRunning() {
		select {
		case <-c.latest:
		case <-ctx.Done():
			return esclient.Checkpoint{}, errStoreHangs
		}
	}
	returned := make(chan struct{})
	c.latest = returned
	var result struct { // read only after the return
		c   esclient.Checkpoint
		err error
	}
	go func() {
		defer close(returned)
		result.c, result.err = f(ctx)
	}()
	select {
	case <-returned:
		return result.c, result.err
	case <-ctx.Done():
	}
	if closedWithin(returned, storeGrace) {
		return result.c, result.err
	}
	return esclient.Checkpoint{}, fmt.Errorf("%w: %w", errStoreHangs, context.Cause(ctx))
}

// isRunning reports whether a call has not returned yet.
func (c *storeCalls) isRunning() bool { return c.latest != nil && !isClosed(c.latest) }
