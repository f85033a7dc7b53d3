package esclient

import (
	"context"
	"errors"
	"fmt"
)

// AppendStatus is the outcome of a conditional append.
type AppendStatus int

// The statuses. The zero status comes with an error.
const (
	AppendSucceeded       AppendStatus = 1 + iota // the events are written
	AppendVersionMismatch                         // the stream is at another version
	AppendStreamDeleted                           // the stream is deleted
)

// String returns the status in words.
func (s AppendStatus) String() string {
	switch s {
	case AppendSucceeded:
		return "succeeded"
	case AppendVersionMismatch:
		return "version mismatch"
	case AppendStreamDeleted:
		return "stream deleted"
	}
	return fmt.Sprintf("AppendStatus(%d)", int(s))
}

// ConditionalResult is the result of [Client.AppendConditional].
type ConditionalResult struct {
	Status AppendStatus
	// AppendResult is the result of the append if Status is AppendSucceeded.
	AppendResult
	// Current is the number of the stream's last event, -1 if it has none, if Status is AppendVersionMismatch.
	Current int64
}

// AppendConditional is [Client.Append] for callers that expect refusals. If the stream is at another version, or is
// deleted, the result has a status and there is no error. All other errors of Append remain errors.
func (c *Client) AppendConditional(
	ctx context.Context, stream string, expected ExpectedVersion, events ...EventData,
) (ConditionalResult, error) {
	res, err := c.Append(ctx, stream, expected, events...)
	wrong := (*WrongExpectedVersionError)(nil)
	switch {
	case err == nil:
		return ConditionalResult{Status: AppendSucceeded, AppendResult: res}, nil
	case errors.Is(err, ErrOutcomeUnknown):
		return ConditionalResult{}, err // the repetition was refused, so the outcome is unknown
	case errors.As(err, &wrong):
		return ConditionalResult{Status: AppendVersionMismatch, Current: wrong.Current}, nil
	case errors.Is(err, ErrStreamDeleted):
		return ConditionalResult{Status: AppendStreamDeleted}, nil
	}
	return ConditionalResult{}, err
}
