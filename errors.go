package eventstore

import (
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

var (
	// ErrPublisherClosed is the error of [Publisher.Publish] after [Publisher.Close].
	ErrPublisherClosed = errors.New("eventstore: the publisher is closed")
	// ErrSubscriberClosed is the error of [Subscriber.Subscribe] and [Subscriber.SubscribeInitialize] after
	// [Subscriber.Close].
	ErrSubscriberClosed = errors.New("eventstore: the subscriber is closed")
	// ErrCheckpointTaken is the error of a [Checkpoints] store whose name another process has taken over, or has in
	// use. A subscription or its Subscribe call ends with it.
	ErrCheckpointTaken = errors.New("eventstore: another subscription uses the name of the checkpoint")
	// ErrCheckpointSource is the error of a Subscribe call whose checkpoint was saved for another stream, or with a
	// Filter that may have passed over events which the Filter of now picks.
	ErrCheckpointSource = errors.New("eventstore: the checkpoint is one of another stream or filter")
	// ErrCheckpointCorrupt is the error of a [Checkpoints] store if the stored data is no checkpoint.
	ErrCheckpointCorrupt = errors.New("eventstore: the stored checkpoint cannot be read")
)

// PublishError is the error of a failed [Publisher.Publish] call. It wraps the cause, usually an error of package
// esclient. Each message of the call is in exactly one of the three lists. Each list has the order of the call.
type PublishError struct {
	Topic  string
	Stream string // of the append that failed; empty if a message was refused before anything was sent

	// Written holds the messages that the server has confirmed.
	Written []*message.Message
	// Unknown holds the messages that were sent and not confirmed: they may or may not be in the stream. If there are
	// any, errors.Is(err, [esclient.ErrOutcomeUnknown]) holds.
	Unknown []*message.Message
	// NotWritten holds the messages that are in no stream. The caller may publish them again.
	NotWritten []*message.Message

	Err error // the cause
}

// Error names the topic, the numbers of messages that were written or not, and the cause.
func (e *PublishError) Error() string {
	target := fmt.Sprintf("topic %q", e.Topic)
	if e.Stream != "" && e.Stream != e.Topic {
		target += fmt.Sprintf(", stream %q", e.Stream)
	}
	written := "nothing was written"
	switch total := len(e.Written) + len(e.Unknown) + len(e.NotWritten); {
	case len(e.Unknown) > 0:
		written = fmt.Sprintf("of %d messages %d were written, %d perhaps", total, len(e.Written), len(e.Unknown))
	case len(e.Written) > 0:
		written = fmt.Sprintf("of %d messages %d were written", total, len(e.Written))
	}
	return fmt.Sprintf("eventstore: cannot publish to %s (%s): %v", target, written, e.Err)
}

// Unwrap returns Err.
func (e *PublishError) Unwrap() error { return e.Err }

// MarshalError is the error of a [Marshaler] that refused a message, or of an [Unmarshaler] that refused an event.
type MarshalError struct {
	MessageUUID string // empty for an event
	Err         error
}

// Error names the message, if there is one, and the cause.
func (e *MarshalError) Error() string {
	if e.MessageUUID == "" {
		return fmt.Sprintf("eventstore: marshaling: %v", e.Err)
	}
	return fmt.Sprintf("eventstore: marshaling message %q: %v", e.MessageUUID, e.Err)
}

// Unwrap returns Err.
func (e *MarshalError) Unwrap() error { return e.Err }

// CheckpointError is the error of a subscription that could not load or save its checkpoint, or could not begin there.
// It wraps the cause and says what to do.
type CheckpointError struct {
	Name   string // the name that the store was given
	Op     string // "load", "save" or "use"
	Advice string
	Err    error
}

// Error names the checkpoint and the cause, and says what to do.
func (e *CheckpointError) Error() string {
	return fmt.Sprintf("eventstore: cannot %s checkpoint %q: %v: %s", e.Op, e.Name, e.Err, e.Advice)
}

// Unwrap returns Err.
func (e *CheckpointError) Unwrap() error { return e.Err }

func configError(setting, value, reason string) error {
	return &esclient.ConfigError{Setting: setting, Value: value, Reason: reason}
}
