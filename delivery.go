package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// subscription is one Subscribe call: events come in from its source, messages go out on its channel.
type subscription struct {
	cfg   *SubscriberConfig
	topic string
	src   source
	out   chan *message.Message
	log   watermill.LoggerAdapter
	trace bool

	ctx    context.Context // the parent of the messages' contexts; ends with the subscription
	cancel context.CancelFunc
}

// delivery is a message on its way to the consumer, and its context. It is one value with all that is known of the
// message, and what can be cancelled is made when somebody asks for it, since most handlers do not.
type delivery struct {
	subscription context.Context // the parent
	event        *esclient.Event
	nacks        int // how often the event was nacked here before

	mu     sync.Mutex
	action Action // what NackWith asked for; ActionDefault if it was not called
	reason string
	over   bool            // the message was acked or nacked, or its subscription ended
	real   context.Context // nil until somebody waits
	cancel context.CancelFunc
}

var _ context.Context = (*delivery)(nil)

// again is the delivery of the event after a nack.
func (d *delivery) again() *delivery {
	return &delivery{subscription: d.subscription, event: d.event, nacks: d.nacks + 1}
}

// end cancels the context.
func (d *delivery) end() {
	d.mu.Lock()
	d.over = true
	cancel := d.cancel
	d.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (d *delivery) Deadline() (time.Time, bool) { return d.subscription.Deadline() }

func (d *delivery) Done() <-chan struct{} { return d.context(true).Done() }

func (d *delivery) Err() error { return d.context(false).Err() }

func (d *delivery) Value(key any) any {
	if key == (deliveryKey{}) {
		return d
	}
	return d.context(false).Value(key)
}

// context returns the context that stands for this one. That is the parent's as long as nobody needs more of it.
func (d *delivery) context(wait bool) context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.real == nil && (wait || d.over) {
		d.real, d.cancel = context.WithCancel(d.subscription)
		if d.over {
			d.cancel()
		}
	}
	if d.real == nil {
		return d.subscription
	}
	return d.real
}

// NackWith nacks a received message and decides what becomes of it, instead of SubscriberConfig.MaxNacks and
// NackAction; the reason is kept with parked messages and logged. It returns false, like Nack, if the message was
// acked, and if it was not handed out by a Subscriber of this package. Where the action needs a consumer group and
// there is none, the message is handed out again, as after Nack; so it is with ActionDefault.
func NackWith(msg *message.Message, action Action, reason string) bool {
	d := deliveryFromCtx(msg.Context())
	if d == nil {
		return false
	}
	d.mu.Lock()
	d.action, d.reason = action, reason
	d.mu.Unlock()
	return msg.Nack()
}

// run hands out what comes until the subscription ends.
func (s *subscription) run() {
	defer close(s.out)
	defer s.src.stop()
	defer s.cancel()
	var err error
	if s.cfg.Concurrency > 1 {
		err = s.runLanes()
	} else {
		err = s.runSerial()
	}
	switch {
	case err == nil, s.ctx.Err() != nil:
		s.log.Info("Subscription ended", nil)
	default:
		s.log.Error("Subscription ended", err, nil)
	}
}

func (s *subscription) runSerial() error {
	for {
		e, err := s.src.next(s.ctx)
		if err != nil {
			return err
		}
		d := &delivery{subscription: s.ctx, event: e}
		if msg, ok := s.unmarshal(d); !ok || msg != nil && !s.deliver(d, msg) {
			return nil
		}
	}
}

// unmarshal makes the message of an event, with the context that it will have. Where that fails it does what is
// configured, and returns none; ok is false if that ends the subscription.
func (s *subscription) unmarshal(d *delivery) (msg *message.Message, ok bool) {
	msg, err := s.cfg.Unmarshaler.Unmarshal(s.topic, d.event)
	if err == nil && msg == nil {
		err = errors.New("the Unmarshaler returned neither a message nor an error")
	}
	if err != nil {
		err = &MarshalError{Err: err}
		s.log.Error("Event cannot be unmarshaled", err,
			s.fields(d, watermill.LogFields{"action": s.cfg.UnmarshalAction.String()}))
		return nil, s.giveUp(d, s.cfg.UnmarshalAction, err.Error())
	}
	msg.SetContext(d)
	return msg, true
}

// giveUp returns false if the subscription is to end.
func (s *subscription) giveUp(d *delivery, action Action, reason string) bool {
	if action == ActionStop {
		s.cancel()
		return false
	}
	s.src.giveUp(d.event, action, reason)
	return true
}

// deliver hands out the message of an event until it is acked or given up. It returns false if the subscription is to
// end.
func (s *subscription) deliver(d *delivery, msg *message.Message) bool {
	for {
		acked, ok := s.handOut(d, msg)
		if acked {
			s.src.ack(d.event)
		}
		if acked || !ok {
			return ok
		}
		if action, reason := s.verdict(d); action != ActionDefault {
			s.log.Info("Message given up", s.fields(d, watermill.LogFields{
				"message_uuid": msg.UUID, "action": action.String(), "reason": reason,
			}))
			return s.giveUp(d, action, reason)
		}
		if !s.pause() {
			return false
		}
		d = d.again()
		if msg, ok = s.unmarshal(d); msg == nil {
			return ok
		}
	}
}

// handOut gives a message to the consumer and waits for its word. ok is false if the subscription ended.
func (s *subscription) handOut(d *delivery, msg *message.Message) (acked, ok bool) {
	defer d.end()
	select {
	case s.out <- msg:
	case <-s.ctx.Done():
		return false, false
	}
	if s.trace {
		s.log.Trace("Message handed out", s.fields(d, watermill.LogFields{"message_uuid": msg.UUID, "nacks": d.nacks}))
	}
	select {
	case <-msg.Acked():
		return true, true
	case <-msg.Nacked():
		return false, true
	case <-s.ctx.Done():
		return s.lastWord(msg), false
	}
}

// lastWord waits for the ack of a message that is being processed while the subscription ends, if somebody is told of
// it.
func (s *subscription) lastWord(msg *message.Message) (acked bool) {
	if s.cfg.Mode != ModePersistent {
		return false
	}
	grace := time.NewTimer(max(s.cfg.AckGrace, 0))
	defer grace.Stop()
	select {
	case <-msg.Acked():
		return true
	case <-msg.Nacked():
	case <-grace.C:
		select {
		case <-msg.Acked():
			return true
		default:
		}
	}
	return false
}

// verdict is what becomes of a message that was just nacked; ActionDefault if it is to be handed out again.
func (s *subscription) verdict(d *delivery) (Action, string) {
	d.mu.Lock()
	action, reason := d.action, d.reason
	d.action, d.reason = ActionDefault, ""
	d.mu.Unlock()
	if action == ActionStop || action != ActionDefault && s.src.gives(action) {
		return action, reason
	}
	if nacks := d.nacks + 1; s.cfg.MaxNacks > 0 && nacks >= s.cfg.MaxNacks {
		return s.cfg.NackAction, fmt.Sprintf("nacked %d times", nacks)
	}
	return ActionDefault, ""
}

// pause waits before a message is handed out again. It returns false if the subscription ends.
func (s *subscription) pause() bool {
	if s.cfg.NackDelay <= 0 {
		return s.ctx.Err() == nil
	}
	t := time.NewTimer(s.cfg.NackDelay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (s *subscription) fields(d *delivery, more watermill.LogFields) watermill.LogFields {
	o := d.event.Original()
	return more.Add(watermill.LogFields{
		"event_number": o.Number, "event_id": o.ID.String(), "event_type": d.event.Type,
	})
}
