package esclient

import (
	"fmt"
	"time"
)

// DropReason is the reason for which the server ended a subscription, or refused it. A newer server may have reasons
// without a name here.
type DropReason int

// The reasons.
const (
	// DropUnsubscribed means that the server shuts down, or that the group was updated, deleted, or moved to another
	// leader. The subscription resumes if it can.
	DropUnsubscribed DropReason = 0
	// DropAccessDenied means that the user does not have the right. It is [ErrAccessDenied].
	DropAccessDenied DropReason = 1
	// DropNotFound means that the group does not exist. It is [ErrGroupNotFound].
	DropNotFound DropReason = 2
	// DropGroupDeleted means that the group was deleted. It is [ErrGroupNotFound].
	DropGroupDeleted DropReason = 3
	// DropMaxSubscribers means that the group has as many subscribers as its settings allow. It is
	// [ErrMaxSubscribers].
	DropMaxSubscribers DropReason = 4
)

// String returns the name, such as AccessDenied.
func (r DropReason) String() string {
	return named(int(r), "DropReason", "Unsubscribed", "AccessDenied", "NotFound", "GroupDeleted", "MaxSubscribers")
}

// SlowConsumerError tells that the consumer of a persistent subscription is slower than the group's message timeout
// allows for the events in flight. It names the two settings that help. The subscription goes on.
type SlowConsumerError struct {
	MessageTimeout time.Duration // of the group; an estimate if the subscription does not know it
	InFlight       int           // [PersistentOptions.InFlight]
}

// Error names the two settings and their values.
func (e *SlowConsumerError) Error() string {
	return fmt.Sprintf("esclient: the consumer is too slow for a message timeout of %v with up to %d events "+
		"in flight: make PersistentSettings.MessageTimeout of the group longer, or InFlight less",
		e.MessageTimeout, e.InFlight)
}

// SubscriptionDroppedError is the error of a subscription that the server has ended or refused. It matches
// [ErrSubscriptionDropped] and the condition of its Reason.
type SubscriptionDroppedError struct{ Reason DropReason }

// Error is the text of the condition, or names the Reason.
func (e *SubscriptionDroppedError) Error() string {
	if is := e.condition(); is != nil {
		return is.Error()
	}
	return fmt.Sprintf("%v: %v", ErrSubscriptionDropped, e.Reason)
}

// Is makes the error match [ErrSubscriptionDropped] and the condition of its Reason.
func (e *SubscriptionDroppedError) Is(target error) bool {
	return target == ErrSubscriptionDropped || target == e.condition() && target != nil
}

// condition returns the condition for the Reason; nil if the user need not act.
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
