package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// UnresolvedAction selects what a [Subscriber] does with a link that leads to no event; see
// [SubscriberConfig.UnresolvedAction].
type UnresolvedAction int

const (
	// UnresolvedSkip passes over the link, and acks it in a group. The logger gets a debug line, and an
	// [esclient.UnresolvedHook] of the client can count such links.
	UnresolvedSkip UnresolvedAction = iota
	// UnresolvedHandOut hands out the link as a message. The handler can ask [UnresolvedFromCtx].
	UnresolvedHandOut
	// UnresolvedStop ends the subscription, closes its channel and logs [ErrUnresolved]. In a group the link goes back
	// to the server.
	UnresolvedStop
)

// String returns the action's name in lower case.
func (a UnresolvedAction) String() string {
	names := [...]string{"skip", "hand out", "stop"}
	if a < 0 || int(a) >= len(names) {
		return fmt.Sprintf("UnresolvedAction(%d)", int(a))
	}
	return names[a]
}

// ErrUnresolved is the logged error of a subscription that has ended by [UnresolvedStop].
var ErrUnresolved = errors.New("eventstore: a link leads to no event")

// UnresolvedFromCtx reports whether a message is a link that leads to no event, or to a deletion. Only
// [UnresolvedHandOut] hands out such messages. [esclient.Event.LinkTarget] of its event, or of that event's Link,
// returns the event that the link names.
func UnresolvedFromCtx(ctx context.Context) bool {
	e, ok := EventFromCtx(ctx)
	return ok && unresolved(e)
}

// unresolved reports whether UnresolvedAction applies to an event. A soft delete writes metadata of the stream, and the
// category of the stream gets a link to that metadata.
func unresolved(e *esclient.Event) bool {
	return e.Unresolved || e.Link != nil && e.Type == metadataType && strings.HasPrefix(e.Link.Stream, categoryPrefix)
}

const (
	metadataType   = "$metadata"
	categoryPrefix = "$ce-"
)

// handsOutUnresolved applies UnresolvedAction, and reports whether to hand out the link.
func (s *subscription) handsOutUnresolved(d *delivery) bool {
	switch o := d.event.Original(); s.cfg.UnresolvedAction {
	case UnresolvedHandOut:
		return true
	case UnresolvedStop:
		s.fail(fmt.Errorf("%w: number %d of stream %q, with the data %q", ErrUnresolved, o.Number, o.Stream, o.Data))
	default:
		s.log.Debug("Link without an event skipped", s.fields(d, watermill.LogFields{"link": string(o.Data)}))
		if err := s.src.ack(d.event); err != nil {
			s.logLateAnswer(d, "ack", err)
		}
		s.settled(d)
	}
	return false
}

// sourceStream is the default Key. A link without an event has the key of the events of the stream that it names.
func sourceStream(msg *message.Message) string {
	e, ok := EventFromCtx(msg.Context())
	if !ok {
		return ""
	}
	stream := e.Stream
	if e.Unresolved {
		if named, _, ok := e.LinkTarget(); ok {
			stream = named
		}
	}
	if unresolved(e) {
		stream = strings.TrimPrefix(stream, "$$") // the stream of the metadata
	}
	return stream
}
