package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
)

// outcome is what becomes of a message that was offered to the consumer.
type outcome int

const (
	givenBack outcome = iota // to the server: the subscription ends
	acked
	givenUp // the verdict has the action
	nacked  // it is to be handed out again
)

type verdict struct {
	outcome outcome
	action  Action
	reason  string
}

// judge is the one place where the outcome of a message is decided, while the subscription lasts and while it ends.
// What the handler says afterwards no longer counts.
func (s *subscription) judge(d *delivery) verdict {
	d.mu.Lock()
	d.judged = true
	v := s.outcome(d)
	waits := d.endLocked(context.Canceled)
	d.mu.Unlock()
	if waits {
		d.cancel(context.Cause(s.ctx))
	}
	return v
}

// outcome weighs what is known, in the order of its weight. d.mu is held.
func (s *subscription) outcome(d *delivery) verdict {
	decided := d.decision != nil && (d.decision.action == ActionStop || s.src.gives(d.decision.action))
	nacks := int(d.nacks) + 1
	switch {
	case isClosed(d.msg.Acked()):
		return verdict{outcome: acked}
	case decided:
		return verdict{outcome: givenUp, action: d.decision.action, reason: d.decision.reason}
	case d.told, !isClosed(d.msg.Nacked()):
		return verdict{outcome: givenBack} // a nack because of the end says nothing about the message
	case s.cfg.MaxNacks > 0 && nacks >= s.cfg.MaxNacks:
		return verdict{outcome: givenUp, action: s.cfg.NackAction, reason: fmt.Sprintf("nacked %d times", nacks)}
	}
	return verdict{outcome: nacked}
}

// lastWord waits for the word on a message that is being processed while the subscription ends, if somebody is told of
// it.
func (s *subscription) lastWord(d *delivery) {
	if s.cfg.Mode != ModePersistent {
		return
	}
	grace := time.NewTimer(max(s.cfg.AckGrace, 0))
	defer grace.Stop()
	select {
	case <-d.msg.Acked():
	case <-d.msg.Nacked():
	case <-grace.C:
	}
}

// Why a word does not count.
var (
	errJudged     = errors.New("eventstore: the message was given back or handed out again before")
	errUnanswered = errors.New("eventstore: the handler has neither acked nor nacked the message within AckGrace")
)

// tooLate tells the log of a word that the server does not get to know.
func (s *subscription) tooLate(d *delivery, word string, err error) {
	if s.cfg.Mode == ModePersistent {
		s.log.Error("Too late: the server delivers the message again", err,
			s.fields(d, watermill.LogFields{"word": word}))
	}
}

// watchLate has the log told of a message that was given back while its handler was at work: now, and again if it is
// acked after all.
func (s *subscription) watchLate(d *delivery) {
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
			s.tooLate(d, "ack", errJudged)
		case <-d.msg.Nacked():
		case <-closing:
		}
	})
}
