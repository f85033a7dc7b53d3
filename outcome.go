package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
)

// outcome is the result of one delivery.
type outcome struct {
	kind   outcomeKind
	action Action // of outcomeAction
	reason string // of outcomeAction
}

type outcomeKind int

const (
	outcomeGivenBack outcomeKind = iota // to the server: the subscription ends
	outcomeAcked
	outcomeAction // apply the action
	outcomeRedeliver
)

// fixOutcome decides the outcome of a delivery, during the subscription and at its end. No other function decides it. A
// later answer of the handler does not count.
func (s *subscription) fixOutcome(d *delivery) outcome {
	d.mu.Lock()
	d.outcomeFixed = true
	o := s.outcome(d)
	cancel := d.endLocked(endedByOutcome)
	d.mu.Unlock()
	if cancel != nil {
		cancel(context.Cause(s.ctx))
	}
	return o
}

// outcome returns the first outcome that applies: acked, an action decided by NackWith, given back, nacked. The caller
// holds d.mu.
func (s *subscription) outcome(d *delivery) outcome {
	how := d.decisionLocked()
	decided := how != nil && (how.action == ActionStop || s.src.supports(how.action))
	nacks := int(d.nacks) + 1
	switch {
	case isClosed(d.msg.Acked()):
		return outcome{kind: outcomeAcked}
	case decided:
		return outcome{kind: outcomeAction, action: how.action, reason: how.reason}
	case d.sawEnd, !isClosed(d.msg.Nacked()):
		return outcome{kind: outcomeGivenBack} // a nack after the end may have the end as its reason
	case s.cfg.MaxNacks > 0 && nacks >= s.cfg.MaxNacks:
		return outcome{
			kind: outcomeAction, action: s.cfg.NackAction, reason: fmt.Sprintf("nacked %d times", nacks),
		}
	}
	return outcome{kind: outcomeRedeliver}
}

// awaitAnswer waits for the handler's answer after the end of the subscription, for AckGrace at most. Only a consumer
// group and a checkpoint need the answer.
func (s *subscription) awaitAnswer(d *delivery) {
	if s.cfg.Mode != ModePersistent && s.keeper == nil {
		return
	}
	if errors.Is(context.Cause(s.ctx), ErrCheckpointTaken) {
		return // nothing can be saved any more
	}
	grace := time.NewTimer(max(s.cfg.AckGrace, 0))
	defer grace.Stop()
	select {
	case <-d.msg.Acked():
	case <-d.msg.Nacked():
	case <-grace.C:
	}
}

// Why an answer does not count.
var (
	errOutcomeFixed = errors.New("eventstore: the message was given back or handed out again before")
	errUnanswered   = errors.New("eventstore: the handler has neither acked nor nacked the message within AckGrace")
)

// logLateAnswer logs an answer that does not reach the server.
func (s *subscription) logLateAnswer(d *delivery, answer string, err error) {
	if s.cfg.Mode == ModePersistent {
		s.log.Error("Too late: the server delivers the message again", err,
			s.fields(d, watermill.LogFields{"answer": answer}))
	}
}

// watchForLateAck logs that a message was given back while its handler was running. It also logs an ack that comes
// later.
func (s *subscription) watchForLateAck(d *delivery) {
	if s.keeper != nil && s.cfg.AckGrace > 0 && !errors.Is(context.Cause(s.ctx), ErrCheckpointTaken) {
		s.log.Error("Message is behind the checkpoint: the next subscription hands it out again", errUnanswered,
			s.fields(d, watermill.LogFields{"ack_grace": s.cfg.AckGrace.String()}))
	}
	if s.cfg.Mode != ModePersistent {
		return
	}
	if s.cfg.AckGrace > 0 {
		s.log.Error("Message given back to the server", errUnanswered,
			s.fields(d, watermill.LogFields{"ack_grace": s.cfg.AckGrace.String()}))
	}
	s.owner.goWhileOpen(func(closing <-chan struct{}) {
		select {
		case <-d.msg.Acked():
			s.logLateAnswer(d, "ack", errOutcomeFixed)
		case <-d.msg.Nacked():
		case <-closing:
		}
	})
}
