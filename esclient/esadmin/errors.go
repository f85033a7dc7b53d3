package esadmin

import (
	"errors"
	"net/http"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/httpapi"
)

// Conditions that requests end with, for errors.Is, besides those of package esclient.
var (
	// ErrNotFound means that what was to be described or changed does not exist.
	ErrNotFound = errors.New("esadmin: not found")
	// ErrUserExists means that there is a user of that login.
	ErrUserExists = errors.New("esadmin: the user exists already")
	// ErrUserNotFound means that there is no user of that login.
	ErrUserNotFound = errors.New("esadmin: the user does not exist")
)

// HTTPError is a request that was not answered, or not by a success. It is [esclient.ErrAccessDenied] where the
// credentials are not good enough: servers do not tell whether they are wrong or the user lacks the right.
type HTTPError struct {
	Method string
	URL    string
	Status int    // such as http.StatusNotFound; 0 if there was no answer
	Body   string // the beginning of the answer
	Err    error  // the cause, if there is one: the connection failed, or the answer could not be read
}

func (e *HTTPError) Error() string { return (*httpapi.Error)(e).Error() }

// Is makes the error match [esclient.ErrAccessDenied] and [ErrNotFound], by its Status.
func (e *HTTPError) Is(target error) bool {
	return target == esclient.ErrAccessDenied && (*httpapi.Error)(e).Denied() ||
		target == ErrNotFound && e.Status == http.StatusNotFound
}

func (e *HTTPError) Unwrap() error { return e.Err }

// SafeToRetry reports whether the request had no effect, so that it can be repeated as it was: [esclient.SafeToRetry]
// asks it.
func (e *HTTPError) SafeToRetry() bool { return (*httpapi.Error)(e).SafeToRetry() }

// httpError makes an HTTPError of what the exchange ended with; nil for nil.
func httpError(err error) error {
	if e := (*httpapi.Error)(nil); errors.As(err, &e) {
		return (*HTTPError)(e)
	}
	return err
}
