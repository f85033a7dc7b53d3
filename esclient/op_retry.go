package esclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// serverTimeoutError is the server's reply to a write that timed out in the cluster. The write may still take place.
type serverTimeoutError struct{ result esproto.OperationResult }

func (e *serverTimeoutError) Error() string {
	return fmt.Sprintf("esclient: the server timed out: %v", e.result)
}

// Is makes the error match ErrOperationTimeout.
func (e *serverTimeoutError) Is(target error) bool {
	return target == ErrOperationTimeout || target == errEngineTimeout
}

// Pauses between attempts. A lost connection has its own pause.
const (
	retryPause    = 50 * time.Millisecond
	maxRetryPause = 650 * time.Millisecond // the mean: so the client notices within a second that a server is ready
)

// attempts are the attempts of one operation.
type attempts struct {
	c          *Client
	repetition repetition
	shrinks    shrinkable // the operation, if it can ask for a smaller reply
	paced      bool       // pauses before each repetition, after any failure
	creds      *esproto.Credentials
	conn       *engine.Conn // of the latest attempt; nil before the first
	failed     int          // attempts that count against Config.MaxRetries
	retries    int
	notReady   int          // how many times a node was not ready since the client looked for another one
	unknown    error        // why an earlier attempt may have taken place; nil if none has
	on         *engine.Conn // the connection that would recognise that attempt; nil for none
	late       error        // the engine's error of the last attempt that may still get a reply; nil for none
	pauses     pauses

	begun    engine.Pending // the first attempt, if it was made in advance
	observed *observedOp    // for the hooks; nil if there are none
}

// do performs an operation, and repeats it if that is safe and useful. Most operations need one attempt. do makes it
// itself, without the state that hooks and repetitions need.
func (c *Client) do(ctx context.Context, op engine.Operation, r repetition) error {
	conn := c.manager.Current()
	if conn == nil || c.closing.Load() || ctx.Err() != nil || c.hooks.seeOperations() {
		return c.doObserved(ctx, op, r)
	}
	creds, err := credentialsFrom(ctx)
	if err != nil {
		return err
	}
	sent, err := conn.Do(ctx, op, creds)
	if err == nil {
		return nil
	}
	return c.doAgain(ctx, op, r, conn, sent, err)
}

// doAgain goes on after the first attempt of do, on conn, has failed with err. It is a function of its own, so that do
// needs little stack.
func (c *Client) doAgain(
	ctx context.Context, op engine.Operation, r repetition, conn *engine.Conn, sent bool, err error,
) error {
	a := attempts{c: c, repetition: r, conn: conn}
	if err := a.again(ctx, op, sent, a.failedWith(err)); err != nil {
		return a.final(err)
	}
	return a.perform(ctx, op)
}

// doObserved is do with hooks and with a wait for the connection.
func (c *Client) doObserved(ctx context.Context, op engine.Operation, r repetition) error {
	a := attempts{c: c, repetition: r}
	ctx, op = a.observe(ctx, op)
	return a.tellEnd(ctx, a.perform(ctx, op))
}

// begin makes the first attempt without waiting for its reply, if there is a connection. The caller must then call
// perform, or Cancel of begun.
func (a *attempts) begin(ctx context.Context, op engine.Operation) {
	creds, err := credentialsFrom(ctx)
	conn := a.c.manager.Current()
	if err != nil || conn == nil || a.c.closing.Load() {
		return // perform returns the error
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

// attempt makes one attempt, or waits for the end of the one that has begun.
func (a *attempts) attempt(ctx context.Context, op engine.Operation) (sent bool, err error) {
	begun := a.begun
	a.begun = engine.Pending{}
	switch {
	case begun.Conn() != nil:
		sent, err = begun.Wait(ctx)
	case a.shrinks != nil:
		sent, err = a.conn.Do(ctx, op, a.creds) // a late reply would be larger than the new request wants
	default:
		sent, err = a.conn.Repeat(ctx, op, a.creds, a.late)
		return sent, a.failedWith(err)
	}
	return sent, fromEngine(err)
}

// failedWith notes the engine's error of an attempt, and returns the error for the caller.
func (a *attempts) failedWith(err error) error {
	if errors.Is(err, errEngineTimeout) {
		a.late = err
	}
	return fromEngine(err)
}

// again prepares another attempt after one that has failed with reason. It returns an error if there is none.
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

// connUnsent is conn for a call that has sent nothing: it also ends with the context of WhileUnsent.
func (c *Client) connUnsent(ctx context.Context) (*engine.Conn, error) {
	if conn := c.manager.Current(); conn != nil && !c.closing.Load() {
		return conn, nil
	}
	ctx, stop := whileUnsent(ctx)
	defer stop()
	return c.conn(ctx)
}
