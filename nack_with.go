package eventstore

import "github.com/ThreeDotsLabs/watermill/message"

// decision is what NackWith asked for.
type decision struct {
	action Action
	reason string
}

// NackWith nacks a received message and decides what becomes of it, instead of SubscriberConfig.MaxNacks and
// NackAction; the reason is kept with parked messages and logged. In ModePersistent it counts, as an ack does, until
// SubscriberConfig.AckGrace after the subscription's end.
//
// It returns whether it counts. It does not, like Nack, if the message was acked, nor if another decision came before,
// nor if the message was not handed out by a Subscriber of this package. It does not, and the log is told, if it comes
// after the grace or after a Nack that was heeded. Where the action needs a consumer group and there is none, the
// message is handed out again, as after Nack; so it is with ActionDefault.
func NackWith(msg *message.Message, action Action, reason string) bool {
	d := deliveryFromCtx(msg.Context())
	if d == nil {
		return false
	}
	counts, late := d.decide(action, reason)
	if msg != d.msg {
		msg.Nack() // a copy, as a middleware may make one
	}
	if late {
		d.s.tooLate(d, "NackWith", errJudged)
	}
	return counts
}

// decide takes the word of NackWith. late is true if there is no other word of the handler that stands.
func (d *delivery) decide(action Action, reason string) (counts, late bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch nacked := d.msg.Nack(); {
	case !nacked:
		return false, false
	case d.decision != nil:
		return d.decision.action == action, false
	case d.judged:
		return false, true
	}
	if action != ActionDefault {
		d.decision = &decision{action, reason}
	}
	return true, false
}
