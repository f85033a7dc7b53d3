package eventstore

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// source supplies the events of a subscription and settles them.
type source interface {
	// next returns the next event. One goroutine at a time may call it.
	next(ctx context.Context) (*esclient.Event, error)
	// offer asks, before a message is handed out, whether its event still belongs to this subscription. If ok is false,
	// the server delivers the event again, and the caller must drop it. When revoked is closed before the call of
	// begin, the caller must ask again.
	offer(e *esclient.Event) (revoked <-chan struct{}, ok bool)
	// begin records that a message was handed out.
	begin(e *esclient.Event)
	// ack fails if the ack cannot reach the server.
	ack(e *esclient.Event) error
	// nack parks, retries or skips an event. It fails if the nack cannot reach the server.
	nack(e *esclient.Event, action Action, reason string) error
	// supports reports whether nack can apply action.
	supports(action Action) bool
	// ended is closed when the source has ended, not by stop; err then returns the reason.
	ended() <-chan struct{}
	err() error
	// readAhead calls failed if the source ends while a nacked message waits. It is for a source that shows its end
	// only in next, and must not run at the same time as next.
	readAhead(ctx context.Context, failed func(error))
	// stop sends the pending acks and gives all unsettled events back to the server.
	stop()
}

// groupSource is a subscriber of a consumer group.
type groupSource struct {
	p *esclient.PersistentSubscription
}

func (s groupSource) next(ctx context.Context) (*esclient.Event, error) { return s.p.Next(ctx) }
func (s groupSource) ack(e *esclient.Event) error                       { return s.p.Ack(e) }
func (s groupSource) supports(Action) bool                              { return true }
func (s groupSource) ended() <-chan struct{}                            { return s.p.Closed() }
func (s groupSource) err() error                                        { return s.p.Err() }
func (s groupSource) readAhead(context.Context, func(error))            {}
func (s groupSource) begin(e *esclient.Event)                           { s.p.Begin(e) }

func (s groupSource) offer(e *esclient.Event) (revoked <-chan struct{}, ok bool) { return s.p.Offer(e) }

func (s groupSource) nack(e *esclient.Event, action Action, reason string) error {
	how := esclient.NackPark
	switch action {
	case ActionRetry:
		how = esclient.NackRetry
	case ActionSkip:
		how = esclient.NackSkip
	}
	return s.p.Nack(how, reason, e)
}

// giveBackTimeout limits how long stop waits for the server's confirmation.
const giveBackTimeout = 2 * time.Second

func (s groupSource) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), giveBackTimeout)
	defer cancel()
	_ = s.p.Stop(ctx) // without a confirmation, the server takes events back at the end of the connection or timeout
}

// streamSource is a volatile or catch-up subscription. The server does not track its events.
type streamSource struct {
	s     *esclient.Subscription
	start esclient.Start  // of a catch-up subscription
	ahead chan nextResult // the result of readAhead; nil if readAhead was not called
}

type nextResult struct {
	e   *esclient.Event
	err error
}

func (s *streamSource) next(ctx context.Context) (*esclient.Event, error) {
	if s.ahead == nil {
		return s.s.Next(ctx)
	}
	r := <-s.ahead
	s.ahead = nil
	return r.e, r.err
}

func (s *streamSource) offer(*esclient.Event) (<-chan struct{}, bool) { return nil, true }
func (s *streamSource) begin(*esclient.Event)                         {}
func (s *streamSource) ack(*esclient.Event) error                     { return nil }
func (s *streamSource) nack(*esclient.Event, Action, string) error    { return nil }
func (s *streamSource) supports(action Action) bool                   { return action == ActionSkip }
func (s *streamSource) ended() <-chan struct{}                        { return s.s.Closed() }
func (s *streamSource) err() error                                    { return s.s.Err() }

// readAhead implements source. It keeps one event for next; an end after that event goes unnoticed.
func (s *streamSource) readAhead(ctx context.Context, failed func(error)) {
	if s.ahead != nil {
		return
	}
	ahead := make(chan nextResult, 1)
	s.ahead = ahead
	go func() {
		e, err := s.s.Next(ctx)
		if err != nil {
			failed(err)
		}
		ahead <- nextResult{e, err}
	}()
}

func (s *streamSource) stop() {
	s.s.Stop()
	if s.ahead != nil {
		<-s.ahead
	}
}

// streamLog logs the events of a volatile or catch-up subscription that goes on.
type streamLog struct {
	log       watermill.LoggerAdapter
	startOver bool
}

func (l streamLog) OnLogWentBack(i esclient.SubscriptionInfo) {
	then := "the subscription goes on with new events"
	if l.startOver {
		then = "the subscription starts over"
	}
	l.log.Error("EventStore has come back with another log: "+then, i.Err,
		watermill.LogFields{"endpoint": i.Endpoint})
}
