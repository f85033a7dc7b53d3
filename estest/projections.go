package estest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// WithProjections has the server run the system projections, as servers do with RunProjections=System and
// StartStandardProjections=true. They write links: $ce-<category>, to the events of streams by what stands before the
// first - in their name; $et-<type>, to events by their type; $bc-<id>, to events by the $correlationId in their
// metadata, from 5.0 on; $streams, to the first event of each stream; and $category-<category>, which has the names of
// streams. Streams of the server, which begin with $, are left out, but for the metadata of other streams.
//
// Projections are late: the reply to an append comes first, and its links up to some 40 ms later, by the system's time
// also with WithClock. Who reads them must wait: by a subscription, or in tests by WaitForProjections.
// PauseProjections holds the links back.
//
// Only administrators may read a stream of links until it has its first one; with that comes metadata by which every
// user may. What projections write about themselves is there, too: the events of $projections-$all and of
// $projections-<name>, checkpoints, and $et. In a cluster the leader runs them. They are listed, enabled, disabled,
// reset and changed over HTTP; projections that users create there are kept and not run. The default is none, as it is
// of servers.
func WithProjections() Option { return func(c *config) { c.projections = true } }

// ErrNoProjections is the error of WaitForProjections on a server without projections, for errors.Is.
var ErrNoProjections = errors.New("estest: the server runs no projections: start it with WithProjections")

// PauseProjections has the projections of the server write nothing until ResumeProjections. What is appended meanwhile
// is not lost. In a cluster it holds the projections while this node leads.
func (s *Server) PauseProjections() { s.holdProjections(true) }

// ResumeProjections ends what PauseProjections began.
func (s *Server) ResumeProjections() { s.holdProjections(false) }

func (s *Server) holdProjections(held bool) {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	if p := s.core.projector; p != nil {
		p.Hold(held)
	}
}

// WaitForProjections returns when the projections have written what they make of all that the server has at the moment
// of the call. Projections that are disabled or faulted are not waited for. On a node of a cluster it waits for the
// projections of the leader. The error is ErrNoProjections without WithProjections, and says that the server is closed
// if it is; while the projections are paused, or there is no leader, the call waits until the context ends.
func (s *Server) WaitForProjections(ctx context.Context) error {
	if !s.cfg.projections {
		return ErrNoProjections
	}
	s.core.mu.Lock()
	end := s.core.log.End()
	for {
		if s.core.closed {
			s.core.mu.Unlock()
			return errClosed
		}
		if c := s.writer(); c != nil && c.projector.CaughtUp(end) {
			s.core.mu.Unlock()
			return nil
		}
		progress := s.core.projected.next()
		s.core.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			return fmt.Errorf("estest: the projections have not caught up: %w", ctx.Err())
		}
		s.core.mu.Lock()
	}
}

// signal tells whoever waits that something has changed. It is guarded by the lock of what changes.
type signal struct{ waited chan struct{} }

// next returns a channel that is closed with the next change.
func (s *signal) next() <-chan struct{} {
	if s.waited == nil {
		s.waited = make(chan struct{})
	}
	return s.waited
}

func (s *signal) raise() {
	if s.waited != nil {
		close(s.waited)
		s.waited = nil
	}
}

// project runs the projections until stop is closed.
func (s *Server) project(p *eventlog.Projector, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-p.Wake():
		}
		if !pause(projectionLag(), stop) {
			return
		}
		for more := true; more; {
			var busy bool
			if !s.lockAwake(stop) {
				return
			}
			more, busy = p.Step()
			s.core.mu.Unlock()
			if busy && !pause(eventlog.BetweenSteps, stop) {
				return
			}
		}
	}
}

// projectionLag is how long projections take to begin with what is new. That is the lag of real servers: a quarter of
// the links is there when the reply comes, the median of the others is 3.6 ms, the longest took 40 ms.
func projectionLag() time.Duration {
	if rand.N(4) == 0 {
		return 0
	}
	lag := 2*time.Millisecond + time.Duration(rand.ExpFloat64()*2.3*float64(time.Millisecond))
	return min(lag, 40*time.Millisecond)
}

// pause returns false if stop is closed before d has passed.
func pause(d time.Duration, stop <-chan struct{}) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop:
		return false
	}
}
