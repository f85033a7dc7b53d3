package esclient

import (
	"context"
	"errors"
)

// errorClasses are the classes of errors that wrap a condition. The first that matches counts: an error may match
// several, such as a lost connection whose cause is a timeout.
var errorClasses = []struct {
	is   error
	name string
}{
	{ErrOutcomeUnknown, "outcome_unknown"},
	{ErrClosed, "closed"},
	{ErrSubscriptionStopped, "stopped"},
	{context.Canceled, "canceled"},
	{ErrWrongExpectedVersion, "wrong_expected_version"},
	{ErrStreamNotFound, "stream_not_found"},
	{ErrEventNotFound, "event_not_found"},
	{ErrStreamDeleted, "stream_deleted"},
	{ErrGroupExists, "group_exists"},
	{ErrGroupNotFound, "group_not_found"},
	{ErrMaxSubscribers, "max_subscribers"},
	{ErrAccessDenied, "access_denied"},
	{ErrNotAuthenticated, "not_authenticated"},
	{ErrNotSupported, "not_supported"},
	{ErrTooLarge, "too_large"},
	{ErrSlowConsumer, "slow_consumer"},
	{ErrMessageTimeout, "message_timeout"},
	{ErrLogWentBack, "log_went_back"},
	{ErrHeartbeatTimeout, "heartbeat_timeout"},
	{ErrSubscriptionDropped, "dropped"},
	{ErrServer, "server"},
}

// ErrorClass returns the class of an error, for labels of metrics and attributes of traces. There are some thirty
// classes, in this order: outcome_unknown, closed, stopped, canceled, wrong_expected_version, stream_not_found,
// event_not_found, stream_deleted, group_exists, group_not_found, max_subscribers, access_denied, not_authenticated,
// not_supported, too_large, slow_consumer, message_timeout, log_went_back, heartbeat_timeout, dropped, server,
// not_ready, too_busy, not_leader, read_only, not_handled, not_connected, connection, timeout, error. If several apply,
// the class is the first of them. The class of other errors is error, and that of nil is empty.
func ErrorClass(err error) string {
	if err == nil {
		return ""
	}
	for _, c := range errorClasses {
		if errors.Is(err, c.is) {
			return c.name
		}
	}
	var notHandled *NotHandledError
	var tooLarge *FrameTooLargeError
	var lost *ConnectionError
	var notConnected *NotConnectedError
	switch {
	case errors.As(err, &notHandled):
		return notHandledClass(notHandled.Reason)
	case errors.As(err, &tooLarge):
		return "too_large"
	case errors.As(err, &notConnected):
		return "not_connected"
	case errors.As(err, &lost):
		return "connection"
	case Timeout(err):
		return "timeout"
	}
	return "error"
}

func notHandledClass(r NotHandledReason) string {
	switch r {
	case ReasonNotReady:
		return "not_ready"
	case ReasonTooBusy:
		return "too_busy"
	case ReasonNotLeader:
		return "not_leader"
	case ReasonReadOnly:
		return "read_only"
	}
	return "not_handled"
}
