package esclient

import (
	"fmt"
	"time"
)

// DropReason is why the server ended a subscription, or refused it. Values that have no name here are those of a server
// that is newer than this package.
type DropReason int

// The reasons.
const (
	// DropUnsubscribed is no fault of the subscriber: the server shuts down, or the group was updated, deleted, or
	// moved to another leader. Subscriptions go on by themselves if they can.
	DropUnsubscribed DropReason = 0
	// DropAccessDenied is [ErrAccessDenied].
	DropAccessDenied DropReason = 1
	// DropNotFound is a group that does not exist. It is [ErrGroupNotFound].
	DropNotFound DropReason = 2
	// DropGroupDeleted is a group that was deleted. It is [ErrGroupNotFound].
	DropGroupDeleted DropReason = 3
	// DropMaxSubscribers is [ErrMaxSubscribers].
	DropMaxSubscribers DropReason = 4
)

// String returns the name, such as AccessDenied.
func (r DropReason) String() string {
	return named(int(r), "DropReason", "Unsubscribed", "AccessDenied", "NotFound", "GroupDeleted", "MaxSubscribers")
}

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
