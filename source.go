package eventstore

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// source is where a subscription gets its events from.
type source interface {
	// next is called by one goroutine at a time.
	next(ctx context.Context) (*esclient.Event, error)
	// offer is called before an event is handed out. ok is false if that must not be any more, nor anything else be
	// done with it: it comes again. Otherwise the question is to be asked again, until begin, when revoked is closed.
	offer(e *esclient.Event) (revoked <-chan struct{}, ok bool)
	// begin is called when an event was handed out.
	begin(e *esclient.Event)
	// ack and giveUp fail if the server does not get to know.
	ack(e *esclient.Event) error
	// giveUp does what was decided of an event that cannot be processed: to park, retry or skip it.
	giveUp(e *esclient.Event, action Action, reason string) error
	// gives reports whether giveUp can do the action.
	gives(action Action) bool
	// ended is closed when the source has ended by itself; err then tells why.
	ended() <-chan struct{}
	err() error
	// lookOut has a source that notices its end only in next notice it while a message waits that was nacked: failed
	// is then called. It must not be called while next is.
	lookOut(ctx context.Context, failed func(error))
	// stop sends what is unsent and gives the events that are neither acked nor given up back to the server.
	stop()
}

// groupSource is a subscriber of a persistent subscription group.
type groupSource struct {
	p *esclient.PersistentSubscription
}

func (s groupSource) next(ctx context.Context) (*esclient.Event, error) { return s.p.Next(ctx) }
func (s groupSource) ack(e *esclient.Event) error                       { return s.p.Ack(e) }
func (s groupSource) gives(Action) bool                                 { return true }
func (s groupSource) ended() <-chan struct{}                            { return s.p.Closed() }
func (s groupSource) err() error                                        { return s.p.Err() }
func (s groupSource) lookOut(context.Context, func(error))              {}
func (s groupSource) begin(e *esclient.Event)                           { s.p.Begin(e) }

func (s groupSource) offer(e *esclient.Event) (revoked <-chan struct{}, ok bool) { return s.p.Offer(e) }

func (s groupSource) giveUp(e *esclient.Event, action Action, reason string) error {
	how := esclient.NackPark
	switch action {
	case ActionRetry:
		how = esclient.NackRetry
	case ActionSkip:
		how = esclient.NackSkip
	}
	return s.p.Nack(how, reason, e)
}

// giveBackTimeout is how long a server may take to confirm that it has taken back what was not acked.
const giveBackTimeout = 2 * time.Second

func (s groupSource) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), giveBackTimeout)
	defer cancel()
	_ = s.p.Stop(ctx) // unconfirmed, the server takes them back when the connection or the message timeout ends
}

// plainSource is a volatile or catch-up subscription: the server knows nothing of what becomes of its events.
type plainSource struct {
	s     *esclient.Subscription
	ahead chan pulled // what lookOut has called next for; nil if it has not
}

type pulled struct {
	e   *esclient.Event
	err error
}

func (s *plainSource) next(ctx context.Context) (*esclient.Event, error) {
	if s.ahead == nil {
		return s.s.Next(ctx)
	}
	p := <-s.ahead
	s.ahead = nil
	return p.e, p.err
}

func (s *plainSource) offer(*esclient.Event) (<-chan struct{}, bool) { return nil, true }
func (s *plainSource) begin(*esclient.Event)                         {}
func (s *plainSource) ack(*esclient.Event) error                     { return nil }
func (s *plainSource) giveUp(*esclient.Event, Action, string) error  { return nil }
func (s *plainSource) gives(action Action) bool                      { return action == ActionSkip }
func (s *plainSource) ended() <-chan struct{}                        { return s.s.Closed() }
func (s *plainSource) err() error                                    { return s.s.Err() }

// lookOut implements source. An event that comes is kept for next; behind it, nothing more is noticed.
func (s *plainSource) lookOut(ctx context.Context, failed func(error)) {
	if s.ahead != nil {
		return
	}
	ahead := make(chan pulled, 1)
	s.ahead = ahead
	go func() {
		e, err := s.s.Next(ctx)
		if err != nil {
			failed(err)
		}
		ahead <- pulled{e, err}
	}()
}

// plainLog tells a Watermill logger what becomes of a volatile or catch-up subscription that goes on.
type plainLog struct {
	log       watermill.LoggerAdapter
	startOver bool
}

func (l plainLog) OnLogWentBack(i esclient.SubscriptionInfo) {
	then := "the subscription goes on with what is new"
	if l.startOver {
		then = "the subscription starts over"
	}
	l.log.Error("EventStore has come back with another log: "+then, i.Err,
		watermill.LogFields{"endpoint": i.Endpoint})
}

func (s *plainSource) stop() {
	s.s.Stop()
	if s.ahead != nil {
		<-s.ahead
	}
}
