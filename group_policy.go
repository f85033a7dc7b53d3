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

// GroupPolicy is what Subscribe does where a consumer group exists and its settings are others than the Subscriber asks
// for.
type GroupPolicy int

const (
	// GroupKeep takes the group as it is, and tells the logger once in what it differs. It is the default.
	GroupKeep GroupPolicy = iota
	// GroupUpdate changes the group's settings. The server drops all subscribers of the group for it, which come back
	// by themselves if they are of this package; events that were acked since the last checkpoint may come again to
	// those of other clients. It is done only at Subscribe: of several Subscribers that ask for different settings, the
	// last one gets them. It takes the right to manage groups.
	GroupUpdate
	// GroupRefuse has Subscribe fail with a *GroupSettingsError.
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

// GroupSettingsError is a consumer group whose settings are others than the Subscriber asks for.
type GroupSettingsError struct {
	Stream      string
	Group       string
	Differences []SettingDifference // in the order of the fields of esclient.PersistentSettings
}

// SettingDifference is a setting of a consumer group.
type SettingDifference struct {
	Setting string // the field of esclient.PersistentSettings
	Group   string // the value that the group has
	Asked   string // the value that the Subscriber asks for
}

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

// differences compares the settings of a group with those that are asked for. StartFrom is left out: it has no meaning
// any more once the group has begun.
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

// timeoutText is cut to the milliseconds that the server keeps.
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

// matters reports whether a difference changes what handlers get, or has messages parked that would not be: that is
// more than a note.
func matters(group, asked *esclient.PersistentSettings) bool {
	return group.ResolveLinks != asked.ResolveLinks || group.MessageTimeout < asked.MessageTimeout ||
		group.MaxRetryCount < asked.MaxRetryCount
}

// checkGroup compares a group that exists with what the Subscriber asks for, and does what GroupPolicy says. It returns
// the group's settings; nil where there is no group, or nobody tells.
func (s *Subscriber) checkGroup(
	ctx context.Context, stream string, log watermill.LoggerAdapter,
) (*esclient.PersistentSettings, error) {
	if stream == esclient.AllStream {
		return nil, nil // such groups are other clients': connecting refuses it before anything is sent
	}
	asked := s.cfg.groupSettings()
	group, err := s.conn.client.GroupSettings(ctx, stream, s.cfg.ConsumerGroup)
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.Is(err, esclient.ErrClosed):
		return nil, err
	case errors.Is(err, esclient.ErrGroupNotFound):
		return nil, nil // connecting to it settles that
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
	case matters(&group, asked):
		log.Error("Consumer group has other settings: see SubscriberConfig.GroupPolicy", differ, nil)
	default:
		log.Info("Consumer group has other settings", watermill.LogFields{"differences": differ.list()})
	}
	return &group, nil
}

func (s *Subscriber) updateGroup(
	ctx context.Context, asked *esclient.PersistentSettings, differ *GroupSettingsError, log watermill.LoggerAdapter,
) (*esclient.PersistentSettings, error) {
	err := s.conn.client.UpdatePersistent(ctx, differ.Stream, differ.Group, *asked)
	switch {
	case errors.Is(err, esclient.ErrGroupNotFound):
		return nil, nil // somebody has removed it in between
	case err != nil:
		return nil, fmt.Errorf("%w, but cannot be updated: %w", differ, err)
	}
	log.Info("Consumer group updated", watermill.LogFields{"differences": differ.list()})
	return asked, nil
}
