package esclient

import (
	"context"
	"errors"
	"slices"

	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// unconfirmed is a subscription that waits for the server's confirmation. It sends a token on a channel if its outcome
// may have changed.
type unconfirmed interface {
	engine.Request
	addressed
	// outcome returns whether the subscription is settled. Then err is nil if the server has confirmed it, even if it
	// has ended since. Otherwise err is the reason of its end.
	outcome() (settled bool, err error)
	// giveUp ends the subscription, unless it is confirmed. It returns whether it is confirmed.
	giveUp(reason error) (confirmed bool)
	close(reason error)
}

// openings are the attempts of openSubscription that the server may still confirm. If the server takes longer than the
// operation timeout, the client tries again, and the server may confirm both. The first confirmed one counts.
type openings[S unconfirmed] struct {
	told  chan struct{} // has a token when an outcome may have changed
	asked []S           // the oldest first
}

// openSubscription tries to subscribe until the server confirms. It tries again if a connection is lost or a server is
// not ready. Each attempt has the operation timeout, like a call. openSubscription fails after MaxRetries. Attempts
// that end because the server is not ready do not count; only ctx limits them.
func openSubscription[S unconfirmed](
	ctx context.Context, c *Client, start func(conn *engine.Conn, told chan struct{}) (S, error),
) (S, error) {
	o := openings[S]{told: make(chan struct{}, 1)}
	a := attempts{c: c, repetition: reading, paced: true}
	for {
		conn, err := c.conn(ctx)
		if err != nil {
			return o.end(err)
		}
		if s, ok := o.confirmed(); ok {
			return o.take(s), nil
		}
		a.conn = conn
		s, err := start(conn, o.told)
		if err = fromEngine(err); err == nil {
			o.asked = append(o.asked, s)
			var confirmed S
			if confirmed, err = o.await(ctx, conn); err == nil {
				return o.take(confirmed), nil
			}
		}
		if err := a.again(ctx, s, true, err); err != nil {
			return o.end(explained(err))
		}
	}
}

// await waits until one of them is confirmed. The error is that of the latest one, on conn.
func (o *openings[S]) await(ctx context.Context, conn *engine.Conn) (s S, err error) {
	over, stop := conn.Overdue()
	defer stop()
	last := o.asked[len(o.asked)-1]
	for {
		if s, ok := o.confirmed(); ok {
			return s, nil
		}
		if _, err := last.outcome(); err != nil {
			return s, err
		}
		select {
		case <-o.told:
		case <-over:
			return s, ErrOperationTimeout
		case <-ctx.Done():
			return s, context.Cause(ctx)
		}
	}
}

// confirmed returns the oldest confirmed one, and removes those that were refused.
func (o *openings[S]) confirmed() (s S, ok bool) {
	o.asked = slices.DeleteFunc(o.asked, func(s S) bool {
		_, err := s.outcome()
		return err != nil
	})
	for _, s := range o.asked {
		if settled, err := s.outcome(); settled && err == nil { // the server may have refused it meanwhile
			return s, true
		}
	}
	return s, false
}

// take ends all others.
func (o *openings[S]) take(taken S) S {
	for _, s := range o.asked {
		if unconfirmed(s) != unconfirmed(taken) && s.giveUp(errAnotherConfirmed) {
			s.close(errAnotherConfirmed)
		}
	}
	return taken
}

var errAnotherConfirmed = errors.New("esclient: another attempt to subscribe was confirmed")

// end gives up all of them for reason, unless one was confirmed at the last moment.
func (o *openings[S]) end(reason error) (s S, err error) {
	for i, s := range o.asked {
		if s.giveUp(reason) {
			o.asked = o.asked[i:]
			return o.take(s), nil
		}
	}
	return s, reason
}
