package esclient_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

func TestErrorsHaveClasses(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"":                       nil,
		"error":                  errors.New("of an application"),
		"canceled":               context.Canceled,
		"timeout":                context.DeadlineExceeded,
		"stream_not_found":       esclient.ErrStreamNotFound,
		"wrong_expected_version": &esclient.WrongExpectedVersionError{Stream: "s"},
		"not_ready":              &esclient.NotHandledError{Reason: esclient.ReasonNotReady},
		"not_leader":             &esclient.NotHandledError{Reason: esclient.ReasonNotLeader},
		"too_large":              &esclient.FrameTooLargeError{},
		"connection":             &esclient.ConnectionError{Err: context.DeadlineExceeded},
		"not_connected":          &esclient.NotConnectedError{Err: &esclient.ConnectionError{}},
		// An unknown outcome matters more than its cause.
		"outcome_unknown": &esclient.OutcomeUnknownError{Err: &esclient.ConnectionError{Err: context.Canceled}},
	} {
		assert.Equal(t, want, esclient.ErrorClass(err), "%v", err)
		if err != nil {
			assert.Equal(t, want, esclient.ErrorClass(fmt.Errorf("wrapped: %w", err)))
		}
	}
}
