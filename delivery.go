package eventstore

import (
	"context"
	"math"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// delivery is one attempt to have a message handled, and the context of that message. One value holds both, and what
// few handlers need is made on demand.
type delivery struct {
	s      *subscription
	event  *esclient.Event
	msg    *message.Message            // nil until the event is unmarshaled
	delays *backoff.ExponentialBackOff // between attempts; nil before the first nack

	mu           sync.Mutex
	onDemand     *onDemand // nil until something of it is needed
	nacks        int32     // earlier nacks of this event by this subscription
	round        uint32    // of the liveSignal
	live         bool      // the subscription had caught up when the event came
	end          contextEnd
	sawEnd       bool // the handler could see the end of the subscription before it answered
	outcomeFixed bool // a later answer does not count
}

// onDemand is the part of a delivery that few handlers need. The mutex of the delivery guards it.
type onDemand struct {
	decision   *decision       // set by NackWith
	cancelable context.Context // nil until a handler waits for the end of the context
	cancel     context.CancelCauseFunc
}

// demandLocked returns the part of d that is made on demand. The caller holds d.mu.
func (d *delivery) demandLocked() *onDemand {
	if d.onDemand == nil {
		d.onDemand = new(onDemand)
	}
	return d.onDemand
}

// decisionLocked returns the decision of a NackWith call; nil for none. The caller holds d.mu.
func (d *delivery) decisionLocked() *decision {
	if d.onDemand == nil {
		return nil
	}
	return d.onDemand.decision
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
