package eventstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/cenkalti/backoff/v4"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Delays between attempts to join a group that another client deletes as soon as it is created.
const (
	joinDelay    = 50 * time.Millisecond
	maxJoinDelay = 5 * time.Second
)

// joinGroup connects to the group, and creates it if it is missing. It connects first, so that a user who may only
// consume does not need the right to create groups. Only if the call before had to create its group, joinGroup creates
// this one first: it saves a read of the configuration of all groups. While the server answers in turn that the group
// exists and that it does not, joinGroup tries again until ctx ends.
func (s *Subscriber) joinGroup(ctx context.Context, stream string, log watermill.LoggerAdapter) (source, error) {
	if stream == esclient.AllStream {
		return nil, &esclient.ArgumentError{
			Argument: "topic", Reason: "over TCP there are no consumer groups of " + esclient.AllStream,
		}
	}
	opts := esclient.PersistentOptions{
		InFlightBytes: s.cfg.BufferBytes, AckDelay: s.cfg.AckDelay, RememberAcked: s.cfg.rememberAcked(),
		Concurrency: s.cfg.Concurrency, Hooks: []esclient.Hook{groupLog{log}},
	}
	switch {
	case s.cfg.RecreateGroup:
		opts.Recreate = s.cfg.groupSettings()
	case !s.cfg.DisableGroupCreation:
		opts.Restore = s.cfg.groupSettings()
	}
	delays := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(joinDelay),
		backoff.WithMaxInterval(maxJoinDelay),
		backoff.WithMaxElapsedTime(0),
	)
	own := false
	if s.creation.expected.Load() {
		own, _ = s.createGroup(ctx, stream) // after a failure, the group is found or created below
	}
	for created := own; ; created = true {
		group := s.cfg.groupSettings() // those of a group that this call has just created
		if !own {
			var err error
			if group, err = s.checkGroup(ctx, stream, log); err != nil {
				return nil, err
			}
		}
		opts.MessageTimeout, opts.ResolveLinks = s.messageTimeout(group), s.resolvesLinks(group)
		opts.InFlight, opts.InFlightAtFirst = s.inFlight(group)
		p, err := s.conn.client().ConnectPersistent(ctx, stream, s.cfg.ConsumerGroup, opts)
		if err == nil {
			s.creation.expected.Store(own)
			return groupSource{p}, nil
		}
		switch {
		case !errors.Is(err, esclient.ErrGroupNotFound):
			return nil, err
		case s.cfg.DisableGroupCreation:
			return nil, fmt.Errorf("%w: let an administrator create it, as SubscribeInitialize does, or unset "+
				"DisableGroupCreation", err)
		}
		if created {
			delay := delays.NextBackOff()
			log.Info("Consumer group is missing again", watermill.LogFields{"delay": delay.String()})
			if !sleep(ctx, delay) {
				return nil, fmt.Errorf("%w; before that: %w", context.Cause(ctx), err)
			}
		}
		if own, err = s.createGroup(ctx, stream); err != nil {
			return nil, err
		}
	}
}

// messageTimeout returns the MessageTimeout of a group, as far as it is known.
func (s *Subscriber) messageTimeout(group *esclient.PersistentSettings) time.Duration {
	if group == nil {
		group = s.cfg.GroupSettings // the settings that the Subscriber asks for
	}
	if group == nil {
		return 0
	}
	return group.MessageTimeout
}

// inFlight returns how many messages the server may push ahead of the acks, and how many at first.
func (s *Subscriber) inFlight(group *esclient.PersistentSettings) (most, first int) {
	if group == nil {
		group = s.cfg.groupSettings()
	}
	switch {
	case s.givenInFlight, s.cfg.Concurrency > 1:
	case group.MaxRetryCount < esclient.UnlimitedRetries: // a crash or a new session counts as a retry
		return esclient.DefaultInFlight, esclient.DefaultInFlight
	case group.Strategy != esclient.Pinned && group.Strategy != esclient.PinnedByCorrelation:
		return s.cfg.InFlight, min(esclient.DefaultInFlight, s.cfg.InFlight)
	}
	return s.cfg.InFlight, s.cfg.InFlight
}

// resolvesLinks reports whether a group resolves links, as far as is known.
func (s *Subscriber) resolvesLinks(group *esclient.PersistentSettings) bool {
	if group == nil {
		group = s.cfg.groupSettings()
	}
	return group.ResolveLinks
}

// createGroup creates the group if it is missing. own reports whether this call has created it.
func (s *Subscriber) createGroup(ctx context.Context, stream string) (own bool, err error) {
	s.creation.begin(time.Now())
	err = s.conn.client().CreatePersistent(ctx, stream, s.cfg.ConsumerGroup, *s.cfg.groupSettings())
	if created, waiting, log := s.creation.end(time.Now(), err); log {
		s.log.Info("Creating consumer groups", watermill.LogFields{"created": created, "waiting": waiting})
	}
	switch {
	case errors.Is(err, esclient.ErrGroupExists):
		return false, nil
	case errors.Is(err, esclient.ErrAccessDenied):
		if s.conn.client().Config().Credentials == nil {
			err = fmt.Errorf("%w: the client has no credentials", err)
		}
		return false, fmt.Errorf("%w: only members of $admins, and from server 5.0 on of $ops, may create consumer "+
			"groups: let one of them create the group beforehand, as SubscribeInitialize does; "+
			"with DisableGroupCreation the Subscriber does not try", err)
	}
	return err == nil, err
}

// groupLog logs the events of a subscriber of a consumer group.
type groupLog struct{ log watermill.LoggerAdapter }

func (l groupLog) OnSlowConsumer(i esclient.SubscriptionInfo) {
	l.log.Error("Handlers are slower than the consumer group allows: raise MessageTimeout in GroupSettings, with the "+
		"GroupPolicy GroupUpdate, or lower InFlight", i.Err, nil)
}

func (l groupLog) OnLeftOut(i esclient.SubscriptionInfo) {
	fields := watermill.LogFields{"reason": i.Err.Error()}
	if i.Event != nil {
		o := i.Event.Original()
		fields["event_number"], fields["event_id"] = o.Number, o.ID.String()
		l.log.Info("Event given back to the server", fields)
		return
	}
	l.log.Error("Event cannot be received", i.Err, nil)
}
