package eventstore

import (
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

var (
	// ErrPublisherClosed is returned by Publish after Close.
	ErrPublisherClosed = errors.New("eventstore: the publisher is closed")
	// ErrSubscriberClosed is returned by Subscribe and SubscribeInitialize after Close.
	ErrSubscriberClosed = errors.New("eventstore: the subscriber is closed")
)

// PublishError is a Publish call that failed. It wraps the cause, usually one of the errors of package esclient, and
// says what became of each message of the call: they are in exactly one of the three lists, each in the order of the
// call.
//
// Nothing that is in NotWritten reached a stream, so that a caller may publish just these again. What is in Unknown was
// sent, but its outcome is not known: errors.Is(err, esclient.ErrOutcomeUnknown) then holds.
type PublishError struct {
	Topic  string
	Stream string // of the append that failed; empty if a message was refused before anything was sent

	Written    []*message.Message
	Unknown    []*message.Message
	NotWritten []*message.Message

	Err error
}

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

func (e *PublishError) Unwrap() error { return e.Err }

// MarshalError is a message that its Marshaler refused, or an event that its Unmarshaler did.
type MarshalError struct {
	MessageUUID string // where it is known
	Err         error
}

func (e *MarshalError) Error() string {
	if e.MessageUUID == "" {
		return fmt.Sprintf("eventstore: marshaling: %v", e.Err)
	}
	return fmt.Sprintf("eventstore: marshaling message %q: %v", e.MessageUUID, e.Err)
}

func (e *MarshalError) Unwrap() error { return e.Err }

func configError(setting, value, reason string) error {
	return &esclient.ConfigError{Setting: setting, Value: value, Reason: reason}
}
