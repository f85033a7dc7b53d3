package eventstore

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Defaults of PublisherConfig.
const (
	DefaultPublishTimeout = 30 * time.Second
	DefaultCloseTimeout   = 30 * time.Second
)

// PublisherConfig says where and how a Publisher publishes. Either ConnectionString or Client is needed; everything
// else has a default.
type PublisherConfig struct {
	// ConnectionString has the Publisher open a connection of its own, which Close closes; see
	// esclient.ParseConnectionString.
	ConnectionString string
	// Client is a client that the Publisher borrows: it uses its connection together with others, and never closes it.
	Client *esclient.Client

	// Marshaler makes events of messages. The default is DefaultMarshaler{}.
	Marshaler Marshaler
	// StreamName returns the stream that a message goes to. By default this is the topic itself. A stream for each
	// aggregate is made of the topic and something of the message: "order-" + id. It may be called by many goroutines
	// at once.
	StreamName func(topic string, msg *message.Message) (string, error)
	// ExpectedVersion is demanded of every stream that is written to: esclient.NoStream, esclient.StreamExists or
	// esclient.Any, which is also what zero stands for. A version for a single message goes with its context, see
	// WithExpectedVersion, and wins.
	ExpectedVersion esclient.ExpectedVersion
	// UseMessageUUIDAsEventID gives an event the UUID of its message as its id, so that a message that is published
	// twice is written once, by the server's rules (see esclient.Client.Append). A UUID of another form than that of
	// RFC 4122 is hashed into one; an empty one stands for a random id.
	//
	// Beware: messages that are published again on purpose, by the Requeuer, the PoisonQueue or a retry topic, keep
	// their UUID. If they go to a stream that has the event already, they are swallowed without an error, and a Publish
	// call of a known message with new ones behind it is refused with esclient.ErrWrongExpectedVersion. By default ids
	// are made anew for each Publish call and kept over its retries.
	UseMessageUUIDAsEventID bool
	// RepublishUnknown publishes once more, with the same event ids, when a lost connection leaves it open whether
	// messages were written. The server recognises the ids, so that nothing is written twice, unless it was restarted
	// or another node has become the leader meanwhile. Without it Publish returns esclient.ErrOutcomeUnknown, and with
	// it, too, if no repetition succeeds. With the number of an event as the expected version nothing is ever unknown
	// for that reason; see esclient.Client.Append for esclient.NoStream.
	RepublishUnknown bool
	// PublishTimeout bounds a Publish call, on top of the contexts of its messages, from waiting for a connection to
	// the last reply; it may come early by a sixty-fourth. The default is DefaultPublishTimeout; a negative value is no
	// limit.
	PublishTimeout time.Duration
	// CloseTimeout is how long Close waits for Publish calls whose messages were sent. The default is
	// DefaultCloseTimeout.
	CloseTimeout time.Duration
}

func (c *PublisherConfig) setDefaults() {
	if c.Marshaler == nil {
		c.Marshaler = DefaultMarshaler{}
	}
	if c.StreamName == nil {
		c.StreamName = func(topic string, _ *message.Message) (string, error) { return topic, nil }
	}
	if c.ExpectedVersion == 0 {
		c.ExpectedVersion = esclient.Any
	}
	if c.PublishTimeout == 0 {
		c.PublishTimeout = DefaultPublishTimeout
	}
	if c.CloseTimeout == 0 {
		c.CloseTimeout = DefaultCloseTimeout
	}
}

// Validate reports the first setting that cannot be used, as an *esclient.ConfigError.
func (c *PublisherConfig) Validate() error {
	if err := validateConnection("PublisherConfig", c.ConnectionString, c.Client); err != nil {
		return err
	}
	switch c.ExpectedVersion {
	case 0, esclient.Any, esclient.NoStream, esclient.StreamExists:
	default:
		return configError("PublisherConfig.ExpectedVersion", c.ExpectedVersion.String(),
			"is the number of an event; only a single message can expect that, see WithExpectedVersion")
	}
	if c.CloseTimeout < 0 {
		return configError("PublisherConfig.CloseTimeout", c.CloseTimeout.String(), "is negative")
	}
	return nil
}
