package esclient

import (
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Ack tells the server that the consumer has processed the events. Ack does not wait: the subscription gathers acks,
// see PersistentOptions.AckDelay, and the server does not reply to them. Without a connection the subscription keeps
// them, and sends them when the server delivers the events again. Events that were settled before are ignored. The
// error is the one that has ended the subscription; the server then delivers the events again.
func (p *PersistentSubscription) Ack(events ...*Event) error {
	return p.settle(acked, events)
}

// MaxNackReason is how many bytes of a reason Nack keeps.
const MaxNackReason = 8 << 10

// Nack makes the server apply an action to events that the consumer could not process. The server stores the reason, of
// which MaxNackReason bytes are kept, with parked events. Nack is sent at once; in all else it is as Ack.
func (p *PersistentSubscription) Nack(action NackAction, reason string, events ...*Event) error {
	if action < NackPark || action > NackStop {
		return &ArgumentError{
			Argument: "action", Reason: action.String() + " is none of NackPark, NackRetry, NackSkip, NackStop",
		}
	}
	reason = strings.ToValidUTF8(reason[:min(len(reason), MaxNackReason)], "")
	return p.settle(&settlement{nack: true, action: action, reason: reason}, events)
}

func (p *PersistentSubscription) settle(how *settlement, events []*Event) error {
	told, sent, drained, err := p.take(how, events)
	if sent {
		// The consumer and its handler pass events to each other. Without this call they can keep the connection's
		// writer off the CPU for milliseconds, and the server stops pushing.
		runtime.Gosched()
	}
	if how.nack && how.action == NackPark {
		p.prove(p.current())
	}
	if len(told) > 0 {
		p.report.settled(told, *how)
	}
	if drained {
		p.endIfDrained()
	}
	return err
}

// take settles the events that are held. It returns them if a hook observes acks, and whether acks were sent.
func (p *PersistentSubscription) take(
	how *settlement, events []*Event,
) (told []*Event, sent, drained bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended != nil {
		return nil, false, false, p.ended
	}
	var nacked []esproto.GUID
	for _, e := range events {
		o := e.Original()
		f := p.ledger.flight(o)
		if f == nil {
			continue
		}
		p.gotOn(f)
		if how.nack && how.action == NackRetry {
			p.ledger.release(f) // it comes again
			p.session.freeSlot(-1)
		} else {
			p.ledger.settle(f, how, p.session)
			if p.away {
				p.unrepeated++
			}
		}
		if id := esproto.NewGUID(o.ID); how.nack {
			nacked = append(nacked, id)
		} else {
			sent = p.sendAck(id) || sent
		}
		if p.report.wantsSettled() {
			told = append(told, e)
		}
	}
	p.sendNack(nacked, how)
	if p.ledger.holding == 0 && p.pushLimit.mayGrow() {
		p.queue.signal() // for Next, which makes the subscription grow
	}
	return told, sent, p.draining && p.ledger.holding == 0, nil
}

// settleAgain repeats the settlement of an event that the server delivers again. p.mu is held.
func (p *PersistentSubscription) settleAgain(o *Event, retries int32) {
	p.repeatedOne()
	id, k := esproto.NewGUID(o.ID), p.ledger.parkOf(o)
	if o.Stream == p.stream {
		p.session.freeSlot(o.Number)
	} else {
		p.session.freeSlot(-1)
	}
	switch {
	case k == nil, k.arrived && (k.session != p.session || retries == 0):
		p.sendAck(id)
	default: // the server has not read it, or read it too late
		k.session, k.arrived = p.session, false
		k.sent++
		p.sendNack([]esproto.GUID{id}, k.how)
	}
}

// sendNack sends ids after the acks that were made before, in as many frames as needed. p.mu is held.
func (p *PersistentSubscription) sendNack(ids []esproto.GUID, how *settlement) {
	if p.session == nil || len(ids) == 0 {
		return // the events come again
	}
	p.flush()
	for some := range slices.Chunk(ids, esproto.MaxAckIDs) {
		p.session.handle.Post(&nak{subscription: p.session.id, ids: some, how: how}, p.creds)
	}
}

// sendAck gathers ids. It sends them when there are enough. p.mu is held.
func (p *PersistentSubscription) sendAck(id esproto.GUID) (sent bool) {
	if p.session == nil {
		return false // the event comes again
	}
	p.acks = append(p.acks, id)
	if len(p.acks) >= max(1, min(p.pushLimit.window/2, esproto.MaxAckIDs)) {
		p.flush()
		return true
	}
	if len(p.acks) > 1 {
		return false // the timer runs
	}
	if p.ackTimer == nil {
		p.ackTimer = time.AfterFunc(p.opts.AckDelay, p.flushLate)
	} else {
		p.ackTimer.Reset(p.opts.AckDelay)
	}
	return false
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
	ids          []esproto.GUID
	how          *settlement
}

func (n *nak) Command() esproto.Command { return esproto.CmdPersistentSubscriptionNakEvents }

func (n *nak) AppendPayload(b []byte) []byte {
	action := esproto.PersistentSubscriptionNakEvents_NakAction(n.how.action)
	return esproto.AppendNak(b, n.subscription, n.ids, n.how.reason, action)
}

// current returns the session, nil while there is none.
func (p *PersistentSubscription) current() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session
}
