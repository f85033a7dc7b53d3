package eventstore

import (
	"context"
	"math"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// delivery is a message on its way to the consumer, and its context. It is one value with all that is known of the
// message, and what can be cancelled is made when somebody asks for it, since most handlers do not.
type delivery struct {
	s      *subscription
	event  *esclient.Event
	msg    *message.Message            // nil until it is made of the event
	delays *backoff.ExponentialBackOff // between its attempts; nil before the first nack

	mu       sync.Mutex
	decision *decision       // of NackWith; nil if it was not called
	real     context.Context // nil until somebody waits
	cancel   context.CancelCauseFunc
	err      error // of the context, once it has ended
	nacks    int32 // how often the event was nacked here before
	told     bool  // the handler could know of the subscription's end when it gave its word
	judged   bool  // what the handler says now no longer counts
}

// again is the delivery of the event after a nack.
func (d *delivery) again() *delivery {
	nacks := d.nacks
	if nacks < math.MaxInt32 {
		nacks++
	}
	delays := d.delays
	if delays == nil {
		delays = d.s.cfg.nackDelays()
	}
	return &delivery{s: d.s, event: d.event, delays: delays, nacks: nacks}
}
