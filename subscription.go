package eventstore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// subscription is one Subscribe call: events come in from its source, messages go out on its channel.
type subscription struct {
	owner *Subscriber
	cfg   *SubscriberConfig
	topic string
	src   source
	out   chan *message.Message
	log   watermill.LoggerAdapter
	trace bool

	ctx    context.Context // ends with the subscription
	done   <-chan struct{} // closed when ctx ends
	values context.Context // the values of ctx, which never ends: the parent of what handlers wait for
	cancel context.CancelCauseFunc
	unlink func() bool // from the end of the Subscriber
}

// sourceError is why a subscription ends that nobody has asked to end. It is the cause of its context.
type sourceError struct{ err error }

func (e *sourceError) Error() string {
	return "eventstore: the subscription has ended: " + e.err.Error()
}
func (e *sourceError) Unwrap() error { return e.err }

// fail ends the subscription because its source has ended.
func (s *subscription) fail(err error) { s.cancel(&sourceError{err}) }

func (s *subscription) ended() bool { return isClosed(s.done) }

// run hands out what comes until the subscription ends.
func (s *subscription) run() {
	defer close(s.out)
	defer s.src.stop()
	defer s.unlink()
	var watcher sync.WaitGroup
	watcher.Go(s.watch)
	if s.cfg.Concurrency > 1 {
		s.runLanes()
	} else {
		s.runSerial()
	}
	s.cancel(nil)
	watcher.Wait()
	var failed *sourceError
	if errors.As(context.Cause(s.ctx), &failed) {
		s.log.Error("Subscription ended", s.explain(failed.err), nil)
		return
	}
	s.log.Info("Subscription ended", nil)
}

// explain says how to go on, where that is not plain.
func (s *subscription) explain(err error) error {
	if errors.Is(err, esclient.ErrGroupNotFound) && !s.cfg.DisableGroupCreation {
		return fmt.Errorf("%w: Subscribe makes the group anew, and with RecreateGroup the subscription does", err)
	}
	return err
}

// watch ends the subscription when its source ends by itself, whatever the consumer is doing.
func (s *subscription) watch() {
	select {
	case <-s.src.ended():
		s.fail(s.src.err())
	case <-s.owner.conn.client.Closed():
		s.fail(esclient.ErrClosed)
	case <-s.done:
	}
}

func (s *subscription) runSerial() {
	for !s.ended() {
		e, err := s.src.next(s.ctx)
		if err != nil {
			s.fail(err)
			return
		}
		for d := s.deliver(&delivery{s: s, event: e}); d != nil; d = s.deliver(d) {
			s.src.lookOut(s.ctx, s.fail)
			if !sleep(s.ctx, d.nextDelay()) {
				return
			}
		}
	}
}

// unmarshal makes the message of an event, with the context that it will have. Where that fails it does what is
// configured, and returns false.
func (s *subscription) unmarshal(d *delivery) bool {
	msg, err := s.cfg.Unmarshaler.Unmarshal(s.topic, d.event)
	if err == nil && msg == nil {
		err = errors.New("the Unmarshaler returned neither a message nor an error")
	}
	if err != nil {
		err = &MarshalError{Err: err}
		s.log.Error("Event cannot be unmarshaled", err,
			s.fields(d, watermill.LogFields{"action": s.cfg.UnmarshalAction.String()}))
		s.giveUp(d, s.cfg.UnmarshalAction, err.Error())
		return false
	}
	d.msg = msg
	msg.SetContext(d)
	return true
}

func (s *subscription) giveUp(d *delivery, action Action, reason string) {
	if action == ActionStop {
		s.cancel(nil)
		return
	}
	if err := s.src.giveUp(d.event, action, reason); err != nil {
		s.tooLate(d, action.String(), err)
	}
}

// deliver hands out the message of an event once and does what its handler says. It returns what to deliver then, after
// a delay, of the same event; nil if that is dealt with.
func (s *subscription) deliver(d *delivery) (again *delivery) {
	if s.ended() || d.msg == nil && !s.unmarshal(d) {
		return nil
	}
	switch v := s.handOut(d); v.outcome {
	case acked:
		if err := s.src.ack(d.event); err != nil {
			s.tooLate(d, "ack", err)
		}
	case givenUp:
		s.log.Info("Message given up", s.fields(d, watermill.LogFields{
			"action": v.action.String(), "reason": v.reason,
		}))
		s.giveUp(d, v.action, v.reason)
	case nacked:
		again = d.again()
		s.logNack(d, int(again.nacks))
	case givenBack:
		if d.judged && !isClosed(d.msg.Nacked()) {
			s.watchLate(d)
		}
	}
	return again
}

// handOut gives a message to the consumer, waits for its word and judges it.
func (s *subscription) handOut(d *delivery) verdict {
	if !s.offer(d) {
		return verdict{outcome: givenBack} // nobody has it
	}
	if s.trace {
		s.log.Trace("Message handed out", s.fields(d, watermill.LogFields{"nacks": d.nacks}))
	}
	select {
	case <-d.msg.Nacked(): // perhaps just before the end, which must not hide it
	default:
		// A goroutine that waits here is told what came first.
		select {
		case <-d.msg.Acked():
		case <-d.msg.Nacked():
		case <-s.done:
			d.endWithSubscription(false)
			s.lastWord(d)
		}
	}
	return s.judge(d)
}

// offer waits until the consumer takes a message. It returns false if the subscription ended, or the message went back
// to the server, before.
func (s *subscription) offer(d *delivery) bool {
	for {
		revoked, ok := s.src.offer(d.event)
		if !ok || s.ended() {
			return false
		}
		select {
		case s.out <- d.msg: // at once, as most consumers wait: that is quicker than to wait for everything
			s.src.begin(d.event)
			return true
		default:
		}
		select {
		case s.out <- d.msg:
			s.src.begin(d.event)
			return true
		case <-revoked:
		case <-s.done:
			return false
		}
	}
}

func (s *subscription) fields(d *delivery, more watermill.LogFields) watermill.LogFields {
	o := d.event.Original()
	fields := more.Add(watermill.LogFields{
		"event_number": o.Number, "event_id": o.ID.String(), "event_type": d.event.Type,
	})
	if d.msg != nil {
		fields["message_uuid"] = d.msg.UUID
	}
	return fields
}
