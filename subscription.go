package eventstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// subscription is the result of one Subscribe call: it reads events from a source and sends messages on a channel.
type subscription struct {
	owner  *Subscriber
	cfg    *SubscriberConfig
	topic  string
	stream string
	src    source
	keeper *checkpointKeeper // nil without Checkpoints
	live   *liveSignal
	out    chan *message.Message
	log    watermill.LoggerAdapter
	trace  bool

	ctx    context.Context // ends with the subscription
	done   <-chan struct{} // closed when ctx ends
	values context.Context // has the values of ctx and never ends: the parent of the contexts of messages
	cancel context.CancelCauseFunc
	unlink func() bool // from the context of the Subscriber
}

// sourceError is the cause of a subscription's context when the source has ended the subscription.
type sourceError struct{ err error }

func (e *sourceError) Error() string {
	return "eventstore: the subscription has ended: " + e.err.Error()
}
func (e *sourceError) Unwrap() error { return e.err }

// fail ends the subscription with the error of its source.
func (s *subscription) fail(err error) { s.cancel(&sourceError{err}) }

// beginning returns where a catch-up subscription begins: somebody may wonder why old messages come again, or none.
func (s *subscription) beginning() watermill.LogFields {
	src, ok := s.src.(*streamSource)
	if !ok || s.cfg.Mode != ModeCatchUp {
		return nil
	}
	start := src.start
	if start == (esclient.Start{}) {
		start = esclient.FromStart()
	}
	fields := watermill.LogFields{"start": start.String()}
	if s.keeper != nil {
		fields["checkpoint_name"] = s.keeper.name
	}
	return fields
}

func (s *subscription) ended() bool { return isClosed(s.done) }

// run hands out messages until the subscription ends.
func (s *subscription) run() {
	defer close(s.out)
	defer s.src.stop()
	defer s.unlink()
	var watcher sync.WaitGroup
	watcher.Go(s.watch)
	if s.keeper != nil {
		go s.keeper.run(s.fail)
	}
	if s.cfg.Concurrency > 1 {
		s.runLanes()
	} else {
		s.runSerial()
	}
	s.cancel(nil)
	watcher.Wait()
	s.owner.closeCheckpoint(s.keeper)
	var failed *sourceError
	if errors.As(context.Cause(s.ctx), &failed) {
		s.log.Error("Subscription ended", s.explain(failed.err), nil)
		return
	}
	s.log.Info("Subscription ended", nil)
}

// explain adds advice to an error that needs it.
func (s *subscription) explain(err error) error {
	if errors.Is(err, esclient.ErrGroupNotFound) && !s.cfg.DisableGroupCreation {
		return fmt.Errorf("%w: Subscribe creates the group again; with RecreateGroup the subscription does", err)
	}
	return err
}

// watch ends the subscription when its source ends, even while a handler is running.
func (s *subscription) watch() {
	select {
	case <-s.src.ended():
		s.fail(s.src.err())
	case <-s.owner.conn.client().Closed():
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
		d := s.take(e)
		if d == nil {
			continue
		}
		for d = s.deliver(d); d != nil; d = s.deliver(d) {
			s.src.readAhead(s.ctx, s.fail)
			if !sleep(s.ctx, d.nextDelay()) {
				return
			}
		}
	}
}

// take begins the delivery of an event. It returns nil for a link that is not handed out.
func (s *subscription) take(e *esclient.Event) *delivery {
	d := &delivery{s: s, event: e}
	s.keeper.begin(e)
	s.live.begin(d)
	if unresolved(e) && !s.handsOutUnresolved(d) {
		return nil
	}
	return d
}

// settled records that the message of a delivery needs no redelivery.
func (s *subscription) settled(d *delivery) {
	s.keeper.settle(d.event)
	s.live.settle(d)
}

// unmarshal makes the message of an event and sets its context. If that fails, it applies UnmarshalAction and returns
// false.
func (s *subscription) unmarshal(d *delivery) bool {
	msg, err := s.cfg.Unmarshaler.Unmarshal(s.topic, d.event)
	if err == nil && msg == nil {
		err = errors.New("the Unmarshaler returned neither a message nor an error")
	}
	if err != nil {
		err = &MarshalError{Err: err}
		s.log.Error("Event cannot be unmarshaled", err,
			s.fields(d, watermill.LogFields{"action": s.cfg.UnmarshalAction.String()}))
		s.apply(d, s.cfg.UnmarshalAction, err.Error())
		return false
	}
	d.msg = msg
	msg.SetContext(d)
	return true
}

// apply applies an action to the event of a delivery.
func (s *subscription) apply(d *delivery, action Action, reason string) {
	if action == ActionStop {
		s.cancel(nil)
		return
	}
	if err := s.src.nack(d.event, action, reason); err != nil {
		s.logLateAnswer(d, action.String(), err)
	}
	s.settled(d)
}

// deliver hands out a message once and settles its event by the handler's answer. After a nack it returns the
// redelivery, which is due after a delay; otherwise it returns nil.
func (s *subscription) deliver(d *delivery) (redelivery *delivery) {
	if s.ended() || d.msg == nil && !s.unmarshal(d) {
		return nil
	}
	switch o := s.handOut(d); o.kind {
	case outcomeAcked:
		if err := s.src.ack(d.event); err != nil {
			s.logLateAnswer(d, "ack", err)
		}
		s.settled(d)
	case outcomeAction:
		s.log.Info("Message given up", s.fields(d, watermill.LogFields{
			"action": o.action.String(), "reason": o.reason,
		}))
		s.apply(d, o.action, o.reason)
	case outcomeRedeliver:
		redelivery = d.redelivery()
		s.logNack(d, int(redelivery.nacks))
	case outcomeGivenBack:
		if d.outcomeFixed && !isClosed(d.msg.Nacked()) {
			s.watchForLateAck(d)
		}
	}
	return redelivery
}

// handOut hands out a message, waits for the handler's answer and decides the outcome.
func (s *subscription) handOut(d *delivery) outcome {
	if !s.offer(d) {
		return outcome{kind: outcomeGivenBack} // the consumer did not receive the message
	}
	if s.trace {
		s.log.Trace("Message handed out", s.fields(d, watermill.LogFields{"nacks": d.nacks}))
	}
	// A quick handler answers meanwhile. To look costs less than to wait for three channels.
	runtime.Gosched()
	select {
	case <-d.msg.Acked():
	case <-d.msg.Nacked(): // a nack right before the end of the subscription counts
	default:
		// While this goroutine waits, select returns the case that comes first.
		select {
		case <-d.msg.Acked():
		case <-d.msg.Nacked():
		case <-s.done:
			d.endWithSubscription(false)
			s.awaitAnswer(d)
		}
	}
	return s.fixOutcome(d)
}

// offer waits until the consumer takes a message. It returns false if the subscription ends first or the message goes
// back to the server first.
func (s *subscription) offer(d *delivery) bool {
	for {
		revoked, ok := s.src.offer(d.event)
		if !ok || s.ended() {
			return false
		}
		select {
		case s.out <- d.msg: // most consumers wait already, and a select of one case is faster
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
