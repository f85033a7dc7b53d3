package esprom

import (
	"context"
	"errors"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// succeeded is the result of an operation without an error.
const succeeded = "ok"

// reasons are the values that errors have as labels. The first that matches counts: an error may match several, such as
// a lost connection whose cause is a timeout.
var reasons = []struct {
	is   error
	name string
}{
	{esclient.ErrOutcomeUnknown, "outcome_unknown"},
	{esclient.ErrClosed, "closed"},
	{esclient.ErrSubscriptionStopped, "stopped"},
	{context.Canceled, "canceled"},
	{esclient.ErrWrongExpectedVersion, "wrong_expected_version"},
	{esclient.ErrStreamNotFound, "stream_not_found"},
	{esclient.ErrEventNotFound, "event_not_found"},
	{esclient.ErrStreamDeleted, "stream_deleted"},
	{esclient.ErrGroupExists, "group_exists"},
	{esclient.ErrGroupNotFound, "group_not_found"},
	{esclient.ErrMaxSubscribers, "max_subscribers"},
	{esclient.ErrAccessDenied, "access_denied"},
	{esclient.ErrNotAuthenticated, "not_authenticated"},
	{esclient.ErrNotSupported, "not_supported"},
	{esclient.ErrTooLarge, "too_large"},
	{esclient.ErrSlowConsumer, "slow_consumer"},
	{esclient.ErrMessageTimeout, "message_timeout"},
	{esclient.ErrLogWentBack, "log_went_back"},
	{esclient.ErrHeartbeatTimeout, "heartbeat_timeout"},
	{esclient.ErrSubscriptionDropped, "dropped"},
	{esclient.ErrServer, "server"},
}

// reasonOf returns the class of an error, for a label.
func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.is) {
			return r.name
		}
	}
	var notHandled *esclient.NotHandledError
	var tooLarge *esclient.FrameTooLargeError
	var lost *esclient.ConnectionError
	var notConnected *esclient.NotConnectedError
	switch {
	case errors.As(err, &notHandled):
		return notHandledAs(notHandled.Reason)
	case errors.As(err, &tooLarge):
		return "too_large"
	case errors.As(err, &notConnected):
		return "not_connected"
	case errors.As(err, &lost):
		return "connection"
	case esclient.Timeout(err):
		return "timeout"
	}
	return "error"
}

func notHandledAs(r esclient.NotHandledReason) string {
	switch r {
	case esclient.ReasonNotReady:
		return "not_ready"
	case esclient.ReasonTooBusy:
		return "too_busy"
	case esclient.ReasonNotLeader:
		return "not_leader"
	case esclient.ReasonReadOnly:
		return "read_only"
	}
	return "not_handled"
}

// resultOf returns how an operation has ended, for a label.
func resultOf(err error) string {
	if err == nil {
		return succeeded
	}
	return reasonOf(err)
}
