package esclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Conditions for errors.Is. The returned errors say more: the operation, the stream and the cause.
var (
	// ErrClosed is the error of all calls on a closed [Client], pending ones too.
	ErrClosed = errors.New("esclient: the client is closed")
	// ErrOperationTimeout means that the server did not reply within [Config.OperationTimeout], to the last attempt
	// either.
	ErrOperationTimeout = errors.New("esclient: no reply within the operation timeout")
	// ErrHeartbeatTimeout means that the client gave a connection up because the server was silent.
	ErrHeartbeatTimeout = errors.New("esclient: the server did not answer a heartbeat")
	// ErrNotEventStore means that the peer does not speak the TCP protocol of EventStore: it is another port or
	// another server.
	ErrNotEventStore = errors.New("esclient: the peer does not speak the EventStore TCP protocol")
	// ErrNotAuthenticated means that the server refused the credentials. The error is a [*NotAuthenticatedError].
	ErrNotAuthenticated = errors.New("esclient: the server did not accept the credentials")

	// ErrInvalidConfig means that a setting is invalid. The error is a [*ConfigError].
	ErrInvalidConfig = errors.New("esclient: invalid configuration")
	// ErrInvalidArgument means that an argument is invalid. Nothing was sent. The error is an [*ArgumentError].
	ErrInvalidArgument = errors.New("esclient: invalid argument")
	// ErrTooLarge means that an event or a batch is over the server's size limits. The error is an [*ArgumentError],
	// too.
	ErrTooLarge = errors.New("esclient: too large")

	// ErrOutcomeUnknown means that a write may or may not have taken place. The error is an [*OutcomeUnknownError].
	ErrOutcomeUnknown = errors.New("esclient: the outcome of the write is unknown")
	// ErrWrongExpectedVersion means that the stream does not have the expected version. Nothing was written. The error
	// is a [*WrongExpectedVersionError].
	ErrWrongExpectedVersion = errors.New("esclient: wrong expected version")
	// ErrStreamNotFound means that the stream has no events: it never had any, or it was soft-deleted.
	ErrStreamNotFound = errors.New("esclient: the stream does not exist")
	// ErrEventNotFound means that the stream has no event with that number, or has it no longer.
	ErrEventNotFound = errors.New("esclient: the event does not exist")
	// ErrStreamDeleted means that the stream was hard-deleted. Its name can never be used again.
	ErrStreamDeleted = errors.New("esclient: the stream is deleted")
	// ErrAccessDenied means that the user does not have the right.
	ErrAccessDenied = errors.New("esclient: access denied")
	// ErrNotSupported means that the server, or this node of the cluster, does not support the operation.
	ErrNotSupported = errors.New("esclient: not supported by the server")
	// ErrTransactionEnded means that a [Transaction] was committed before, or cannot be committed because the outcome
	// of one of its writes is unknown. Nothing was sent.
	ErrTransactionEnded = errors.New("esclient: the transaction has ended")
	// ErrTransactionIncomplete means that a server has committed fewer events of a [Transaction] than it had confirmed.
	ErrTransactionIncomplete = errors.New("esclient: the server has lost a part of the transaction")
	// ErrServer means that the server reports a failure without a kind. The error has the server's text.
	ErrServer = errors.New("esclient: the server reports an error")
	// ErrInvalidTransaction means that the server cannot write the events of an append or a [Transaction] together.
	// From 20.x on they must fit into one chunk of its log, 256 MiB. It matches [ErrServer], too.
	ErrInvalidTransaction = fmt.Errorf("%w: invalid transaction", ErrServer)

	// ErrGroupExists means that the stream has a persistent subscription group with that name.
	ErrGroupExists = errors.New("esclient: the persistent subscription group exists already")
	// ErrGroupNotFound means that the stream has no persistent subscription group with that name.
	ErrGroupNotFound = errors.New("esclient: the persistent subscription group does not exist")
	// ErrMaxSubscribers means that the group has as many subscribers as its settings allow.
	ErrMaxSubscribers = errors.New("esclient: the persistent subscription group has no place for another subscriber")
	// ErrSubscriptionDropped means that the server has ended a subscription, or refused it. The error is a
	// [*SubscriptionDroppedError].
	ErrSubscriptionDropped = errors.New("esclient: the server dropped the subscription")
	// ErrSubscriptionStopped is the error of Next and Ack after Stop or Drain.
	ErrSubscriptionStopped = errors.New("esclient: the subscription is stopped")
	// ErrSlowConsumer means that the buffer of a subscription is full. It ends a volatile subscription without
	// [VolatileOptions.FillGaps].
	ErrSlowConsumer = errors.New("esclient: the consumer is too slow: the subscription's buffer is full")
	// ErrMessageTimeout means that a persistent subscription gives an event back to the server: it has waited for the
	// consumer until the group's message timeout, or nearly so.
	ErrMessageTimeout = errors.New("esclient: the event has waited for the consumer until the group's message timeout")
)

// OperationError names the operation that failed, and its stream. It wraps the cause: a condition such as
// [ErrAccessDenied], another error of this package, or the error of the context.
type OperationError struct {
	Operation string // such as "append" or "read stream"
	Stream    string // empty for operations without a stream
	Group     string // the persistent subscription group; empty for operations without one
	Err       error
}

// Error names the operation, its stream and group, and the cause.
func (e *OperationError) Error() string {
	s := "esclient: " + e.Operation
	if e.Stream != "" {
		s += fmt.Sprintf(" %q", e.Stream)
	}
	if e.Group != "" {
		s += fmt.Sprintf(" group %q", e.Group)
	}
	return s + ": " + trimPrefix(e.Err)
}

// Unwrap returns Err.
func (e *OperationError) Unwrap() error { return e.Err }

// serverError is a result without a kind of its own, with the server's text.
func serverError(result fmt.Stringer, text string) error {
	if text == "" {
		return fmt.Errorf("%w: %v", ErrServer, result)
	}
	return fmt.Errorf("%w: %v: %s", ErrServer, result, text)
}

// Timeout reports whether err is a timeout: the operation timeout, the heartbeat timeout or the deadline of a context.
func Timeout(err error) bool {
	return errors.Is(err, ErrOperationTimeout) || errors.Is(err, ErrHeartbeatTimeout) ||
		errors.Is(err, context.DeadlineExceeded)
}

// trimPrefix removes the package name from an error that another error of this package wraps.
func trimPrefix(err error) string {
	s := err.Error()
	for _, prefix := range [...]string{"esclient: ", "esadmin: "} {
		if rest, ok := strings.CutPrefix(s, prefix); ok && rest != "" {
			return rest
		}
	}
	return s
}
