package esclient

import "context"

type unsentKey struct{}

// WhileUnsent returns a context whose calls also end with unsent, as long as the server cannot have changed anything
// for them: while they wait for a connection, or to ask a server again that was not ready. What was sent is waited for
// as long as ctx lives. It serves whoever shuts down and wants to know what becomes of the calls under way. A call that
// can be sent at once is sent, even if unsent has ended.
func WhileUnsent(ctx, unsent context.Context) context.Context {
	return context.WithValue(ctx, unsentKey{}, unsent)
}

// whileUnsent returns a context that ends with ctx, and with that which WhileUnsent gave it. stop must be called.
func whileUnsent(ctx context.Context) (both context.Context, stop func()) {
	unsent, _ := ctx.Value(unsentKey{}).(context.Context)
	if unsent == nil {
		return ctx, func() {}
	}
	both, cancel := context.WithCancelCause(ctx)
	release := context.AfterFunc(unsent, func() { cancel(context.Cause(unsent)) })
	return both, func() {
		release()
		cancel(nil)
	}
}
