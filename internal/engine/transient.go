package engine

import (
	"crypto/tls"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Transient reports whether err says that the peer answers and cannot serve yet, which will pass: so it is worth asking
// again soon. It holds for errors with a method Transient that returns true.
func Transient(err error) bool {
	var e interface{ Transient() bool }
	return errors.As(err, &e) && e.Transient()
}

// transientError is one that is Transient in view of what was before it.
type transientError struct{ error }

func (e *transientError) Unwrap() error { return e.error }

// Transient is true.
func (e *transientError) Transient() bool { return true }

// permanent reports errors that somebody must do something about, if there has never been a connection.
func permanent(err error) bool {
	var (
		auth   *NotAuthenticatedError
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &auth):
		return !auth.Transient()
	case errors.As(err, &cert), errors.As(err, &record):
		return true
	}
	return errors.Is(err, ErrNotEventStore)
}

// refusalGrace is for how long, after a first success, refused credentials are taken for a server that is starting: one
// on an empty database knows no users for some tenths of a second.
const refusalGrace = time.Second

// history is what a Manager has met so far, by which it judges what it meets. It belongs to run's goroutine.
type history struct {
	succeeded    bool      // there was a connection
	silent       int       // connections in a row on which nothing was said, before there was any
	recognisedAt time.Time // when it was last looked what else than an EventStore listens there
	refusedSince time.Time // when the credentials were refused first, in a row; zero if they are not
}

func (h *history) success() { *h = history{succeeded: true} }

// classify marks the error of an attempt as Transient if it will probably pass, in view of what was before: what answers
// in the place of a server that was there is most likely something that stands before it, or the same server beginning.
func (h *history) classify(err error) error {
	var auth *NotAuthenticatedError
	switch {
	case !h.succeeded:
	case errors.As(err, &auth) && !auth.Transient():
		if h.refusedSince.IsZero() {
			h.refusedSince = time.Now()
		}
		if time.Since(h.refusedSince) < refusalGrace {
			return &transientError{err}
		}
		return err
	case errors.Is(err, ErrNotEventStore):
		err = &transientError{err}
	}
	h.refusedSince = time.Time{}
	return err
}

// failsCalls reports whether err, which judge has seen, is one that calls are told of at once.
func (h *history) failsCalls(err error) bool {
	if h.succeeded {
		return errors.Is(err, ErrNotAuthenticated) && !Transient(err)
	}
	return permanent(err)
}

// answeringMax is the longest mean delay before a server that answers, but cannot serve yet, is asked again.
const answeringMax = 500 * time.Millisecond

// backoffs are the pauses between attempts. They grow only while nothing answers.
type backoffs struct {
	silent    *backoff.ExponentialBackOff
	answering *backoff.ExponentialBackOff
}

func newBackoffs(first, longest time.Duration) *backoffs {
	grow := func(longest time.Duration) *backoff.ExponentialBackOff {
		return backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(first),
			backoff.WithMaxInterval(longest),
			backoff.WithMaxElapsedTime(0),
		)
	}
	return &backoffs{silent: grow(longest), answering: grow(max(first, min(longest, answeringMax)))}
}

func (d *backoffs) reset() {
	d.silent.Reset()
	d.answering.Reset()
}

// next returns the pause that follows an error.
func (d *backoffs) next(err error) time.Duration {
	if Transient(err) {
		d.silent.Reset()
		return d.answering.NextBackOff()
	}
	d.answering.Reset()
	return d.silent.NextBackOff()
}
