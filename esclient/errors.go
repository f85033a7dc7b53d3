package esclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Conditions that calls end with, for errors.Is. The errors that are returned say more: what was asked, of which
// stream, and why.
var (
	// ErrClosed ends every call on a closed Client, pending ones too.
	ErrClosed = errors.New("esclient: the client is closed")
	// ErrOperationTimeout means that the server did not reply within Config.OperationTimeout, retries included.
	ErrOperationTimeout = errors.New("esclient: no reply within the operation timeout")
	// ErrHeartbeatTimeout is why a connection was given up: the server fell silent.
	ErrHeartbeatTimeout = errors.New("esclient: the server did not answer a heartbeat")
	// ErrNotEventStore means that the peer's first bytes are not those of an EventStore TCP endpoint.
	ErrNotEventStore = errors.New("esclient: the peer does not speak the EventStore TCP protocol")
	// ErrNotAuthenticated means that the server refused the credentials.
	ErrNotAuthenticated = errors.New("esclient: the server did not accept the credentials")

	// ErrInvalidConfig is a setting that cannot be used. The error is a *ConfigError.
	ErrInvalidConfig = errors.New("esclient: invalid configuration")
	// ErrInvalidArgument is an argument that was refused before anything was sent. The error is an *ArgumentError.
	ErrInvalidArgument = errors.New("esclient: invalid argument")
	// ErrTooLarge is an event or a batch over the server's size limits. The error is an *ArgumentError too.
	ErrTooLarge = errors.New("esclient: too large")

	// ErrOutcomeUnknown means that a write may or may not have happened. The error is an *OutcomeUnknownError.
	ErrOutcomeUnknown = errors.New("esclient: the outcome of the write is unknown")
	// ErrWrongExpectedVersion means that the stream is not at the expected version; nothing was written. The error is
	// a *WrongExpectedVersionError.
	ErrWrongExpectedVersion = errors.New("esclient: wrong expected version")
	// ErrStreamNotFound means that the stream has no events: it never had any, or it was soft-deleted.
	ErrStreamNotFound = errors.New("esclient: the stream does not exist")
	// ErrEventNotFound means that the stream has no event of that number, or has it no more.
	ErrEventNotFound = errors.New("esclient: the event does not exist")
	// ErrStreamDeleted means that the stream was hard-deleted; its name can never be used again.
	ErrStreamDeleted = errors.New("esclient: the stream is deleted")
	// ErrAccessDenied means that the user lacks the right.
	ErrAccessDenied = errors.New("esclient: access denied")
	// ErrNotSupported means that the server, or this node of the cluster, cannot do what was asked.
	ErrNotSupported = errors.New("esclient: not supported by the server")
	// ErrTransactionEnded means that nothing more can be done with a Transaction: it is committed, or it cannot be,
	// since nobody knows whether all that was written is in it. Nothing was sent.
	ErrTransactionEnded = errors.New("esclient: the transaction has ended")
	// ErrTransactionIncomplete means that a server has committed fewer events than it had confirmed.
	ErrTransactionIncomplete = errors.New("esclient: the server has lost a part of the transaction")
	// ErrServer is a failure that the server reports without a kind; its text is in the error.
	ErrServer = errors.New("esclient: the server reports an error")
	// ErrInvalidTransaction is an ErrServer: the server cannot write what belongs together, from 20.x on where that is
	// more than a chunk of its log, 256 MiB.
	ErrInvalidTransaction = fmt.Errorf("%w: invalid transaction", ErrServer)

	// ErrGroupExists means that a persistent subscription group of that name exists on the stream.
	ErrGroupExists = errors.New("esclient: the persistent subscription group exists already")
	// ErrGroupNotFound means that the stream has no persistent subscription group of that name.
	ErrGroupNotFound = errors.New("esclient: the persistent subscription group does not exist")
	// ErrMaxSubscribers means that the group has as many subscribers as its settings allow.
	ErrMaxSubscribers = errors.New("esclient: the persistent subscription group has no place for another subscriber")
	// ErrSubscriptionDropped means that the server has ended a subscription. The error is a *SubscriptionDroppedError.
	ErrSubscriptionDropped = errors.New("esclient: the server dropped the subscription")
	// ErrSubscriptionStopped ends Next and Ack after Stop or Drain.
	ErrSubscriptionStopped = errors.New("esclient: the subscription is stopped")
	// ErrSlowConsumer ends a volatile subscription without gap filling whose buffer has overflowed.
	ErrSlowConsumer = errors.New("esclient: the consumer is too slow: the subscription's buffer is full")
	// ErrMessageTimeout is why a persistent subscription gives events back to the server that were pushed: they have
	// waited for the consumer, and the group's message timeout is over or will soon be.
	ErrMessageTimeout = errors.New("esclient: the event has waited for the consumer until the group's message timeout")
)

// OperationError says which operation failed on which stream. It wraps one of the conditions above or the error of the
// context.
type OperationError struct {
	Operation string // such as "append" or "read stream"
	Stream    string // empty where there is none
	Group     string // of a persistent subscription
	Err       error
}

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

func (e *OperationError) Unwrap() error { return e.Err }

// serverError is a result without a kind of its own, with the server's text.
func serverError(result fmt.Stringer, text string) error {
	if text == "" {
		return fmt.Errorf("%w: %v", ErrServer, result)
	}
	return fmt.Errorf("%w: %v: %s", ErrServer, result, text)
}

// Timeout reports whether err means that time ran out: the operation timeout, a heartbeat or a deadline of the context.
func Timeout(err error) bool {
	return errors.Is(err, ErrOperationTimeout) || errors.Is(err, ErrHeartbeatTimeout) ||
		errors.Is(err, context.DeadlineExceeded)
}

// trimPrefix avoids saying a package's name twice in one line.
func trimPrefix(err error) string {
	s := err.Error()
	for _, prefix := range [...]string{"esclient: ", "esadmin: "} {
		if rest, ok := strings.CutPrefix(s, prefix); ok && rest != "" {
			return rest
		}
	}
	return s
}
