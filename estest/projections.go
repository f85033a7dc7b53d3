package estest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// WithProjections makes the server run the system projections, as servers do with RunProjections=System and
// StartStandardProjections=true. They write links:
//
//   - $ce-<category>: to the events of all streams of a category, the part of the name before the first -
//   - $et-<type>: to the events of a type
//   - $bc-<id>: to the events with this $correlationId in their metadata, from 5.0 on
//   - $streams: to the first event of each stream
//   - $category-<category>: the names of the streams of a category
//
// They ignore streams whose names begin with $, except for the metadata of other streams.
//
// Projections are late: the reply to an append comes first, its links up to about 40 ms later, by the time of the
// system even with [WithClock]. Readers of links must wait, by a subscription or, in tests, by
// [Server.WaitForProjections]. [Server.PauseProjections] holds the links back.
//
// Only administrators may read a stream of links until it has its first link. With the first link the projection writes
// metadata by which every user may read it. The projections also write events about themselves: $projections-$all,
// $projections-<name>, checkpoints, and $et. In a cluster the leader runs them. HTTP requests list, enable, disable,
// reset and change them; the server stores projections that users create there, but does not run them. By default a
// server runs no projections, as real servers do.
func WithProjections() Option { return func(c *config) { c.projections = true } }

// ErrNoProjections is the error of WaitForProjections on a server without projections, for errors.Is.
var ErrNoProjections = errors.New("estest: the server runs no projections: start it with WithProjections")

// PauseProjections stops all writes of the projections until [Server.ResumeProjections]. They process the events of
// that time later. In a cluster the pause holds while this node leads.
func (s *Server) PauseProjections() { s.holdProjections(true) }

// ResumeProjections ends [Server.PauseProjections].
func (s *Server) ResumeProjections() { s.holdProjections(false) }

func (s *Server) holdProjections(held bool) {
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	if p := s.core.projector; p != nil {
		p.Hold(held)
	}
}

// WaitForProjections waits until the projections have processed every event that the server has at the time of the
// call. It does not wait for disabled or faulted projections. On a node of a cluster it waits for the projections of
// the leader. It returns [ErrNoProjections] without [WithProjections], and an error if the server is closed. While the
// projections are paused, or there is no leader, it waits until the context ends.
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

// signal reports changes to waiting goroutines. The lock of the data also guards the signal.
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

// projectionLag returns how long projections wait before they process new events. The distribution is that of real
// servers: a quarter of the links is there with the reply, the median of the others is 3.6 ms, the maximum 40 ms.
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
