package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Mode selects the kind of subscription.
type Mode int

const (
	// ModeDefault is [ModePersistent] if there is a ConsumerGroup, and otherwise [ModeVolatile].
	ModeDefault Mode = iota
	// ModePersistent consumes from a consumer group, which is a persistent subscription: the server delivers each
	// message to one subscriber of the group and stores which messages were acked.
	ModePersistent
	// ModeVolatile is fan-out: each subscription gets every message that is published while it lasts.
	ModeVolatile
	// ModeCatchUp replays: each subscription gets all messages from a start position on, and then new ones.
	ModeCatchUp
)

// String returns the mode's name in lower case.
func (m Mode) String() string {
	names := [...]string{"default", "persistent", "volatile", "catch-up"}
	if m < 0 || int(m) >= len(names) {
		return fmt.Sprintf("Mode(%d)", int(m))
	}
	return names[m]
}

// Action selects how a [Subscriber] settles a message that cannot be processed.
type Action int

const (
	// ActionDefault is [ActionPark] in [ModePersistent] and [ActionSkip] in other modes. As an argument of [NackWith],
	// it redelivers the message.
	ActionDefault Action = iota
	// ActionPark moves the message with a reason to the group's parked messages. It can be replayed from there.
	ActionPark
	// ActionRetry gives the message back to the server. The server redelivers it at once, perhaps to another
	// subscriber, and parks it after the group's MaxRetryCount: never in a group with [DefaultGroupSettings].
	ActionRetry
	// ActionSkip settles the message as if it was processed.
	ActionSkip
	// ActionStop ends the subscription and closes its channel. In a group the message goes back to the server.
	ActionStop
)

// String returns the action's name in lower case.
func (a Action) String() string {
	names := [...]string{"default", "park", "retry", "skip", "stop"}
	if a < 0 || int(a) >= len(names) {
		return fmt.Sprintf("Action(%d)", int(a))
	}
	return names[a]
}

// Defaults of [SubscriberConfig].
const (
	// DefaultNackDelay is the default of NackDelay.
	DefaultNackDelay = 100 * time.Millisecond
	// DefaultMaxNackDelay is the upper limit of the default of MaxNackDelay.
	DefaultMaxNackDelay = 30 * time.Second
	// DefaultAckGrace is the default of AckGrace.
	DefaultAckGrace = 30 * time.Second
	// DefaultInFlight is the lower limit of the default of InFlight.
	DefaultInFlight = 200
	// DefaultCheckpointAfter is the default of CheckpointAfter.
	DefaultCheckpointAfter = time.Second
	// DefaultCheckpointMaxCount is the default of CheckpointMaxCount.
	DefaultCheckpointMaxCount = 1000
	// DefaultCheckpointTimeout is the default of CheckpointTimeout.
	DefaultCheckpointTimeout = 10 * time.Second
)

// SubscriberConfig configures a [Subscriber]. It needs either ConnectionString or Client. All other fields have
// defaults.
type SubscriberConfig struct {
	// ConnectionString makes the Subscriber open a connection with its first subscription and close it with its last.
	// All subscriptions in between share it, and a later one opens another. So a Subscriber without subscriptions holds
	// nothing that must be closed. See [esclient.ParseConnectionString] for the forms.
	ConnectionString string
	// Client lends its connection to the Subscriber. The Subscriber never closes it. While there are subscriptions,
	// lost connections are in the Subscriber's log as well as in the Client's own.
	Client *esclient.Client

	// Unmarshaler makes messages of events. The default is [DefaultMarshaler].
	Unmarshaler Unmarshaler
	// StreamName returns the stream of a topic. The default returns the topic. With ResolveLinks and the server's
	// projections, "$ce-" + category is the stream of a category, and "$et-" + type the stream of an event type. The
	// server writes their links a moment after it has acknowledged the event.
	StreamName func(topic string) (string, error)
	// ResolveLinks hands out the targets of link events instead of the links. Acks still settle the link. Links that
	// lead to no event are left to UnresolvedAction.
	ResolveLinks bool
	// UnresolvedAction applies to a link that leads to no event: its target was deleted, was truncated by $maxCount,
	// $maxAge or $tb, or never existed; its data is malformed; or its target is a link too. The same goes for a target
	// that the user may not read, if a server up to 5.0 refuses it for that. It also applies to the link in a category
	// by which the server tells that a stream was deleted. The default is [UnresolvedSkip], so that a deleted stream
	// stops no handler of its category.
	UnresolvedAction UnresolvedAction

	// Filter, if not nil, picks the events of "$all" that are handed out; see [esclient.ExcludeSystemEvents]. It needs
	// the topic "$all" and [ModeCatchUp] or [ModeVolatile]. Servers from 20.6 on filter themselves. For older servers
	// the Subscriber filters: all events come over the network, and a regular expression must compile in Go.
	Filter *esclient.Filter

	// Mode is the kind of subscription.
	Mode Mode

	// ConsumerGroup is the name of the persistent subscription group, for [ModePersistent].
	ConsumerGroup string
	// GroupSettings are the settings of groups that the Subscriber creates. The default is [DefaultGroupSettings].
	// ResolveLinks of this configuration is added to them.
	GroupSettings *esclient.PersistentSettings
	// GroupPolicy applies when a group exists with other settings. The default, [GroupKeep], logs the differences.
	// StartFrom is not compared. Administrators can read the settings of a group, and other users if the HTTP interface
	// is known; see [esclient.Client.GroupSettings]. If it cannot read the settings, the Subscriber uses the group as
	// it is.
	GroupPolicy GroupPolicy
	// DisableGroupCreation makes Subscribe fail with [esclient.ErrGroupNotFound] if the group is missing. Only members
	// of $admins, and from server 5.0 on of $ops, may create groups. To consume, a user needs only the right to read
	// the stream.
	DisableGroupCreation bool
	// RecreateGroup makes a subscription create its group again after an administrator has deleted it. The new group
	// begins at StartFrom of GroupSettings: by default all messages are handed out again. Without RecreateGroup the
	// subscription ends and logs [esclient.ErrGroupNotFound]. If a server comes back without the group, because it
	// stores nothing on disk or was restored from a backup, the subscription creates the group in any case, unless
	// DisableGroupCreation is set.
	RecreateGroup bool
	// InFlight is the number of messages that the server pushes ahead of the acks. The default is eight times
	// Concurrency, and at least [DefaultInFlight], 200. In all modes InFlight limits the messages that wait for others
	// of their key; see Concurrency.
	//
	// With the default and a Concurrency of 1, a subscription begins with [esclient.DefaultInFlight], 10. It gets more
	// while the handler is quick: no more than about 200 ms of work, and never fewer than 10. So a Subscriber with a
	// slow handler leaves messages to others of the group. To get more, the Subscriber subscribes again, and servers
	// from 20.x on count a retry of some messages for that. So the number stays 10 if the group's MaxRetryCount is less
	// than [esclient.UnlimitedRetries]. It is 200 from the beginning if the group's Strategy is Pinned.
	//
	// If the group has a MessageTimeout, which runs from the push on, a Subscriber with slow handlers takes fewer
	// messages ahead; with a short timeout it begins with few. [DefaultGroupSettings] have no such timeout.
	//
	// All messages in flight are in memory, where each takes some 250 bytes besides its data and metadata. BufferBytes
	// limits their bytes: with large messages the Subscriber takes fewer ahead.
	//
	// When the process dies, the server counts a retry for each message that it has pushed, including those that no
	// handler has seen. Example: InFlight is 4, MaxRetryCount is 3, and one message kills its process each time. Server
	// 23.10 then parks all four: that message at once, the others after their MessageTimeout, until which no subscriber
	// gets them. Server 5.0.11 parks none. Where this can happen, choose an InFlight of 1 or a large MaxRetryCount.
	InFlight int
	// AckDelay is the longest time that an ack waits to be sent together with others. The default is
	// [esclient.DefaultAckDelay].
	AckDelay time.Duration

	// Start is the position where [ModeCatchUp] begins. The default is the first event. The topic "$all" needs a log
	// position. With Checkpoints and [esclient.FromEnd], Subscribe saves the place where it begins before any message
	// is handed out. So a process that dies before it has settled a message misses none when it is started again.
	Start esclient.Start
	// LoadStart, if not nil, returns the start for each Subscribe call instead of Start: for checkpoints that the
	// application stores. See also Checkpoints.
	LoadStart func(ctx context.Context, topic string) (esclient.Start, error)
	// Checkpoints, if not nil, stores the checkpoints of [ModeCatchUp]. A subscription without a checkpoint begins at
	// Start. The checkpoint is the place up to which all messages are settled, so no message is lost with any
	// Concurrency. After a crash, messages that were settled after the latest save are handed out again.
	Checkpoints Checkpoints
	// SubscriberName names what the messages are for, such as a read model. With Checkpoints it is needed. The store
	// gets the name SubscriberName + "/" + topic, so SubscriberName must not contain "/". Two Subscribers with one name
	// exclude each other; the documentation of the store says how. Choose another SubscriberName if StreamName returns
	// another stream for a topic, or if the Filter picks events that the old one passed over. Otherwise Subscribe fails
	// with [ErrCheckpointSource], if the store keeps [CheckpointSourceFromCtx], as those of this project do. Regular
	// expressions cannot be compared, so another one counts as a Filter that picks more.
	SubscriberName string
	// CheckpointAfter is the longest time until a settled message is saved, if all messages before it are settled, too.
	// The default is [DefaultCheckpointAfter], 1 s. In "$all", events of the server are saved later: with a settled
	// message of an application, after 1000 of them, or at the end of the subscription.
	CheckpointAfter time.Duration
	// CheckpointMaxCount is the number of settled messages after which the checkpoint is saved before CheckpointAfter.
	// The default is [DefaultCheckpointMaxCount], 1000. The subscription hands out messages during a save. With a
	// Concurrency over 1, a message whose handler hangs or keeps nacking holds up the checkpoint: the logger gets an
	// error when 10, 100 … times CheckpointMaxCount later messages are settled.
	CheckpointMaxCount int
	// CheckpointTimeout is a limit of three times: of the attempts of Subscribe to load the checkpoint, of one attempt
	// to save it, and of the last saves when the subscription ends. The default is [DefaultCheckpointTimeout], 10 s.
	CheckpointTimeout time.Duration
	// PageSize is the number of events that [ModeCatchUp] reads at a time. The default is [esclient.DefaultPageSize].
	PageSize int
	// BufferSize is the number of pushed events that [ModeVolatile] and [ModeCatchUp] hold. The default is
	// [esclient.DefaultBufferSize].
	BufferSize int
	// BufferBytes is about the number of bytes that pushed events may take. The default is
	// [esclient.DefaultBufferBytes], 16 MiB, and with [ModePersistent] [esclient.DefaultInFlightBytes], 8 MiB. A single
	// larger message is held too. The subscription reads events that do not fit again later; with DisableGapFilling it
	// ends. A group gives them back to the server and gets them again, fewer at a time; messages that handlers have are
	// held in any case. See [esclient.PersistentOptions] for what the server does.
	BufferBytes int
	// StartOver makes [ModeCatchUp] begin again with the first message when the server comes back with another log, for
	// example an older or an empty one. Without it the subscription ends and logs [esclient.ErrLogWentBack], because
	// checkpoints have lost their meaning. [ModeVolatile] goes on with new messages.
	StartOver bool
	// DisableGapFilling makes [ModeVolatile] skip messages that were published while the connection was lost, and end
	// the subscription when its buffer is full. By default the subscription reads both back, in order and without
	// duplicates.
	DisableGapFilling bool

	// OnCaughtUp, if not nil, is called with the topic, in [ModeCatchUp] and [ModeVolatile], when all existing messages
	// are settled and the subscription waits for new ones. It is called again each time that the subscription has read
	// back messages that it missed, because the connection was lost or its buffer was full. With [ModeVolatile] there
	// are no messages at first, so the first call comes at once. Newer messages can be in handlers during the call;
	// [LiveFromCtx] distinguishes them. A message that keeps being nacked delays the call.
	//
	// OnCaughtUp runs in a goroutine of its own, one call at a time for each subscription. It may take as long as it
	// likes and call Close, which does not wait for it.
	OnCaughtUp func(topic string)

	// Concurrency is the number of messages of one subscription that may be handed out at a time. The default, 1, hands
	// out one message after the other. With more, messages of one key stay in order, and messages of different keys do
	// not wait for each other. A nacked message that waits for its redelivery does not count.
	//
	// Up to InFlight messages wait for a message of their key that is being handled or was nacked. So a key whose
	// handler hangs or keeps failing stops other keys only after InFlight of its messages have arrived.
	Concurrency int
	// Key returns the key of a message, for Concurrency. The default is the stream of its event; with ResolveLinks, the
	// stream of the link's target, even if the target is gone.
	Key func(msg *message.Message) string

	// NackDelay is the delay before a nacked message is redelivered, by this Subscriber and before any other message of
	// its key. The default is [DefaultNackDelay]; a negative value is no delay. It about doubles with each nack of the
	// same message. The logger gets the 1st, 10th, 100th … nack. A MessageTimeout of the group keeps running.
	NackDelay time.Duration
	// MaxNackDelay is the limit of NackDelay's growth. The default is 100 times NackDelay, and at most
	// [DefaultMaxNackDelay].
	MaxNackDelay time.Duration
	// MaxNacks is the number of nacks of a message after which NackAction applies. With the default, 0, the message is
	// redelivered until it is acked. [NackWith] decides for a single message.
	MaxNacks int
	// NackAction applies to a message after MaxNacks.
	NackAction Action
	// UnmarshalAction applies to an event that the Unmarshaler refuses. It cannot be [ActionRetry].
	UnmarshalAction Action

	// AckGrace is the time, in [ModePersistent] and with Checkpoints, during which an ack or a [NackWith] decision
	// still counts after the end of its subscription. The default is [DefaultAckGrace], the time that a Router waits
	// for its handlers. A negative value is no grace. Without a message in a handler a subscription ends at once. After
	// the grace the message goes back to the server. The logger gets a line then, and another one if the answer comes
	// later, before the Subscriber is closed.
	AckGrace time.Duration
}

// DefaultGroupSettings returns [esclient.DefaultPersistentSettings] with three changes. A new group begins with the
// first message of its stream. MessageTimeout and MaxRetryCount have their largest values: the server waits for a
// handler as long as its connection lives, and parks a message only on request.
//
// A consumer that dies needs no MessageTimeout, because its connection dies too: the server notices that at once, or by
// its heartbeats, and delivers the messages to other subscribers. Choose a shorter timeout to take messages away from a
// handler that hangs in a live process. It should be much longer than the slowest handler takes, together with a
// MaxRetryCount after which the server parks the message.
func DefaultGroupSettings() esclient.PersistentSettings {
	s := esclient.DefaultPersistentSettings()
	s.StartFrom = 0
	s.MessageTimeout, s.MaxRetryCount = esclient.MaxMessageTimeout, esclient.UnlimitedRetries
	return s
}

func (c *SubscriberConfig) setDefaults() {
	if c.Unmarshaler == nil {
		c.Unmarshaler = DefaultMarshaler{}
	}
	if c.StreamName == nil {
		c.StreamName = func(topic string) (string, error) { return topic, nil }
	}
	c.Mode = c.mode()
	c.Concurrency = max(c.Concurrency, 1)
	if c.InFlight == 0 {
		c.InFlight = max(DefaultInFlight, 8*c.Concurrency)
	}
	c.setNackDelays()
	c.setCheckpointDefaults()
	if c.AckGrace == 0 {
		c.AckGrace = DefaultAckGrace
	}
	def := ActionSkip
	if c.Mode == ModePersistent {
		def = ActionPark
	}
	for _, a := range []*Action{&c.NackAction, &c.UnmarshalAction} {
		if *a == ActionDefault {
			*a = def
		}
	}
	if c.Key == nil {
		c.Key = sourceStream
	}
}

func (c *SubscriberConfig) setNackDelays() {
	if c.NackDelay == 0 {
		c.NackDelay = DefaultNackDelay
		if c.MaxNackDelay > 0 {
			c.NackDelay = min(c.NackDelay, c.MaxNackDelay)
		}
	}
	if c.MaxNackDelay == 0 {
		c.MaxNackDelay = max(c.NackDelay, min(100*c.NackDelay, DefaultMaxNackDelay))
	}
}

func (c *SubscriberConfig) mode() Mode {
	switch {
	case c.Mode != ModeDefault:
		return c.Mode
	case c.ConsumerGroup != "":
		return ModePersistent
	}
	return ModeVolatile
}

func (c *SubscriberConfig) groupSettings() *esclient.PersistentSettings {
	s := DefaultGroupSettings()
	if c.GroupSettings != nil {
		s = *c.GroupSettings
	}
	s.ResolveLinks = s.ResolveLinks || c.ResolveLinks
	return &s
}

// rememberAcked returns how many acks to remember: as many as a restarted server may redeliver.
func (c *SubscriberConfig) rememberAcked() int {
	return max(esclient.DefaultRememberAcked, c.InFlight+2*c.groupSettings().CheckpointMaxCount)
}

// Validate returns the first invalid setting as an [*esclient.ConfigError] or [*esclient.ArgumentError].
func (c *SubscriberConfig) Validate() error {
	if err := validateConnection("SubscriberConfig", c.ConnectionString, c.Client); err != nil {
		return err
	}
	if err := c.validateMode(); err != nil {
		return err
	}
	for _, n := range []struct {
		setting string
		n       int
	}{
		{"InFlight", c.InFlight}, {"PageSize", c.PageSize}, {"BufferSize", c.BufferSize},
		{"BufferBytes", c.BufferBytes},
		{"Concurrency", c.Concurrency}, {"MaxNacks", c.MaxNacks},
	} {
		if n.n < 0 {
			return configError("SubscriberConfig."+n.setting, fmt.Sprint(n.n), "is negative")
		}
	}
	if c.InFlight > 0 && c.InFlight < c.Concurrency {
		return configError("SubscriberConfig.InFlight", fmt.Sprint(c.InFlight),
			fmt.Sprintf("is less than Concurrency, %d", c.Concurrency))
	}
	switch {
	case c.GroupPolicy < GroupKeep || c.GroupPolicy > GroupRefuse:
		return configError("SubscriberConfig.GroupPolicy", c.GroupPolicy.String(), "is unknown")
	case c.UnresolvedAction < UnresolvedSkip || c.UnresolvedAction > UnresolvedStop:
		return configError("SubscriberConfig.UnresolvedAction", c.UnresolvedAction.String(), "is unknown")
	case c.AckDelay < 0:
		return configError("SubscriberConfig.AckDelay", c.AckDelay.String(), "is negative")
	case c.MaxNackDelay < 0:
		return configError("SubscriberConfig.MaxNackDelay", c.MaxNackDelay.String(), "is negative")
	case c.MaxNackDelay > 0 && c.MaxNackDelay < c.NackDelay:
		return configError("SubscriberConfig.MaxNackDelay", c.MaxNackDelay.String(),
			fmt.Sprintf("is less than NackDelay, %v", c.NackDelay))
	}
	if err := c.Filter.Validate(); err != nil {
		return err
	}
	if err := c.validateCheckpoints(); err != nil {
		return err
	}
	return c.validateActions()
}

func (c *SubscriberConfig) validateMode() error {
	switch mode := c.mode(); {
	case mode < ModePersistent || mode > ModeCatchUp:
		return configError("SubscriberConfig.Mode", mode.String(), "is unknown")
	case mode == ModePersistent && c.ConsumerGroup == "":
		return configError("SubscriberConfig.ConsumerGroup", "",
			"is missing: "+mode.String()+" subscriptions need it")
	case mode != ModePersistent && c.ConsumerGroup != "":
		return configError("SubscriberConfig.ConsumerGroup", c.ConsumerGroup,
			"has no meaning for "+mode.String()+" subscriptions")
	case mode != ModeCatchUp && (c.LoadStart != nil || c.Start != (esclient.Start{})):
		return configError("SubscriberConfig.Start", "",
			"has a meaning for catch-up subscriptions only; groups have GroupSettings.StartFrom")
	case mode == ModePersistent && c.OnCaughtUp != nil:
		return configError("SubscriberConfig.OnCaughtUp", "",
			"has no meaning for consumer groups: the server does not tell when one has caught up")
	case mode == ModePersistent && c.Filter != nil:
		return configError("SubscriberConfig.Filter", "",
			"has no meaning for consumer groups: over TCP there are none of "+esclient.AllStream)
	case mode != ModeCatchUp && c.StartOver:
		return configError("SubscriberConfig.StartOver", "true", "has a meaning for catch-up subscriptions only")
	case mode != ModePersistent && c.RecreateGroup:
		return configError("SubscriberConfig.RecreateGroup", "true", "needs a ConsumerGroup")
	case c.RecreateGroup && c.DisableGroupCreation:
		return configError("SubscriberConfig.RecreateGroup", "true", "contradicts DisableGroupCreation")
	case mode == ModePersistent:
		return c.groupSettings().Validate()
	}
	return nil
}

// validateStream refuses settings that have no meaning for the stream of a topic.
func (c *SubscriberConfig) validateStream(stream string) error {
	if c.Filter != nil && stream != esclient.AllStream {
		return configError("SubscriberConfig.Filter", "", "needs the topic "+esclient.AllStream)
	}
	return nil
}

func (c *SubscriberConfig) validateActions() error {
	for _, a := range []struct {
		setting string
		a       Action
	}{{"NackAction", c.NackAction}, {"UnmarshalAction", c.UnmarshalAction}} {
		switch {
		case a.a < ActionDefault || a.a > ActionStop:
			return configError("SubscriberConfig."+a.setting, a.a.String(), "is unknown")
		case (a.a == ActionPark || a.a == ActionRetry) && c.mode() != ModePersistent:
			return configError("SubscriberConfig."+a.setting, a.a.String(), "needs a ConsumerGroup")
		}
	}
	if c.UnmarshalAction == ActionRetry {
		return configError("SubscriberConfig.UnmarshalAction", ActionRetry.String(),
			"would repeat the failure without end")
	}
	return nil
}
