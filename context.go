package eventstore

import (
	"context"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

type expectedVersionKey struct{}

// WithExpectedVersion returns a context for a message to publish. The stream must have version v: the number of its
// last event, [esclient.NoStream], [esclient.StreamExists] or [esclient.Any]. Otherwise [Publisher.Publish] writes
// nothing and fails with [esclient.ErrWrongExpectedVersion].
//
//	msg.SetContext(eventstore.WithExpectedVersion(msg.Context(), 41))
//
// In a Publish call with several messages for one stream, only the first message needs a version.
func WithExpectedVersion(ctx context.Context, v esclient.ExpectedVersion) context.Context {
	return context.WithValue(ctx, expectedVersionKey{}, v)
}

func expectedVersionFromCtx(ctx context.Context) (esclient.ExpectedVersion, bool) {
	v, ok := ctx.Value(expectedVersionKey{}).(esclient.ExpectedVersion)
	return v, ok
}

type deliveryKey struct{}

func deliveryFromCtx(ctx context.Context) *delivery {
	d, _ := ctx.Value(deliveryKey{}).(*delivery)
	return d
}

// EventFromCtx returns the event of a received message. The caller must not change its byte slices, because they are
// unmarshaled again after a nack. ok is false if ctx is not the context of a message from a [Subscriber] of this
// package. The same holds for the other functions that take the context of a message.
func EventFromCtx(ctx context.Context) (e *esclient.Event, ok bool) {
	if d := deliveryFromCtx(ctx); d != nil {
		return d.event, true
	}
	return nil, false
}

// StreamFromCtx returns the stream of the event. For a resolved link it is the stream of the target.
func StreamFromCtx(ctx context.Context) (stream string, ok bool) {
	if e, ok := EventFromCtx(ctx); ok {
		return e.Stream, true
	}
	return "", false
}

// EventNumberFromCtx returns the number of the event in its stream, from 0.
func EventNumberFromCtx(ctx context.Context) (number int64, ok bool) {
	if e, ok := EventFromCtx(ctx); ok {
		return e.Number, true
	}
	return 0, false
}

// PositionFromCtx returns the position of the event in the server's log. It is known in catch-up subscriptions to $all,
// and for events that the server pushed to a volatile or catch-up subscription; otherwise ok is false. See also
// [CheckpointFromCtx].
func PositionFromCtx(ctx context.Context) (position esclient.Position, ok bool) {
	if e, ok := EventFromCtx(ctx); ok && e.Position != esclient.UnknownPosition {
		return e.Position, true
	}
	return esclient.UnknownPosition, false
}

// EventTypeFromCtx returns the type of the event.
func EventTypeFromCtx(ctx context.Context) (eventType string, ok bool) {
	if e, ok := EventFromCtx(ctx); ok {
		return e.Type, true
	}
	return "", false
}

// CreatedFromCtx returns the time when the server wrote the event, in UTC.
func CreatedFromCtx(ctx context.Context) (created time.Time, ok bool) {
	if e, ok := EventFromCtx(ctx); ok {
		return e.Created.Time(), true
	}
	return time.Time{}, false
}

// RetryCountFromCtx returns the number of earlier deliveries of the message: those that the server counts for the group
// and those of this subscription after a nack.
func RetryCountFromCtx(ctx context.Context) (count int, ok bool) {
	if d := deliveryFromCtx(ctx); d != nil {
		return int(d.event.RetryCount) + int(d.nacks), true
	}
	return 0, false
}

// ConsumerGroupFromCtx returns the consumer group that the message was delivered to. ok is false without a group.
func ConsumerGroupFromCtx(ctx context.Context) (group string, ok bool) {
	if d := deliveryFromCtx(ctx); d != nil && d.s.cfg.Mode == ModePersistent {
		return d.s.cfg.ConsumerGroup, true
	}
	return "", false
}

// LinkFromCtx returns the link that was resolved to the event; ok is false if there was no link.
func LinkFromCtx(ctx context.Context) (link *esclient.Event, ok bool) {
	if e, ok := EventFromCtx(ctx); ok && e.Link != nil {
		return e.Link, true
	}
	return nil, false
}

// CheckpointFromCtx returns the checkpoint of the message in its topic: the position in $all, or the number of its
// event in the subscribed stream. With ResolveLinks this is the number of the link. All earlier messages are settled
// only if Concurrency is 1. ok is false in a group on $all.
func CheckpointFromCtx(ctx context.Context) (c esclient.Checkpoint, ok bool) {
	if d := deliveryFromCtx(ctx); d != nil {
		return d.event.CheckpointIn(d.s.stream)
	}
	return esclient.Checkpoint{}, false
}

// CheckpointNameFromCtx returns the name under which [SubscriberConfig.Checkpoints] stores the checkpoint of the
// message's subscription. ok is false without Checkpoints.
func CheckpointNameFromCtx(ctx context.Context) (name string, ok bool) {
	if d := deliveryFromCtx(ctx); d != nil && d.s.cfg.Checkpoints != nil {
		return d.s.cfg.checkpointName(d.s.topic), true
	}
	return "", false
}
