package eventstore

import (
	"context"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

type expectedVersionKey struct{}

// WithExpectedVersion returns a context for a message that is to be published: its stream must be at the given version,
// the number of its last event or one of esclient.NoStream, esclient.StreamExists and esclient.Any. Otherwise Publish
// fails with esclient.ErrWrongExpectedVersion, and nothing is written.
//
//	msg.SetContext(eventstore.WithExpectedVersion(msg.Context(), 41))
//
// Of several messages for one stream in one Publish call the first one's version counts; others need none.
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

// EventFromCtx returns the event that a received message was made of. Its byte slices must not be changed: the message
// is made of them again after a nack. ok is false where ctx is not that of a message that a Subscriber of this package
// handed out; so it is for all functions of this kind.
func EventFromCtx(ctx context.Context) (e *esclient.Event, ok bool) {
	if d := deliveryFromCtx(ctx); d != nil {
		return d.event, true
	}
	return nil, false
}

// StreamFromCtx returns the stream of the event: with resolved links that of the link's target.
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

// PositionFromCtx returns the event's place in the server's log. It is known in catch-up subscriptions to $all, and of
// events that a volatile or catch-up subscription got as they were written; ok is false elsewhere. It is what
// esclient.AfterPosition takes, as a checkpoint of $all.
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

// CreatedFromCtx returns when the server wrote the event, in UTC.
func CreatedFromCtx(ctx context.Context) (created time.Time, ok bool) {
	if e, ok := EventFromCtx(ctx); ok {
		return e.Created, true
	}
	return time.Time{}, false
}

// RetryCountFromCtx returns how often the message was delivered before: by the server, as it counts for the group, and
// by this subscription after a Nack.
func RetryCountFromCtx(ctx context.Context) (count int, ok bool) {
	if d := deliveryFromCtx(ctx); d != nil {
		return d.event.RetryCount + int(d.nacks), true
	}
	return 0, false
}

// LinkFromCtx returns the link through which the event was read; ok is false where it came by none. Its number in the
// stream that was subscribed to is what esclient.AfterNumber takes, as a checkpoint.
func LinkFromCtx(ctx context.Context) (link *esclient.Event, ok bool) {
	if e, ok := EventFromCtx(ctx); ok && e.Link != nil {
		return e.Link, true
	}
	return nil, false
}
