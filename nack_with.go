package eventstore

import "github.com/ThreeDotsLabs/watermill/message"

// decision is the argument of a NackWith call.
type decision struct {
	action Action
	reason string
}

// NackWith nacks a received message and applies action to it, instead of [SubscriberConfig.MaxNacks] and
// [SubscriberConfig.NackAction]. The server keeps reason with a parked message, and the logger gets it. In
// [ModePersistent] and with Checkpoints a decision counts, as an ack does, until [SubscriberConfig.AckGrace] after the
// end of the subscription.
//
// NackWith returns whether the decision counts. It returns false:
//   - if the message was acked, or another action was decided before;
//   - if no [Subscriber] of this package handed out the message;
//   - if the outcome of the message is fixed, after AckGrace or an earlier Nack. The logger gets an error then.
//
// With [ActionDefault], and where the action needs a consumer group and there is none, the message is redelivered, as
// after Nack.
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
		d.s.logLateAnswer(d, "NackWith", errOutcomeFixed)
	}
	return counts
}

// decide records the decision of a NackWith call. late is true if the call came too late and no other answer counts.
func (d *delivery) decide(action Action, reason string) (counts, late bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	earlier := d.decisionLocked()
	switch nacked := d.msg.Nack(); {
	case !nacked:
		return false, false
	case earlier != nil:
		return earlier.action == action, false
	case d.outcomeFixed:
		return false, true
	}
	if action != ActionDefault {
		d.demandLocked().decision = &decision{action, reason}
	}
	return true, false
}
