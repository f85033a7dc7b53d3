package esclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// Conditions that calls end with, for errors.Is. The errors that are returned say more: what was asked, of which
// stream, and why.
var (
	// ErrClosed ends every call on a closed Client, pending ones too.
	ErrClosed = engine.ErrClosed
	// ErrOperationTimeout means that the server did not reply within Config.OperationTimeout, retries included.
	ErrOperationTimeout = engine.ErrOperationTimeout
	// ErrHeartbeatTimeout is why a connection was given up: the server fell silent.
	ErrHeartbeatTimeout = engine.ErrHeartbeatTimeout
	// ErrNotEventStore means that the peer's first bytes are not those of an EventStore TCP endpoint.
	ErrNotEventStore = engine.ErrNotEventStore
	// ErrNotAuthenticated means that the server refused the credentials.
	ErrNotAuthenticated = engine.ErrNotAuthenticated

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

// BadRequestError is the server's word that it could not make sense of a request.
type BadRequestError = engine.BadRequestError

// NotHandledError is the server's word that it did not process a request: it is not ready, too busy, or not the leader.
// Calls end with it when their context ends while they wait for the server to get ready, together with the context's
// error, or when MaxRetries nodes were not the leader. SafeToRetry is true for it.
type NotHandledError = engine.NotHandledError

// UnexpectedReplyError is a reply that does not answer what was asked, or that cannot be read.
type UnexpectedReplyError = engine.UnexpectedReplyError

// ConnectionError reports a connection that could not be made or was lost, with the endpoint and the cause.
type ConnectionError = engine.ConnectionError

// NotConnectedError is the end of a context while the client had no connection. It wraps the context's error and the
// last connection error, so that a deadline that passed says why.
type NotConnectedError = engine.NotConnectedError

// FrameTooLargeError is a reply, or a pushed event, that is larger than Config.MaxFrameSize and was skipped. The
// connection is not harmed, and SafeToRetry is false for it: raise the limit, or ask for less at a time.
type FrameTooLargeError = esproto.FrameTooLargeError

// ConfigError names a setting that cannot be used. It is ErrInvalidConfig.
type ConfigError struct {
	Setting string // the field of Config, or the setting of the connection string
	Value   string // what it was set to, without secrets; may be empty
	Reason  string
	Err     error // the cause, if there is one
}

func (e *ConfigError) Error() string {
	s := fmt.Sprintf("%v: %s", ErrInvalidConfig, e.Setting)
	if e.Value != "" {
		s += fmt.Sprintf(" %q", e.Value)
	}
	s += ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is makes the error match ErrInvalidConfig.
func (e *ConfigError) Is(target error) bool { return target == ErrInvalidConfig }

func (e *ConfigError) Unwrap() error { return e.Err }

// ArgumentError names an argument that was refused before anything was sent. It is ErrInvalidArgument, and ErrTooLarge
// where that is the reason.
type ArgumentError struct {
	Argument string // as it is called in the documentation of the method
	Reason   string
	Err      error // ErrTooLarge, or nil
}

func (e *ArgumentError) Error() string {
	return fmt.Sprintf("%v: %s: %s", ErrInvalidArgument, e.Argument, e.Reason)
}

// Is makes the error match ErrInvalidArgument.
func (e *ArgumentError) Is(target error) bool { return target == ErrInvalidArgument }

func (e *ArgumentError) Unwrap() error { return e.Err }

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

// WrongExpectedVersionError is a stream that was not at the expected version. Nothing was written. It is
// ErrWrongExpectedVersion.
type WrongExpectedVersionError struct {
	Stream   string
	Expected ExpectedVersion
	// Current is the number of the stream's last event, -1 if it has none; UnknownVersion where the server does not
	// tell, as with deletes up to 20.10 and with transactions. With Expected Any it means that a batch began with an
	// event that the server knows and went on with one that it does not.
	Current int64
}

// UnknownVersion stands for the number of a stream's last event where the server does not tell it.
const UnknownVersion = esproto.InvalidEventNumber

func (e *WrongExpectedVersionError) Error() string {
	if e.Current == UnknownVersion {
		return fmt.Sprintf("%v of stream %q: it is not at %v", ErrWrongExpectedVersion, e.Stream, e.Expected)
	}
	return fmt.Sprintf("%v of stream %q: expected %v, it is at %v",
		ErrWrongExpectedVersion, e.Stream, e.Expected, ExpectedVersion(e.Current))
}

// Is makes the error match ErrWrongExpectedVersion.
func (e *WrongExpectedVersionError) Is(target error) bool { return target == ErrWrongExpectedVersion }

// OutcomeUnknownError is a write, or another change, that was sent, whose reply did not come, and that could not be
// repeated safely. It is ErrOutcomeUnknown.
//
// The events of an append are in the stream or they are not; all of them or none. To find out, read the stream back and
// look for the event ids. To write them again, give the events the same ids: the server recognises them unless it was
// restarted, another node leads, or it has written some hundred thousand others since. An append that fails then in
// another way does not tell what became of the first. What is known of other changes stands with their methods.
type OutcomeUnknownError struct {
	Err error // why the outcome is unknown
}

func (e *OutcomeUnknownError) Error() string {
	return fmt.Sprintf("%v: %s", ErrOutcomeUnknown, trimPrefix(e.Err))
}

// Is makes the error match ErrOutcomeUnknown.
func (e *OutcomeUnknownError) Is(target error) bool { return target == ErrOutcomeUnknown }

func (e *OutcomeUnknownError) Unwrap() error { return e.Err }

// DropReason is why the server ended a subscription, or refused it.
type DropReason = esproto.SubscriptionDropped_SubscriptionDropReason

// The reasons.
const (
	// DropUnsubscribed is no fault of the subscriber: the server shuts down, or the group was updated, deleted, or
	// moved to another leader. Subscriptions go on by themselves if they can.
	DropUnsubscribed = esproto.SubscriptionDropped_Unsubscribed
	// DropAccessDenied is ErrAccessDenied.
	DropAccessDenied = esproto.SubscriptionDropped_AccessDenied
	// DropNotFound and DropGroupDeleted are ErrGroupNotFound.
	DropNotFound     = esproto.SubscriptionDropped_NotFound
	DropGroupDeleted = esproto.SubscriptionDropped_PersistentSubscriptionDeleted
	// DropMaxSubscribers is ErrMaxSubscribers.
	DropMaxSubscribers = esproto.SubscriptionDropped_SubscriberMaxCountReached
)

// SlowConsumerError says that the consumer of a persistent subscription takes longer than the group allows for what is
// in flight, with the two settings that help. The subscription goes on.
type SlowConsumerError struct {
	MessageTimeout time.Duration // of the group, or about what it must be where the subscription was not told
	InFlight       int           // PersistentOptions.InFlight
}

func (e *SlowConsumerError) Error() string {
	return fmt.Sprintf("esclient: the consumer is too slow for a message timeout of %v with up to %d events "+
		"in flight: make PersistentSettings.MessageTimeout of the group longer, or InFlight less",
		e.MessageTimeout, e.InFlight)
}

// SubscriptionDroppedError is a subscription that the server ended or refused. It is ErrSubscriptionDropped, and what
// the Reason says.
type SubscriptionDroppedError struct{ Reason DropReason }

func (e *SubscriptionDroppedError) Error() string {
	if is := e.condition(); is != nil {
		return is.Error()
	}
	return fmt.Sprintf("%v: %v", ErrSubscriptionDropped, e.Reason)
}

// Is makes the error match ErrSubscriptionDropped and the condition of its Reason.
func (e *SubscriptionDroppedError) Is(target error) bool {
	return target == ErrSubscriptionDropped || target == e.condition() && target != nil
}

// condition is what the user has to do something about; nil if that is nothing.
func (e *SubscriptionDroppedError) condition() error {
	switch e.Reason {
	case DropAccessDenied:
		return ErrAccessDenied
	case DropNotFound, DropGroupDeleted:
		return ErrGroupNotFound
	case DropMaxSubscribers:
		return ErrMaxSubscribers
	}
	return nil
}

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
