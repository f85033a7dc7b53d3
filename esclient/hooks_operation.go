package esclient

import (
	"context"
	"log/slog"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// addressed is a request for a stream, and perhaps a group.
type addressed interface{ about() (stream, group string) }

// operationInfo returns the command, stream and group of a request.
func operationInfo(r engine.Request) OperationInfo {
	if o, ok := r.(*observedOp); ok {
		return o.info
	}
	info := OperationInfo{Command: r.Command().String()}
	if a, ok := r.(addressed); ok {
		info.Stream, info.Group = a.about()
	}
	return info
}

// observedOp is an operation that hooks observe.
type observedOp struct {
	engine.Operation
	info    OperationInfo
	started time.Time
	replied time.Time // time of the latest reply, which the caller may use only later
}

func (o *observedOp) AppendPayload(b []byte) []byte {
	before := len(b)
	b = o.Operation.AppendPayload(b)
	o.info.Sent += len(b) - before
	return b
}

func (o *observedOp) Decode(cmd esproto.Command, payload []byte) error {
	o.info.Received += len(payload)
	o.replied = time.Now()
	return o.Operation.Decode(cmd, payload)
}

// seeOperations reports whether there are hooks for operations.
func (h *hookSet) seeOperations() bool {
	return len(h.operationStarted) > 0 || len(h.operationEnded) > 0
}

// observe calls the hooks for the start of an operation. It returns the context and the operation to perform. The
// caller must call tellEnd.
func (a *attempts) observe(ctx context.Context, op engine.Operation) (context.Context, engine.Operation) {
	hooks := &a.c.hooks
	if !hooks.seeOperations() {
		return ctx, op
	}
	o := &observedOp{Operation: op, info: operationInfo(op), started: time.Now()}
	a.observed = o
	for _, h := range hooks.operationStarted {
		ctx = h.OnOperationStarted(ctx, o.info)
	}
	return ctx, o
}

// tellEnd calls the hooks for the end of the operation, and returns its error.
func (a *attempts) tellEnd(ctx context.Context, err error) error {
	o := a.observed
	if o == nil {
		return err
	}
	ended := time.Now()
	if err == nil {
		ended = o.replied
	}
	o.info.Endpoint, o.info.Retries, o.info.Delay = a.endpoint(), a.retries, 0
	o.info.Duration, o.info.Err = ended.Sub(o.started), err
	for _, h := range a.c.hooks.operationEnded {
		h.OnOperationEnded(ctx, o.info)
	}
	return err
}

// tellRetry reports that a request is sent again after a pause, and why.
func (a *attempts) tellRetry(ctx context.Context, r engine.Request, pause time.Duration, reason error) {
	c := a.c
	logs := c.cfg.Logger.Enabled(ctx, slog.LevelDebug)
	if !logs && len(c.hooks.retry) == 0 {
		return
	}
	info := operationInfo(r)
	info.Endpoint, info.Retries, info.Delay, info.Err = a.endpoint(), a.retries, pause, reason
	if logs {
		c.cfg.Logger.DebugContext(ctx, "trying again",
			"command", info.Command, "stream", info.Stream, "group", info.Group, "endpoint", info.Endpoint,
			"retry", info.Retries, "delay", info.Delay, "error", info.Err)
	}
	for _, h := range c.hooks.retry {
		h.OnRetry(ctx, info)
	}
}

// endpoint returns the node of the latest attempt.
func (a *attempts) endpoint() string {
	if a.conn == nil {
		return ""
	}
	return a.conn.Endpoint()
}
