package esclient

import (
	"context"
	"errors"
	"iter"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// connSubscription is a subscription on one connection. feed and session share it. It ends with the connection, when
// the server drops it, or when the client unsubscribes. Then another one replaces it.
type connSubscription struct {
	owner  connSubscriber
	handle engine.Handle
	creds  *esproto.Credentials // to unsubscribe; nil for those of the connection

	// The reader owns these.
	came  []*Event // pushed since the last Wake
	maker eventMaker

	told chan struct{} // has a token when the server has confirmed the subscription, and when it has ended

	mu    *sync.Mutex // guards open and ended
	open  bool        // the server has confirmed the subscription
	ended error       // why the server pushes no more events; nil while it pushes
}

// connSubscriber is the *feed or the *session that a connSubscription belongs to.
type connSubscriber interface {
	engine.Request
	// ending is called at the end. byServer is true if the server knows that the subscription has ended.
	// connSubscription.mu is held.
	ending(byServer bool)
}

// newEvent makes an Event of a frame of n bytes.
func (s *connSubscription) newEvent(v *esproto.EventView, n int, pos Position) *Event {
	return s.maker.newEvent(v, n, pos, s.handle.Conn().Memory())
}

// forget empties the list of received events. The consumer has them by then.
func (s *connSubscription) forget() {
	clear(s.came)
	s.came = s.came[:0]
}

// decode decodes a frame of the subscription.
func (s *connSubscription) decode(cmd esproto.Command, payload []byte, m proto.Message) error {
	if err := proto.Unmarshal(payload, m); err != nil {
		return unexpected(s.owner, cmd, err)
	}
	return nil
}

// endOf returns the error for a frame that ends the subscription at the server.
func (s *connSubscription) endOf(cmd esproto.Command, payload []byte) error {
	if cmd == esproto.CmdSubscriptionDropped {
		var m esproto.SubscriptionDropped
		if proto.Unmarshal(payload, &m) != nil {
			return &SubscriptionDroppedError{Reason: DropUnsubscribed} // it has ended; the reason does not matter
		}
		return &SubscriptionDroppedError{Reason: DropReason(m.GetReason())}
	}
	if err := commonReply(cmd, payload); err != nil {
		return err
	}
	return unexpected(s.owner, cmd, nil)
}

// unsubscribe makes the server push no more events.
func (s *connSubscription) unsubscribe() { s.handle.Unsubscribe(s.creds) }

// unsubscribeAgain repeats the request when the server confirms a subscription that was given up: an Unsubscribe before
// the confirmation may have had no effect.
func (s *connSubscription) unsubscribeAgain() { s.handle.Post(engine.Unsubscribe{}, s.creds) }

// confirmLocked notes the confirmation. mu is held.
func (s *connSubscription) confirmLocked() {
	s.open = true
	signal(s.told)
}

// endLocked is the only place where the subscription ends. The first call counts. mu is held.
func (s *connSubscription) endLocked(reason error, byServer bool) (first bool) {
	if s.ended != nil {
		return false
	}
	s.ended = reason
	s.owner.ending(byServer)
	signal(s.told)
	return true
}

// err returns why the subscription has ended; nil while it lasts.
func (s *connSubscription) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// outcome implements unconfirmed.
func (s *connSubscription) outcome() (settled bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		return true, nil
	}
	return s.ended != nil, s.ended
}

// giveUp implements unconfirmed. One lock decides whether the subscription is confirmed or given up.
func (s *connSubscription) giveUp(reason error) (confirmed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveUpLocked(reason)
	return s.open
}

// giveUpLocked is giveUp with mu held.
func (s *connSubscription) giveUpLocked(reason error) {
	if !s.open && s.endLocked(reason, false) {
		s.unsubscribe()
	}
}

// all calls Next until it fails. An error ends the loop, with a nil event. ErrSubscriptionStopped ends it without an
// error.
func all[S interface {
	Next(ctx context.Context) (*Event, error)
}](ctx context.Context, s S) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for {
			e, err := s.Next(ctx)
			if errors.Is(err, ErrSubscriptionStopped) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
