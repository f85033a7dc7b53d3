package esadmin

import (
	"errors"
	"net/http"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/httpapi"
)

// Conditions that requests end with, for errors.Is, besides those of package esclient.
var (
	// ErrNotFound means that the object of a request does not exist.
	ErrNotFound = errors.New("esadmin: not found")
	// ErrUserExists means that there is a user with that login.
	ErrUserExists = errors.New("esadmin: the user exists already")
	// ErrUserNotFound means that there is no user with that login.
	ErrUserNotFound = errors.New("esadmin: the user does not exist")
)

// HTTPError is the error of a request without an answer, or with an answer that is not a success. It matches
// [esclient.ErrAccessDenied] if the server refuses the credentials: servers do not tell whether these are wrong or the
// user lacks the right.
type HTTPError struct {
	Method string
	URL    string
	Status int    // such as http.StatusNotFound; 0 if there was no answer
	Body   string // the beginning of the answer
	Err    error  // the cause, or nil: the connection failed, or the answer could not be read
}

// Error names the request, the status, the beginning of the answer, and the cause.
func (e *HTTPError) Error() string { return (*httpapi.Error)(e).Error() }

// Is makes the error match [esclient.ErrAccessDenied] and [ErrNotFound], by its Status.
func (e *HTTPError) Is(target error) bool {
	return target == esclient.ErrAccessDenied && (*httpapi.Error)(e).Denied() ||
		target == ErrNotFound && e.Status == http.StatusNotFound
}

// Unwrap returns Err.
func (e *HTTPError) Unwrap() error { return e.Err }

// SafeToRetry reports whether the request had no effect and can be repeated unchanged. [esclient.SafeToRetry] calls it.
func (e *HTTPError) SafeToRetry() bool { return (*httpapi.Error)(e).SafeToRetry() }

// httpError makes an HTTPError from an error of package httpapi; nil for nil.
func httpError(err error) error {
	if e := (*httpapi.Error)(nil); errors.As(err, &e) {
		return (*HTTPError)(e)
	}
	return err
}
