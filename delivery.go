package eventstore

import (
	"context"
	"math"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// delivery is one attempt to have a message handled, and the context of that message. One value holds both, and the
// cancelable context is made on demand, because most handlers never need it.
type delivery struct {
	s      *subscription
	event  *esclient.Event
	msg    *message.Message            // nil until the event is unmarshaled
	delays *backoff.ExponentialBackOff // between attempts; nil before the first nack

	mu           sync.Mutex
	decision     *decision       // set by NackWith
	cancelable   context.Context // nil until a handler waits for the end of the context
	cancel       context.CancelCauseFunc
	err          error // of the context, once it has ended
	nacks        int32 // earlier nacks of this event by this subscription
	sawEnd       bool  // the handler could see the end of the subscription before it answered
	outcomeFixed bool  // a later answer does not count

	live  bool   // the subscription had caught up when the event came
	round uint32 // of the liveSignal
}

// redelivery returns the next attempt, after a nack.
func (d *delivery) redelivery() *delivery {
	nacks := d.nacks
	if nacks < math.MaxInt32 {
		nacks++
	}
	delays := d.delays
	if delays == nil {
		delays = d.s.cfg.nackDelays()
	}
	return &delivery{s: d.s, event: d.event, delays: delays, nacks: nacks, live: d.live, round: d.round}
}
