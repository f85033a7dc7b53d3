package eventstore

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Checkpoints stores the checkpoints of subscriptions. Use [NewStreamCheckpoints], [NewFileCheckpoints], module essql,
// or a store of your own. Its methods must be safe for concurrent use. A [Subscriber] makes one call at a time for a
// name. The context of a call has the values of Subscribe's context and a time limit.
//
// The Subscriber logs an error and retries the call with backoff. [ErrCheckpointTaken] ends the subscription instead: a
// store should return it if another process has taken the name over, so that two processes do not overwrite each
// other's checkpoints.
//
// A store should also keep the text of [CheckpointSourceFromCtx] beside the checkpoint, and give it to
// [CheckCheckpointSource] in Load. Then Subscribe refuses the checkpoint of another stream, filter or log, and does not
// go on at a place that means something else.
//
// A call should return when its context ends. One second later the Subscriber gives the call up: the logger or
// Subscribe gets an error, and Close and the end of the subscription do not wait for the call. No other subscription of
// this Subscriber uses the name before the call returns.
type Checkpoints interface {
	// Load returns the checkpoint that was saved last under a name, or the zero Checkpoint if there is none. Each
	// Subscribe call calls it once, and again for retries, before any Save.
	Load(ctx context.Context, name string) (esclient.Checkpoint, error)
	// Save stores a checkpoint durably. Each checkpoint is later than the one before, unless the log of the server went
	// back. Then the Subscriber saves the zero Checkpoint, which the store must store too, and after it earlier ones.
	Save(ctx context.Context, name string, c esclient.Checkpoint) error
}

// checkpointName returns the name of a topic's checkpoint.
func (c *SubscriberConfig) checkpointName(topic string) string { return c.SubscriberName + "/" + topic }

func (c *SubscriberConfig) setCheckpointDefaults() {
	if c.CheckpointAfter == 0 {
		c.CheckpointAfter = DefaultCheckpointAfter
	}
	if c.CheckpointMaxCount == 0 {
		c.CheckpointMaxCount = DefaultCheckpointMaxCount
	}
	if c.CheckpointTimeout == 0 {
		c.CheckpointTimeout = DefaultCheckpointTimeout
	}
}

func (c *SubscriberConfig) validateCheckpoints() error {
	if c.Checkpoints == nil {
		return c.validateNoCheckpoints()
	}
	switch {
	case c.mode() != ModeCatchUp:
		return configError("SubscriberConfig.Checkpoints", "",
			"are for catch-up subscriptions: set Mode to ModeCatchUp; the server stores the progress of groups")
	case c.LoadStart != nil:
		return configError("SubscriberConfig.LoadStart", "", "contradicts Checkpoints: give one of them")
	case c.SubscriberName == "":
		return configError("SubscriberConfig.SubscriberName", "", "is missing: Checkpoints are stored under it")
	case !utf8.ValidString(c.SubscriberName), strings.ContainsFunc(c.SubscriberName, unfitForName):
		return configError("SubscriberConfig.SubscriberName", c.SubscriberName,
			`contains "/", a control character or invalid UTF-8`)
	case c.CheckpointMaxCount < 0:
		return configError("SubscriberConfig.CheckpointMaxCount", fmt.Sprint(c.CheckpointMaxCount), "is negative")
	}
	for _, d := range []struct {
		setting string
		d       time.Duration
	}{{"CheckpointAfter", c.CheckpointAfter}, {"CheckpointTimeout", c.CheckpointTimeout}} {
		if d.d < 0 {
			return configError("SubscriberConfig."+d.setting, d.d.String(), "is negative")
		}
	}
	return nil
}

func (c *SubscriberConfig) validateNoCheckpoints() error {
	for _, s := range []struct {
		setting string
		set     bool
	}{
		{"SubscriberName", c.SubscriberName != ""}, {"CheckpointAfter", c.CheckpointAfter != 0},
		{"CheckpointMaxCount", c.CheckpointMaxCount != 0}, {"CheckpointTimeout", c.CheckpointTimeout != 0},
	} {
		if s.set {
			return configError("SubscriberConfig."+s.setting, "", "has a meaning with Checkpoints only")
		}
	}
	return nil
}

func unfitForName(r rune) bool { return r == '/' || unicode.IsControl(r) }
