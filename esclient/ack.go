package esclient

import (
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Ack tells the server that the events are dealt with. It does not wait for anything: acks are gathered, see
// PersistentOptions.AckDelay, and the server does not reply to them. While there is no connection they are kept and sent
// when the server delivers the events again. Events that were settled before are ignored. The error is the one that
// ended the subscription; the server then delivers the events again.
func (p *PersistentSubscription) Ack(events ...*Event) error {
	return p.settle(settlement{}, events)
}

// Nack tells the server what to do with events that could not be dealt with; the reason is kept with parked events.
// Otherwise it is as Ack, but is sent at once.
func (p *PersistentSubscription) Nack(action NackAction, reason string, events ...*Event) error {
	if action < NackPark || action > NackStop {
		return &ArgumentError{Argument: "action", Reason: action.String() + " is none of NackPark, NackRetry, NackSkip, NackStop"}
	}
	return p.settle(settlement{nack: true, action: action, reason: reason}, events)
}

func (p *PersistentSubscription) settle(how settlement, events []*Event) error {
	defer p.endIfDrained()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended != nil {
		return p.ended
	}
	for _, e := range events {
		d := deliveryOf(e)
		if _, ok := p.held[d]; !ok {
			continue
		}
		delete(p.held, d)
		if !how.nack || how.action != NackRetry {
			p.settled.add(d, how)
		}
		p.send(d.id, how)
	}
	return nil
}

// send sends what was said of an event, or gathers it. p.mu is held.
func (p *PersistentSubscription) send(id esproto.GUID, how settlement) {
	if p.session == nil {
		return // the event comes again
	}
	if how.nack {
		p.flush()
		p.session.handle.Post(&nak{subscription: p.session.id, id: id, how: how}, p.creds)
		return
	}
	p.acks = append(p.acks, id)
	if len(p.acks) >= max(1, min(p.opts.InFlight/2, esproto.MaxAckIDs)) {
		p.flush()
		return
	}
	if len(p.acks) > 1 {
		return // the timer runs
	}
	if p.ackTimer == nil {
		p.ackTimer = time.AfterFunc(p.opts.AckDelay, p.flushLate)
	} else {
		p.ackTimer.Reset(p.opts.AckDelay)
	}
}

func (p *PersistentSubscription) flushLate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flush()
}

// flush sends the gathered acks. p.mu is held.
func (p *PersistentSubscription) flush() {
	if len(p.acks) == 0 || p.session == nil {
		return
	}
	p.session.handle.Post(&ack{subscription: p.session.id, ids: p.acks}, p.creds)
	p.acks = p.acks[:0]
}

// ack is a list of event ids. At most esproto.MaxAckIDs are gathered.
type ack struct {
	subscription string
	ids          []esproto.GUID
}

func (a *ack) Command() esproto.Command { return esproto.CmdPersistentSubscriptionAckEvents }

func (a *ack) AppendPayload(b []byte) []byte { return esproto.AppendAck(b, a.subscription, a.ids) }

type nak struct {
	subscription string
	id           esproto.GUID
	how          settlement
}

func (n *nak) Command() esproto.Command { return esproto.CmdPersistentSubscriptionNakEvents }

func (n *nak) AppendPayload(b []byte) []byte {
	return esproto.AppendNak(b, n.subscription, []esproto.GUID{n.id}, n.how.reason, n.how.action)
}
