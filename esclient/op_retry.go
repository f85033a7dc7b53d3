package esclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// serverTimeoutError is a write that the server gave up waiting for. It may still take place.
type serverTimeoutError struct{ result esproto.OperationResult }

func (e *serverTimeoutError) Error() string {
	return fmt.Sprintf("esclient: the server timed out: %v", e.result)
}

// Is makes the error match ErrOperationTimeout.
func (e *serverTimeoutError) Is(target error) bool {
	return target == ErrOperationTimeout || target == errEngineTimeout
}

// Pauses between attempts, where a lost connection does not impose its own.
const (
	retryPause    = 50 * time.Millisecond
	maxRetryPause = 650 * time.Millisecond // the mean: the client notices within a second that a server is ready
)

// attempts is the course of one operation through its attempts.
type attempts struct {
	c          *Client
	repetition repetition
	shrinks    shrinkable // the operation, if it can ask for a smaller reply
	paced      bool       // a pause comes before each repetition, whatever the failure
	creds      *esproto.Credentials
	conn       *engine.Conn // of the latest attempt; nil before the first
	failed     int          // attempts that count against Config.MaxRetries
	retries    int
	notReady   int          // how often a node was not ready since the client has looked for another
	unknown    error        // why an earlier attempt may have taken place; nil if none may have
	on         *engine.Conn // the connection on which that attempt would be recognised; nil for none
	late       error        // how the engine ended the last attempt whose reply may still come; nil for none
	pauses     pauses

	begun    engine.Pending // the first attempt, if it was made ahead of time
	observed *observedOp    // for the hooks; nil if there are none
}

// do performs an operation, again and again where that is safe and helps.
func (c *Client) do(ctx context.Context, op engine.Operation, r repetition) error {
	a := attempts{c: c, repetition: r}
	ctx, op = a.observe(ctx, op)
	return a.tellEnd(ctx, a.perform(ctx, op))
}

// begin makes the first attempt without waiting for its reply, if there is a connection at hand. perform or the Cancel
// of begun must follow.
func (a *attempts) begin(ctx context.Context, op engine.Operation) {
	creds, err := credentialsFrom(ctx)
	conn := a.c.manager.Current()
	if err != nil || conn == nil || a.c.closing.Load() {
		return // perform will meet the same
	}
	a.conn = conn
	a.begun, _ = conn.Begin(ctx, op, creds)
}

func (a *attempts) perform(ctx context.Context, op engine.Operation) (err error) {
	if a.creds, err = credentialsFrom(ctx); err != nil {
		return err
	}
	for {
		if ctx.Err() != nil {
			a.begun.Cancel()
			return a.final(context.Cause(ctx))
		}
		conn, err := a.connect(ctx)
		if err != nil {
			return a.final(err)
		}
		if !a.mayRepeat(conn) {
			return a.final(a.unknown)
		}
		a.conn = conn
		sent, err := a.attempt(ctx, op)
		if err == nil {
			return nil
		}
		if err := a.again(ctx, op, sent, err); err != nil {
			return a.final(err)
		}
	}
}

// connect returns the connection for the next attempt.
func (a *attempts) connect(ctx context.Context) (*engine.Conn, error) {
	if conn := a.begun.Conn(); conn != nil {
		return conn, nil
	}
	if a.unknown != nil {
		return a.c.conn(ctx)
	}
	return a.c.connUnsent(ctx)
}

// attempt makes one attempt, or waits for the end of that which has begun.
func (a *attempts) attempt(ctx context.Context, op engine.Operation) (sent bool, err error) {
	begun := a.begun
	a.begun = engine.Pending{}
	switch {
	case begun.Conn() != nil:
		sent, err = begun.Wait(ctx)
	case a.shrinks != nil:
		sent, err = a.conn.Do(ctx, op, a.creds) // a late reply would be to a request for more
	default:
		sent, err = a.conn.Repeat(ctx, op, a.creds, a.late)
		if errors.Is(err, errEngineTimeout) {
			a.late = err
		}
	}
	return sent, fromEngine(err)
}

// again prepares for another attempt after one that has failed with reason. Its error says why there is none.
func (a *attempts) again(ctx context.Context, r engine.Request, sent bool, reason error) error {
	d := a.judge(ctx, a.conn, sent, reason)
	if !d.again {
		return reason
	}
	if d.counts {
		a.failed++
	}
	if a.failed > max(a.c.cfg.MaxRetries, 0) {
		return fmt.Errorf("gave up after %d attempts: %w", a.failed, reason)
	}
	var pause time.Duration
	if d.pause || a.paced {
		pause = a.pauses.next(retryPause, maxRetryPause)
	}
	a.retries++
	a.tellRetry(ctx, r, pause, reason)
	if pause == 0 {
		return nil
	}
	if a.unknown == nil {
		var stop func()
		ctx, stop = whileUnsent(ctx)
		defer stop()
	}
	err := sleep(ctx, pause)
	if err != nil && policyFor(reason).free {
		return fmt.Errorf("%w (last error: %w)", err, reason)
	}
	return err
}

// conn waits for the connection.
func (c *Client) conn(ctx context.Context) (*engine.Conn, error) {
	if c.closing.Load() {
		return nil, ErrClosed
	}
	conn, err := c.manager.Conn(ctx)
	return conn, fromEngine(err)
}

// connUnsent is conn for a call of which nothing is sent: it also ends with the context of WhileUnsent.
func (c *Client) connUnsent(ctx context.Context) (*engine.Conn, error) {
	if conn := c.manager.Current(); conn != nil && !c.closing.Load() {
		return conn, nil
	}
	ctx, stop := whileUnsent(ctx)
	defer stop()
	return c.conn(ctx)
}
