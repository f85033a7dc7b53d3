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

// Delays between attempts to join a group that somebody removes as soon as it is made.
const (
	joinDelay    = 50 * time.Millisecond
	maxJoinDelay = 5 * time.Second
)

// joinGroup connects to the group, and makes it first if it is missing. In this order a user who may only consume does
// not need the right to make groups. It goes on until ctx ends where the server says in turn that the group exists and
// that it does not.
func (s *Subscriber) joinGroup(ctx context.Context, stream string, log watermill.LoggerAdapter) (source, error) {
	if stream == esclient.AllStream {
		return nil, &esclient.ArgumentError{
			Argument: "topic", Reason: "over TCP there are no consumer groups of " + esclient.AllStream,
		}
	}
	opts := esclient.PersistentOptions{
		InFlight: s.cfg.InFlight, AckDelay: s.cfg.AckDelay, RememberAcked: s.cfg.rememberAcked(),
		Concurrency: s.cfg.Concurrency, Hooks: []esclient.Hook{groupLog{log}},
	}
	switch {
	case s.cfg.RecreateGroup:
		opts.Recreate = s.cfg.groupSettings()
	case !s.cfg.DisableGroupCreation:
		opts.Restore = s.cfg.groupSettings()
	}
	delays := backoff.WithContext(backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(joinDelay),
		backoff.WithMaxInterval(maxJoinDelay),
		backoff.WithMaxElapsedTime(0),
	), ctx)
	for made := false; ; made = true {
		group, err := s.checkGroup(ctx, stream, log)
		if err != nil {
			return nil, err
		}
		opts.MessageTimeout = s.messageTimeout(group)
		p, err := s.conn.client.ConnectPersistent(ctx, stream, s.cfg.ConsumerGroup, opts)
		if err == nil {
			return groupSource{p}, nil
		}
		if s.cfg.DisableGroupCreation || !errors.Is(err, esclient.ErrGroupNotFound) {
			return nil, err
		}
		if made {
			delay := delays.NextBackOff()
			log.Info("Consumer group is missing again", watermill.LogFields{"delay": delay.String()})
			if !sleep(ctx, delay) {
				return nil, fmt.Errorf("%w; before that: %w", context.Cause(ctx), err)
			}
		}
		if err := s.createGroup(ctx, stream); err != nil {
			return nil, err
		}
	}
}

// messageTimeout is that of a group, as far as it is known.
func (s *Subscriber) messageTimeout(group *esclient.PersistentSettings) time.Duration {
	if group == nil {
		group = s.cfg.GroupSettings // as it was asked for
	}
	if group == nil {
		return 0
	}
	return group.MessageTimeout
}

// createGroup makes the group, if it is missing.
func (s *Subscriber) createGroup(ctx context.Context, stream string) error {
	s.making.begin(time.Now())
	err := s.conn.client.CreatePersistent(ctx, stream, s.cfg.ConsumerGroup, *s.cfg.groupSettings())
	if made, waiting, tell := s.making.end(time.Now(), err); tell {
		s.log.Info("Consumer groups are being made", watermill.LogFields{"made": made, "waiting": waiting})
	}
	switch {
	case errors.Is(err, esclient.ErrGroupExists):
		return nil
	case errors.Is(err, esclient.ErrAccessDenied):
		return fmt.Errorf("%w: only members of $admins, from server 5.0 on also of $ops, may make consumer groups: "+
			"have one of them make the group beforehand, as SubscribeInitialize does; "+
			"with DisableGroupCreation it is not tried", err)
	}
	return err
}

// groupLog tells a Watermill logger what becomes of a subscriber of a group.
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
