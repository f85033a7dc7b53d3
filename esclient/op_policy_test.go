package esclient

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// notHandledFor is the reply NotHandled with a reason.
func notHandledFor(reason NotHandledReason) error { return &NotHandledError{Reason: reason} }

func TestEachFailureIsRecognised(t *testing.T) {
	lost := func(err error) error { return &ConnectionError{Endpoint: "a:1", Err: err} }
	errorsOf := map[failure][]error{
		failAnswered:      {errors.New("x"), ErrAccessDenied, &SubscriptionDroppedError{Reason: DropAccessDenied}},
		failServer:        {ErrServer, ErrInvalidTransaction},
		failClosed:        {ErrClosed, lost(ErrClosed)},
		failNotEventStore: {lost(ErrNotEventStore), &NotConnectedError{Err: context.Canceled, Last: ErrNotEventStore}},
		failNotLeader:     {notHandledFor(ReasonNotLeader)},
		failReadOnlyNode:  {notHandledFor(ReasonReadOnly)},
		failNotReady:      {notHandledFor(ReasonNotReady)},
		failTooBusy:       {notHandledFor(ReasonTooBusy)},
		failStarting:      {&NotAuthenticatedError{Text: "server is not yet ready"}},
		failRefused:       {&NotAuthenticatedError{Text: "no"}, lost(&NotAuthenticatedError{Text: "no"})},
		failServerTimeout: {
			&serverTimeoutError{result: esproto.OperationResult_PrepareTimeout},
			&serverTimeoutError{result: esproto.OperationResult_CommitTimeout},
		},
		failForwardTimeout: {&serverTimeoutError{result: esproto.OperationResult_ForwardTimeout}},
		failUnreadable:     {&UnexpectedReplyError{Request: "Ping"}},
		failTooLarge:       {&FrameTooLargeError{}, lost(&FrameTooLargeError{})},
		failCutOff:         {lost(&BadRequestError{Text: "Connection pending send bytes is too big: 10485761."})},
		failLost:           {lost(errors.New("reset")), &NotConnectedError{Err: context.Canceled}},
		failNoReply:        {ErrOperationTimeout},
		failDropped:        {&SubscriptionDroppedError{Reason: DropUnsubscribed}},
		failNoPlace:        {&SubscriptionDroppedError{Reason: DropMaxSubscribers}},
		failNoGroup: {
			&SubscriptionDroppedError{Reason: DropNotFound}, &SubscriptionDroppedError{Reason: DropGroupDeleted},
		},
	}
	for f := range policies {
		if failure(f) == failContext {
			continue // only a call knows its context
		}
		assert.NotEmpty(t, errorsOf[failure(f)], "failure %d", f)
		for _, err := range errorsOf[failure(f)] {
			assert.Equal(t, failure(f), failureOf(err), "%v", err)
			wrapped := &OperationError{Operation: "append", Err: fmt.Errorf("gave up: %w", err)}
			assert.Equal(t, failure(f), failureOf(wrapped), "%v", wrapped)
			assert.Equal(t, policies[f].safe, SafeToRetry(err), "%v", err)
			assert.False(t, SafeToRetry(&OutcomeUnknownError{Err: err}))
		}
	}
}

// TestPoliciesAgree holds the columns of the table against each other.
func TestPoliciesAgree(t *testing.T) {
	for f, p := range policies {
		if p.free {
			assert.Equal(t, callRepeatsLate, p.call, "failure %d: without a pause and a limit it would never end", f)
			assert.Equal(t, outcomeKnown, p.outcome, "failure %d: only a refusal is free", f)
		}
		if p.call == callAsksForLess {
			assert.Equal(t, replyTooLarge, p.reply, "failure %d", f)
		}
		if p.conn != connStays {
			assert.Equal(t, idsLost, p.ids, "failure %d: another node answers", f)
		}
		if p.safe {
			assert.NotEqual(t, callFails, p.call, "failure %d: what a caller may repeat, the client repeats", f)
		}
	}
}
