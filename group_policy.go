package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// GroupPolicy selects what [Subscriber.Subscribe] does if the settings of an existing consumer group differ from those
// that the Subscriber asks for.
type GroupPolicy int

const (
	// GroupKeep uses the group as it is and logs the differences once. It is the default.
	GroupKeep GroupPolicy = iota
	// GroupUpdate changes the group's settings, at Subscribe only. The user needs the right to manage groups. The
	// server then drops all subscribers of the group. Those of this package resume by themselves. To those of other
	// clients the server may redeliver events that were acked since the last checkpoint. If several Subscribers ask for
	// different settings, the last Subscribe wins.
	GroupUpdate
	// GroupRefuse makes Subscribe fail with a [*GroupSettingsError].
	GroupRefuse
)

// String returns the policy's name in lower case.
func (p GroupPolicy) String() string {
	names := [...]string{"keep", "update", "refuse"}
	if p < 0 || int(p) >= len(names) {
		return fmt.Sprintf("GroupPolicy(%d)", int(p))
	}
	return names[p]
}

// GroupSettingsError reports a consumer group whose settings differ from those that the [Subscriber] asks for.
type GroupSettingsError struct {
	Stream      string
	Group       string
	Differences []SettingDifference // in the order of the fields of [esclient.PersistentSettings]
}

// SettingDifference is one setting of a consumer group that differs.
type SettingDifference struct {
	Setting string // the field of [esclient.PersistentSettings]
	Group   string // the value that the group has
	Asked   string // the value that the Subscriber asks for
}

// Error names the group, and lists the settings that differ.
func (e *GroupSettingsError) Error() string {
	return fmt.Sprintf("eventstore: the settings of the consumer group %q on stream %q differ: %s",
		e.Group, e.Stream, e.list())
}

func (e *GroupSettingsError) list() string {
	texts := make([]string, len(e.Differences))
	for i, d := range e.Differences {
		texts[i] = fmt.Sprintf("%s is %s instead of %s", d.Setting, d.Group, d.Asked)
	}
	return strings.Join(texts, ", ")
}

// differences compares the settings of a group with the requested ones. It leaves out StartFrom, which has no effect on
// an existing group.
func differences(group, asked *esclient.PersistentSettings) []SettingDifference {
	var all []SettingDifference
	add := func(setting string, g, a any) {
		if g != a {
			all = append(all, SettingDifference{setting, fmt.Sprint(g), fmt.Sprint(a)})
		}
	}
	add("ResolveLinks", group.ResolveLinks, asked.ResolveLinks)
	add("MessageTimeout", timeoutText(group.MessageTimeout), timeoutText(asked.MessageTimeout))
	add("RecordStatistics", group.RecordStatistics, asked.RecordStatistics)
	add("LiveBufferSize", group.LiveBufferSize, asked.LiveBufferSize)
	add("ReadBatchSize", group.ReadBatchSize, asked.ReadBatchSize)
	add("BufferSize", group.BufferSize, asked.BufferSize)
	add("MaxRetryCount", retriesText(group.MaxRetryCount), retriesText(asked.MaxRetryCount))
	add("CheckpointAfter", group.CheckpointAfter, asked.CheckpointAfter)
	add("CheckpointMinCount", group.CheckpointMinCount, asked.CheckpointMinCount)
	add("CheckpointMaxCount", group.CheckpointMaxCount, asked.CheckpointMaxCount)
	add("MaxSubscriberCount", group.MaxSubscriberCount, asked.MaxSubscriberCount)
	add("Strategy", strategyOf(group), strategyOf(asked))
	return all
}

// timeoutText truncates a timeout to milliseconds, the precision of the server.
func timeoutText(d time.Duration) string {
	if d >= esclient.MaxMessageTimeout {
		return "never"
	}
	return d.Truncate(time.Millisecond).String()
}

func retriesText(n int) string {
	if n >= esclient.UnlimitedRetries {
		return "unlimited"
	}
	return fmt.Sprint(n)
}

func strategyOf(s *esclient.PersistentSettings) esclient.ConsumerStrategy {
	if s.Strategy == "" {
		return esclient.RoundRobin
	}
	return s.Strategy
}

// affectsDelivery reports whether handlers get other messages, or the server parks more of them, than with the
// requested settings.
func affectsDelivery(group, asked *esclient.PersistentSettings) bool {
	return group.ResolveLinks != asked.ResolveLinks || group.MessageTimeout < asked.MessageTimeout ||
		group.MaxRetryCount < asked.MaxRetryCount
}

// checkGroup compares an existing group with the requested settings and applies GroupPolicy. It returns the group's
// settings, or nil if there is no group or they cannot be read.
func (s *Subscriber) checkGroup(
	ctx context.Context, stream string, log watermill.LoggerAdapter,
) (*esclient.PersistentSettings, error) {
	if stream == esclient.AllStream {
		return nil, nil // only gRPC clients have such groups: ConnectPersistent refuses one without a request
	}
	asked := s.cfg.groupSettings()
	group, err := s.conn.client().GroupSettings(ctx, stream, s.cfg.ConsumerGroup)
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.Is(err, esclient.ErrClosed):
		return nil, err
	case errors.Is(err, esclient.ErrGroupNotFound):
		return nil, nil // joinGroup creates it or reports the error
	default:
		log.Debug("Settings of the consumer group cannot be read", watermill.LogFields{"reason": err.Error()})
		return nil, nil
	}
	differ := &GroupSettingsError{
		Stream: stream, Group: s.cfg.ConsumerGroup, Differences: differences(&group, asked),
	}
	switch {
	case len(differ.Differences) == 0:
	case s.cfg.GroupPolicy == GroupRefuse:
		return nil, differ
	case s.cfg.GroupPolicy == GroupUpdate:
		asked.StartFrom = group.StartFrom
		return s.updateGroup(ctx, asked, differ, log)
	case affectsDelivery(&group, asked):
		log.Error("Consumer group has other settings: see SubscriberConfig.GroupPolicy", differ, nil)
	default:
		log.Info("Consumer group has other settings", watermill.LogFields{"differences": differ.list()})
	}
	return &group, nil
}

func (s *Subscriber) updateGroup(
	ctx context.Context, asked *esclient.PersistentSettings, differ *GroupSettingsError, log watermill.LoggerAdapter,
) (*esclient.PersistentSettings, error) {
	err := s.conn.client().UpdatePersistent(ctx, differ.Stream, differ.Group, *asked)
	switch {
	case errors.Is(err, esclient.ErrGroupNotFound):
		return nil, nil // another client deleted it meanwhile
	case err != nil:
		return nil, fmt.Errorf("%w, but cannot be updated: %w", differ, err)
	}
	log.Info("Consumer group updated", watermill.LogFields{"differences": differ.list()})
	return asked, nil
}
