package engine

import (
	"crypto/tls"
	"errors"
	"time"
)

// Transient reports whether err will probably pass soon: the peer answers, but is not ready. It is true if an error in
// the chain of err has a method Transient that returns true.
func Transient(err error) bool {
	var e interface{ Transient() bool }
	return errors.As(err, &e) && e.Transient()
}

// TransientError makes an error transient. history wraps errors in it. Its text is that of its cause.
type TransientError struct{ Err error }

func (e *TransientError) Error() string { return e.Err.Error() }
func (e *TransientError) Unwrap() error { return e.Err }

// Transient returns true.
func (e *TransientError) Transient() bool { return true }

// permanent reports whether err, before the first connection, will not pass unless a person changes the configuration.
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

// refusalGrace is the time for which refused credentials count as transient once there has been a connection. A server
// that starts with an empty database has no users for some tenths of a second.
const refusalGrace = time.Second

// history summarizes the earlier attempts of a [Manager]. The meaning of an error depends on it. It belongs to the
// goroutine of Manager.run.
type history struct {
	succeeded    bool      // there was a connection
	silent       int       // silent connections in a row, before the first success
	recognisedAt time.Time // of the last call of ManagerConfig.Recognise
	refusedSince time.Time // of the first refusal of the credentials in a row; zero for none
}

// success notes a connection that is ready for use.
func (h *history) success() { *h = history{succeeded: true} }

// classify makes the error of an attempt transient if it will probably pass. If there has been a connection, a peer
// that is no EventStore is probably a proxy before a server that restarts. And a server that refuses the credentials is
// probably still starting, for the time of refusalGrace.
func (h *history) classify(err error) error {
	var auth *NotAuthenticatedError
	switch {
	case !h.succeeded:
	case errors.As(err, &auth) && !auth.Transient():
		if h.refusedSince.IsZero() {
			h.refusedSince = time.Now()
		}
		if time.Since(h.refusedSince) < refusalGrace {
			return &TransientError{err}
		}
		return err
	case errors.Is(err, ErrNotEventStore):
		err = &TransientError{err}
	}
	h.refusedSince = time.Time{}
	return err
}

// failsCalls reports whether err, which classify has returned, fails the calls that wait for a connection at once.
func (h *history) failsCalls(err error) bool {
	if h.succeeded {
		return errors.Is(err, ErrNotAuthenticated) && !Transient(err)
	}
	return permanent(err)
}
