package eventstore

import (
	"context"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// source is where a subscription gets its events from.
type source interface {
	next(ctx context.Context) (*esclient.Event, error)
	ack(e *esclient.Event)
	// giveUp does what was decided of an event that cannot be processed: to park, retry or skip it.
	giveUp(e *esclient.Event, action Action, reason string)
	// gives reports whether giveUp can do the action.
	gives(action Action) bool
	// stop sends what is unsent and gives the events that are neither acked nor given up back to the server.
	stop()
}

// groupSource is a subscriber of a persistent subscription group. Errors of Ack and Nack are those that next returns,
// too.
type groupSource struct {
	p *esclient.PersistentSubscription
}

func (s groupSource) next(ctx context.Context) (*esclient.Event, error) { return s.p.Next(ctx) }
func (s groupSource) ack(e *esclient.Event)                             { _ = s.p.Ack(e) }
func (s groupSource) gives(Action) bool                                 { return true }

func (s groupSource) giveUp(e *esclient.Event, action Action, reason string) {
	how := esclient.NackPark
	switch action {
	case ActionRetry:
		how = esclient.NackRetry
	case ActionSkip:
		how = esclient.NackSkip
	}
	_ = s.p.Nack(how, reason, e)
}

// giveBackTimeout is how long a server may take to confirm that it has taken back what was not acked.
const giveBackTimeout = 2 * time.Second

func (s groupSource) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), giveBackTimeout)
	defer cancel()
	_ = s.p.Stop(ctx) // unconfirmed, the server takes them back when the connection or the message timeout ends
}

// plainSource is a volatile or catch-up subscription: the server knows nothing of what becomes of its events.
type plainSource struct{ s *esclient.Subscription }

func (s plainSource) next(ctx context.Context) (*esclient.Event, error) { return s.s.Next(ctx) }
func (s plainSource) ack(*esclient.Event)                               {}
func (s plainSource) giveUp(*esclient.Event, Action, string)            {}
func (s plainSource) gives(action Action) bool                          { return action == ActionSkip }
func (s plainSource) stop()                                             { s.s.Stop() }
