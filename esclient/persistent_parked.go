package esclient

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/internal/notation"
)

// ParkedEvent is an event that a group has parked.
type ParkedEvent struct {
	// Event is the parked event. Its Link is the entry in the group's parked stream. If the event is gone, Unresolved
	// is true and Event is the entry itself.
	Event *Event
	// Reason is the reason of Nack, with the server's text before it, or the server's own.
	Reason string
	// Added is when the server has parked the event, by the server's clock; zero if the server does not tell.
	Added time.Time
	// Number is the number of the event in the group's stream.
	Number int64
}

// ReadParked reads the parked events of a group, the oldest first, as [Client.ReadStream] does. It yields none if the
// group has parked nothing or does not exist. Only administrators may read them, unless the server's settings say
// otherwise.
func (c *Client) ReadParked(ctx context.Context, stream, group string) iter.Seq2[ParkedEvent, error] {
	return func(yield func(ParkedEvent, error) bool) {
		if err := validateAnyGroup(stream, group); err != nil {
			yield(ParkedEvent{}, err)
			return
		}
		for e, err := range c.ReadStream(ctx, notation.ParkedStream(stream, group), ReadOptions{ResolveLinks: true}) {
			if errors.Is(err, ErrStreamNotFound) {
				return
			}
			if err != nil {
				yield(ParkedEvent{}, groupError("read parked events", stream, group, err))
				return
			}
			if !yield(parkedEvent(e), nil) {
				return
			}
		}
	}
}

// parkedEvent reads the metadata that the server wrote when it parked an event. The server leaves zero values out.
func parkedEvent(e *Event) ParkedEvent {
	var note struct {
		Added                   string `json:"added"`
		Reason                  string `json:"reason"`
		SubscriptionEventNumber int64  `json:"subscriptionEventNumber"`
	}
	if e.Original().MetadataJSON(&note) != nil {
		return ParkedEvent{Event: e, Number: -1} // a client has written it, not the server
	}
	return ParkedEvent{
		Event: e, Reason: note.Reason, Added: notation.ParseTime(note.Added), Number: note.SubscriptionEventNumber,
	}
}
