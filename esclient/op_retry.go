package esclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// effect says what may be done when it is not known whether an operation took place.
type effect int

const (
	readOnly       effect = iota // it changes nothing that anybody sees: repeat it
	repeatable                   // the server recognises the repetition, whenever and wherever it comes
	harmless                     // a repetition does no harm, but if it is refused the first may have been done
	repeatOnLeader               // the server recognises the repetition while the same process leads
	once                         // a repetition would do it twice
)

// writeEffect is that of a write to a stream whose events have ids.
func writeEffect(stream string, expected ExpectedVersion, requireLeader bool) effect {
	switch {
	case expected > NoStream:
		return repeatable
	case expected == NoStream && strings.HasPrefix(stream, metadataPrefix):
		return repeatable // no metadata stream is ever soft-deleted
	case expected == NoStream:
		return harmless // a stream that was soft-deleted goes on with other numbers; see append_recreated.go
	case !requireLeader:
		return once // another node may forward it, today to one leader and tomorrow to the next
	}
	return repeatOnLeader
}

// serverTimeoutError is a write that the server gave up waiting for. It may still take place.
type serverTimeoutError struct{ result esproto.OperationResult }

func (e *serverTimeoutError) Error() string {
	return fmt.Sprintf("esclient: the server timed out: %v", e.result)
}

// Is makes the error match ErrOperationTimeout.
func (e *serverTimeoutError) Is(target error) bool { return target == ErrOperationTimeout }

// Delays between attempts, where a lost connection does not impose its own.
const (
	retryDelay    = 50 * time.Millisecond
	maxRetryDelay = 650 * time.Millisecond // varies by half: a server that gets ready is noticed within a second
)

// attempts is the course of one operation through its attempts.
type attempts struct {
	c        *Client
	effect   effect
	page     *pageRequest // what is read, if it is a page
	creds    *Credentials
	conn     *engine.Conn // of the latest attempt; nil before the first
	failed   int          // attempts that count against MaxRetries
	retries  int
	notReady int // how often a node was not ready, since another was looked for
	delays   *backoff.ExponentialBackOff
	unknown  error        // why an earlier attempt may have taken place; nil if none may have
	on       *engine.Conn // the connection on which that attempt would be recognised; nil for none
	late     error        // how the last attempt ended whose reply may still come; nil for none

	begun    engine.Pending // the first attempt, if it was made ahead of time
	observed *observedOp    // what the hooks are told; nil if there are none
}

// do performs an operation, again and again where that is safe and helps.
func (c *Client) do(ctx context.Context, op engine.Operation, effect effect) error {
	a := attempts{c: c, effect: effect}
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
		again, delay := a.judge(ctx, conn, sent, err)
		if !again {
			return a.final(err)
		}
		if a.counts(sent, err) {
			a.failed++
		}
		if err := a.next(ctx, op, delay, err); err != nil {
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

// counts reports whether a failed attempt counts against MaxRetries. It shrinks the page that was too large.
func (a *attempts) counts(sent bool, err error) bool {
	if notServed(err) && a.c.cfg.MaxRetries >= 0 {
		return false
	}
	return !sent || !a.shrinkPage(err)
}

// notServed reports whether a server cannot serve yet, or not now, and has done nothing: it starts, elects, or is busy.
func notServed(err error) bool {
	if e := (*engine.NotHandledError)(nil); errors.As(err, &e) {
		return e.Reason == esproto.NotHandled_NotReady || e.Reason == esproto.NotHandled_TooBusy
	}
	auth := (*engine.NotAuthenticatedError)(nil)
	return errors.As(err, &auth) && auth.Transient()
}

// attempt makes one attempt, or waits for the end of that which has begun.
func (a *attempts) attempt(ctx context.Context, op engine.Operation) (sent bool, err error) {
	begun := a.begun
	if a.begun = (engine.Pending{}); begun.Conn() != nil {
		return begun.Wait(ctx)
	}
	if a.page != nil {
		return a.conn.Do(ctx, op, a.creds) // a page that was given up may be larger than what is asked for now
	}
	sent, err = a.conn.Repeat(ctx, op, a.creds, a.late)
	if errors.Is(err, ErrOperationTimeout) {
		a.late = err
	}
	return sent, err
}

// next prepares for another attempt after one that failed with reason. Its error says why there is none.
func (a *attempts) next(ctx context.Context, r engine.Request, delay bool, reason error) error {
	if a.failed > max(a.c.cfg.MaxRetries, 0) {
		return fmt.Errorf("gave up after %d attempts: %w", a.failed, reason)
	}
	var d time.Duration
	if delay {
		d = a.nextDelay()
	}
	a.retries++
	a.tellRetry(ctx, r, d, reason)
	if !delay {
		return nil
	}
	if a.unknown == nil {
		var stop func()
		ctx, stop = whileUnsent(ctx)
		defer stop()
	}
	err := pause(ctx, d)
	if err != nil && notServed(reason) {
		return fmt.Errorf("%w (last error: %w)", err, reason)
	}
	return err
}

// endpoint returns the node that was asked last.
func (a *attempts) endpoint() string {
	if a.conn == nil {
		return ""
	}
	return a.conn.Endpoint()
}

// conn waits for the connection.
func (c *Client) conn(ctx context.Context) (*engine.Conn, error) {
	if c.closing.Load() {
		return nil, ErrClosed
	}
	return c.manager.Conn(ctx)
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

// judge decides whether a failed attempt is followed by another, and whether after a pause.
func (a *attempts) judge(ctx context.Context, conn *engine.Conn, sent bool, err error) (again, delay bool) {
	var (
		lost       *engine.ConnectionError
		notHandled *engine.NotHandledError
		auth       *engine.NotAuthenticatedError
		timeout    *serverTimeoutError
		unreadable *engine.UnexpectedReplyError
		large      *FrameTooLargeError
	)
	switch {
	case errors.As(err, &notHandled):
		again, delay = a.judgeNotHandled(conn, notHandled)
		return again && a.mayRepeat(conn), delay
	case errors.As(err, &auth):
		return auth.Transient(), true
	case errors.As(err, &timeout):
		a.uncertain(conn, err)
		if timeout.result == esproto.OperationResult_ForwardTimeout {
			a.on = nil // a node that forwarded the write does not know what became of it, nor who gets the next one
		}
		return a.mayRepeat(conn), true
	case errors.As(err, &unreadable):
		a.uncertain(conn, err)
		return false, false
	case errors.As(err, &large):
		a.uncertain(conn, err)
		return a.page != nil && a.page.count() > 1, false // of which shrinkPage asks for less
	case errors.As(err, &lost), errors.Is(err, ErrOperationTimeout):
		if sent {
			a.uncertain(conn, err)
			if a.c.clustered() {
				a.on = nil // another node may have led meanwhile
			}
		}
		return !errors.Is(err, ErrClosed) && a.mayRepeat(conn), false
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		if sent {
			a.uncertain(conn, err)
		}
		return false, false
	}
	return false, false // the server's answer
}

func (a *attempts) judgeNotHandled(conn *engine.Conn, e *engine.NotHandledError) (again, delay bool) {
	switch e.Reason {
	case esproto.NotHandled_NotLeader:
		a.on = nil // who does not lead has forgotten the ids, also if it leads again
		a.c.redirected.Store(true)
		a.c.manager.Redirect(conn, e)
		return true, false
	case esproto.NotHandled_IsReadOnly:
		return false, false
	case esproto.NotHandled_NotReady:
		a.on = nil
		a.leaveIfNotReady(conn, e)
	}
	return true, true
}

// notReadyLimit is how often an operation is told that the node is not ready until another is looked for: it may have
// lost its cluster, which goes on without it.
const notReadyLimit = 3

func (a *attempts) leaveIfNotReady(conn *engine.Conn, e *engine.NotHandledError) {
	if a.notReady++; a.notReady >= notReadyLimit && a.c.cfg.discovers() {
		a.notReady = 0
		a.c.manager.Redirect(conn, e)
	}
}

func (a *attempts) uncertain(conn *engine.Conn, err error) {
	if a.effect != readOnly {
		a.unknown, a.on = err, conn
	}
}

// mayRepeat reports whether another attempt may be made on conn, in view of those before.
func (a *attempts) mayRepeat(conn *engine.Conn) bool {
	if a.unknown == nil {
		return true
	}
	switch a.effect {
	case repeatOnLeader:
		return conn == a.on && conn.Err() == nil
	case once:
		return false
	}
	return true
}

// clustered reports whether there are other nodes, as far as the client knows, any of which may become the leader.
func (c *Client) clustered() bool { return c.cfg.discovers() || c.redirected.Load() }

// final is the error that the caller gets. A server's answer to a repetition settles the matter only if the server
// compared it with the stream.
func (a *attempts) final(err error) error {
	var wrong *WrongExpectedVersionError
	if a.unknown == nil || a.effect == repeatable && errors.As(err, &wrong) {
		return readOnlyNode(err)
	}
	if err != a.unknown { //nolint:errorlint // that very error, not one of its kind
		err = fmt.Errorf("%w; before that: %w", err, a.unknown)
	}
	return &OutcomeUnknownError{Err: err}
}

func readOnlyNode(err error) error {
	var e *engine.NotHandledError
	if errors.As(err, &e) && e.Reason == esproto.NotHandled_IsReadOnly {
		return fmt.Errorf("%w: the node is a read-only replica", ErrNotSupported)
	}
	return err
}

func (a *attempts) nextDelay() time.Duration {
	if a.delays == nil {
		a.delays = backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(retryDelay),
			backoff.WithMaxInterval(maxRetryDelay),
			backoff.WithMaxElapsedTime(0),
		)
	}
	return a.delays.NextBackOff()
}
