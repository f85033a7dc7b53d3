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

// delivery is an event on its way through a subscription. The fields belong to the goroutine that hands it out, while that
// waits for the handler's word to the handler.
type delivery struct {
	event *esclient.Event
	nacks int // how often it was nacked here

	mu     sync.Mutex
	action Action // what NackWith asked for; ActionDefault if it was not called
	reason string
}

// NackWith nacks a received message and decides what becomes of it, instead of SubscriberConfig.MaxNacks and NackAction;
// the reason is kept with parked messages and logged. It returns false, like Nack, if the message was acked, and if it was
// not handed out by a Subscriber of this package. Where the action needs a consumer group and there is none, the message
// is handed out again, as after Nack; so it is with ActionDefault.
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
		d := &delivery{event: e}
		if msg, ok := s.unmarshal(d); !ok || msg != nil && !s.deliver(d, msg) {
			return nil
		}
	}
}

// unmarshal makes the message of an event, with the context that it will have. Where that fails it does what is configured,
// and returns none; ok is false if that ends the subscription.
func (s *subscription) unmarshal(d *delivery) (msg *message.Message, ok bool) {
	msg, err := s.cfg.Unmarshaler.Unmarshal(s.topic, d.event)
	if err == nil && msg == nil {
		err = errors.New("the Unmarshaler returned neither a message nor an error")
	}
	if err != nil {
		err = &MarshalError{Err: err}
		s.log.Error("Event cannot be unmarshaled", err, s.fields(d, watermill.LogFields{"action": s.cfg.UnmarshalAction.String()}))
		return nil, s.giveUp(d, s.cfg.UnmarshalAction, err.Error())
	}
	msg.SetContext(&deliveryContext{Context: s.ctx, d: d})
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

// deliver hands out the message of an event until it is acked or given up. It returns false if the subscription is to end.
func (s *subscription) deliver(d *delivery, msg *message.Message) bool {
	for {
		acked, ok := s.handOut(d, msg)
		if acked {
			s.src.ack(d.event)
		}
		if acked || !ok {
			return ok
		}
		d.nacks++
		if action, reason := s.verdict(d); action != ActionDefault {
			s.log.Info("Message given up", s.fields(d, watermill.LogFields{
				"message_uuid": msg.UUID, "action": action.String(), "reason": reason,
			}))
			return s.giveUp(d, action, reason)
		}
		if !s.pause() {
			return false
		}
		if msg, ok = s.unmarshal(d); msg == nil {
			return ok
		}
	}
}

// handOut gives a message to the consumer and waits for its word. ok is false if the subscription ended.
func (s *subscription) handOut(d *delivery, msg *message.Message) (acked, ok bool) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	msg.SetContext(&deliveryContext{Context: ctx, d: d})
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

// lastWord waits for the ack of a message that is being processed while the subscription ends, if somebody is told of it.
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
	if s.cfg.MaxNacks > 0 && d.nacks >= s.cfg.MaxNacks {
		return s.cfg.NackAction, fmt.Sprintf("nacked %d times", d.nacks)
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
	return more.Add(watermill.LogFields{"event_number": o.Number, "event_id": o.ID.String(), "event_type": d.event.Type})
}
