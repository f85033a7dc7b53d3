package esclient

import (
	"context"
	"errors"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// streamOpener is a subscription that waits for the server's confirmation.
type streamOpener interface {
	engine.Request
	addressed
	opened() <-chan struct{} // closed when it is confirmed or has ended
	refused() error          // why it ended without a confirmation; nil if it was confirmed, whatever came then
	close(reason error)
}

// openStream subscribes until the server confirms, through lost connections and servers that are not ready. Like calls,
// it waits for each confirmation only for the operation timeout, and gives up after MaxRetries; a server that is not
// ready is asked again until ctx ends.
func (c *Client) openStream(ctx context.Context, start func(*engine.Conn) (streamOpener, error)) error {
	a := attempts{c: c, effect: readOnly}
	for {
		conn, err := c.conn(ctx)
		if err != nil {
			return err
		}
		a.conn = conn
		s, err := start(conn)
		if err == nil {
			if err = c.awaitOpen(ctx, s); err == nil {
				return nil
			}
		}
		if err = readOnlyNode(err); !a.reopens(ctx, conn, err) {
			return err
		}
		if a.counts(false, err) {
			a.failed++
		}
		if err := a.next(ctx, s, true, err); err != nil {
			return err
		}
	}
}

func (c *Client) awaitOpen(ctx context.Context, s streamOpener) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.OperationTimeout, ErrOperationTimeout)
	defer cancel()
	select {
	case <-s.opened():
		return s.refused()
	case <-ctx.Done():
		err := context.Cause(ctx)
		s.close(err)
		return err
	}
}

// reopens reports whether a subscription that ended with err is worth another attempt.
func (a *attempts) reopens(ctx context.Context, conn *engine.Conn, err error) bool {
	if droppedWithoutFault(err) {
		return true
	}
	again, _ := a.judge(ctx, conn, true, err)
	return again
}

// droppedWithoutFault reports whether the server ended the subscription for a reason that the subscriber need do
// nothing about.
func droppedWithoutFault(err error) bool {
	var e *SubscriptionDroppedError
	return errors.As(err, &e) && e.condition() == nil
}

// transient reports whether a subscription that lasted and then ended with err is to be replaced by another. Behind an
// event that was too large that is possible, and gaps are filled by a read, which settles whether it fits.
func transient(err error) bool {
	var (
		lost       *engine.ConnectionError
		notHandled *engine.NotHandledError
		large      *FrameTooLargeError
	)
	switch {
	case errors.Is(err, ErrClosed):
		return false
	case errors.As(err, &notHandled):
		return notHandled.Reason != esproto.NotHandled_IsReadOnly
	}
	return errors.As(err, &lost) || errors.As(err, &large) || droppedWithoutFault(err) ||
		errors.Is(err, ErrOperationTimeout)
}
