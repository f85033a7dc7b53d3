package eventstore

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Mode is how a Subscriber gets its messages.
type Mode int

const (
	// ModeDefault is ModePersistent where there is a ConsumerGroup, else ModeVolatile.
	ModeDefault Mode = iota
	// ModePersistent consumes from a persistent subscription group: each message goes to one subscriber of the group,
	// and the server keeps what was acked.
	ModePersistent
	// ModeVolatile is fan-out: every subscription gets every message that is published while it lasts.
	ModeVolatile
	// ModeCatchUp replays: every subscription gets all messages from a start position on, and goes on with new ones.
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

// Action is what becomes of a message that cannot be processed.
type Action int

const (
	// ActionDefault is ActionPark in ModePersistent and ActionSkip elsewhere.
	ActionDefault Action = iota
	// ActionPark moves the message to the group's parked messages, from where it can be replayed, with a reason.
	ActionPark
	// ActionRetry gives the message back to the server, which delivers it again at once, perhaps to another subscriber,
	// and parks it after the group's MaxRetryCount: never in a group with DefaultGroupSettings.
	ActionRetry
	// ActionSkip goes on with the next message; this one counts as processed.
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

// Defaults of SubscriberConfig.
const (
	DefaultNackDelay = 100 * time.Millisecond
	// DefaultMaxNackDelay is the most that SubscriberConfig.MaxNackDelay is by default.
	DefaultMaxNackDelay = 30 * time.Second
	DefaultAckGrace     = 30 * time.Second
	// DefaultConcurrentInFlight is the least that SubscriberConfig.InFlight is by default with a Concurrency over 1.
	DefaultConcurrentInFlight = 200
)

// SubscriberConfig says where and how a Subscriber subscribes. Either ConnectionString or Client is needed; everything
// else has a default.
type SubscriberConfig struct {
	// ConnectionString has the Subscriber open a connection of its own, which Close closes; see
	// esclient.ParseConnectionString.
	ConnectionString string
	// Client is a client that the Subscriber borrows: it uses its connection together with others, and never closes it.
	Client *esclient.Client

	// Unmarshaler makes messages of events. The default is DefaultMarshaler{}.
	Unmarshaler Unmarshaler
	// StreamName returns the stream that a topic is read from. By default this is the topic itself. A category of
	// streams is read from "$ce-" + category, an event type from "$et-" + type, both with ResolveLinks and with the
	// server's projections running. Those write their links a moment after the event is acknowledged.
	StreamName func(topic string) (string, error)
	// ResolveLinks hands out the targets of link events instead of the links. Acks are for the link all the same. A
	// link whose target is gone is handed out as it is.
	ResolveLinks bool

	// Mode is how messages are got.
	Mode Mode

	// ConsumerGroup is the name of the persistent subscription group, for ModePersistent.
	ConsumerGroup string
	// GroupSettings are the settings of groups that the Subscriber makes. The default is DefaultGroupSettings.
	// ResolveLinks above is added to them.
	GroupSettings *esclient.PersistentSettings
	// GroupPolicy is what Subscribe does where the group exists with other settings than these; GroupKeep by default,
	// which logs the differences. StartFrom is not compared. The settings of a group can be read by administrators, and
	// by other users where the HTTP interface is known, see esclient.Client.GroupSettings. Where they cannot be read,
	// the group is taken as it is.
	GroupPolicy GroupPolicy
	// DisableGroupCreation has Subscribe fail with esclient.ErrGroupNotFound where the group is missing. Only members
	// of $admins, from server 5.0 on also of $ops, may make groups; to consume needs no more than to read the stream.
	DisableGroupCreation bool
	// RecreateGroup has a subscription make its group anew when an administrator deletes it, and begin again with
	// GroupSettings.StartFrom: by default everything is handed out again. Otherwise the subscription then ends, with
	// an esclient.ErrGroupNotFound to the logger. A server that comes back without the group, since it keeps nothing
	// on disk or was set back to a backup, gets it anew in any case, but for DisableGroupCreation.
	RecreateGroup bool
	// InFlight is how many messages the server pushes ahead of the acks. With a Concurrency of 1 that is
	// esclient.DefaultInFlight by default; with more it is DefaultConcurrentInFlight, and at least eight times
	// Concurrency. In all modes it bounds how many messages wait in lanes for their keys; see Concurrency. In a group
	// with a MessageTimeout, which runs from the push on, the Subscriber takes fewer ahead where its handlers are slow;
	// it begins with few there if the timeout is short. DefaultGroupSettings have no such limit.
	// All of them are in memory: so many times the largest message is what a Subscriber of a group may need.
	//
	// Messages that were pushed ahead count as tried when the process dies, also those that no handler has seen: with
	// InFlight 4, a MaxRetryCount of 3 and one message that kills its process each time, a 23.10 parks all four: the
	// first at once, the others when their MessageTimeout is over, and until then nobody gets them. A 5.0.11 parks none
	// and goes on. Where that may happen, choose an InFlight of 1 or a MaxRetryCount of plenty.
	InFlight int
	// AckDelay is the longest that an ack waits for others to be sent with it; esclient.DefaultAckDelay by default.
	AckDelay time.Duration

	// Start is where ModeCatchUp begins: at the first event by default. For the topic "$all" it is a position.
	Start esclient.Start
	// LoadStart, if not nil, is asked at each Subscribe instead of Start: for checkpoints that the application keeps.
	LoadStart func(ctx context.Context, topic string) (esclient.Start, error)
	// PageSize is how many events ModeCatchUp reads at a time; esclient.DefaultPageSize by default.
	PageSize int
	// BufferSize is how many pushed events ModeVolatile and ModeCatchUp hold; esclient.DefaultBufferSize by default.
	BufferSize int
	// BufferBytes is how many bytes they hold, about; esclient.DefaultBufferBytes by default. A single message may be
	// larger. What does not fit is read again later, or ends a subscription with DisableGapFilling.
	BufferBytes int
	// StartOver has ModeCatchUp begin anew, with the first message, when the server comes back with an older or an
	// empty log. Otherwise the subscription then ends, with an esclient.ErrLogWentBack to the logger: what checkpoints
	// say means nothing any more. ModeVolatile goes on with what is new.
	StartOver bool
	// DisableGapFilling has ModeVolatile skip what was published while the connection was gone, and end the
	// subscription when its buffer is full. By default both is read back, in order and without duplicates.
	DisableGapFilling bool

	// Concurrency is how many messages of one subscription may be handed out at a time. With the default, 1, they come
	// strictly one after the other. With more, messages of one key stay in order, one after the other, and messages of
	// different keys do not wait for each other. A message that waits after a nack does not count here.
	//
	// Up to InFlight messages wait for those of their key that are handled or were nacked. So a key whose handler hangs
	// or fails for long stops the others when InFlight of its messages have come, and not before.
	Concurrency int
	// Key returns the key of a message, for Concurrency. The default is the stream of its event: with links resolved
	// that of their target.
	Key func(msg *message.Message) string

	// NackDelay is the pause before a nacked message is handed out again, in this process and before any other of its
	// key; DefaultNackDelay by default, and none if it is negative. With each nack of the same message it doubles, more
	// or less. The log is told of the 1st, 10th, 100th … nack. A MessageTimeout of the group goes on meanwhile.
	NackDelay time.Duration
	// MaxNackDelay is where NackDelay ceases to grow: by default at 100 times NackDelay, but not above
	// DefaultMaxNackDelay.
	MaxNackDelay time.Duration
	// MaxNacks is how many nacks of a message lead to NackAction. By default, 0, it is handed out until it is acked.
	// NackWith decides for a single message.
	MaxNacks int
	// NackAction is what becomes of a message after MaxNacks.
	NackAction Action
	// UnmarshalAction is what becomes of an event that the Unmarshaler refuses; ActionRetry is not possible.
	UnmarshalAction Action

	// AckGrace is how long, in ModePersistent, the word on a message that was handed out counts after its subscription
	// was ended: an ack, and a decision by NackWith. It is DefaultAckGrace by default, as long as a Router waits for
	// its handlers, and not at all if it is negative. Without a message that is being handled a subscription ends at
	// once. After the grace the message goes back to the server. The log is told of that, and, as long as the
	// Subscriber is not closed, of an ack or a decision that comes too late.
	AckGrace time.Duration
}

// DefaultGroupSettings are those of esclient.DefaultPersistentSettings, but for three. A new group begins with the
// first message of its stream. MessageTimeout and MaxRetryCount are the largest there are: the server waits for a
// handler as long as its connection lives, and parks nothing that nobody asked it to park.
//
// A consumer that dies needs no MessageTimeout, since its connection dies with it: the server sees that at once, or by
// its heartbeats, and gives the messages to the others. Choose less to take messages away from a handler that hangs
// while its process lives: then well over what the slowest handler takes, together with a MaxRetryCount after which a
// message is parked.
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
	switch {
	case c.InFlight > 0:
	case c.Concurrency == 1:
		c.InFlight = esclient.DefaultInFlight
	default:
		c.InFlight = max(DefaultConcurrentInFlight, 8*c.Concurrency)
	}
	c.setNackDelays()
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

func sourceStream(msg *message.Message) string {
	stream, _ := StreamFromCtx(msg.Context())
	return stream
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

// rememberAcked is how many acks are remembered: as many as a restarted server may deliver again.
func (c *SubscriberConfig) rememberAcked() int {
	return max(esclient.DefaultRememberAcked, c.InFlight+2*c.groupSettings().CheckpointMaxCount)
}

// Validate reports the first setting that cannot be used, as an *esclient.ConfigError or *esclient.ArgumentError.
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
	case c.AckDelay < 0:
		return configError("SubscriberConfig.AckDelay", c.AckDelay.String(), "is negative")
	case c.MaxNackDelay < 0:
		return configError("SubscriberConfig.MaxNackDelay", c.MaxNackDelay.String(), "is negative")
	case c.MaxNackDelay > 0 && c.MaxNackDelay < c.NackDelay:
		return configError("SubscriberConfig.MaxNackDelay", c.MaxNackDelay.String(),
			fmt.Sprintf("is less than NackDelay, %v", c.NackDelay))
	}
	return c.validateActions()
}

func (c *SubscriberConfig) validateMode() error {
	switch mode := c.mode(); {
	case mode < ModePersistent || mode > ModeCatchUp:
		return configError("SubscriberConfig.Mode", mode.String(), "is unknown")
	case mode == ModePersistent && c.ConsumerGroup == "":
		return configError("SubscriberConfig.ConsumerGroup", "",
			"is missing, which "+mode.String()+" subscriptions need")
	case mode != ModePersistent && c.ConsumerGroup != "":
		return configError("SubscriberConfig.ConsumerGroup", c.ConsumerGroup,
			"has no meaning for "+mode.String()+" subscriptions")
	case mode != ModeCatchUp && (c.LoadStart != nil || c.Start != (esclient.Start{})):
		return configError("SubscriberConfig.Start", "",
			"has a meaning for catch-up subscriptions only; groups have GroupSettings.StartFrom")
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
		return configError("SubscriberConfig.UnmarshalAction", ActionRetry.String(), "would fail again and again")
	}
	return nil
}
