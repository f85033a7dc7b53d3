package eventstore

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Defaults of [PublisherConfig].
const (
	// DefaultPublishTimeout is the default of PublishTimeout.
	DefaultPublishTimeout = 30 * time.Second
	// DefaultCloseTimeout is the default of CloseTimeout.
	DefaultCloseTimeout = 30 * time.Second
)

// PublisherConfig configures a [Publisher]. It needs either ConnectionString or Client. All other fields have defaults.
type PublisherConfig struct {
	// ConnectionString makes the Publisher open a connection, which [Publisher.Close] closes. See
	// [esclient.ParseConnectionString] for its forms.
	ConnectionString string
	// Client lends its connection to the Publisher. The Publisher never closes it. Until Close, lost connections are in
	// the Publisher's log as well as in the Client's own.
	Client *esclient.Client

	// Marshaler makes events of messages. The default is [DefaultMarshaler].
	Marshaler Marshaler
	// StreamName returns the stream of a message. The default returns the topic. To have a stream for each aggregate,
	// combine the topic with data of the message, as in "order-" + id. Goroutines may call it concurrently.
	StreamName func(topic string, msg *message.Message) (string, error)
	// ExpectedVersion is the version that each stream must have: [esclient.NoStream], [esclient.StreamExists] or
	// [esclient.Any], which is the default. The context of a message can carry another version, which takes precedence;
	// see [WithExpectedVersion].
	ExpectedVersion esclient.ExpectedVersion
	// UseMessageUUIDAsEventID makes the UUID of a message the id of its event, so that the server recognises a message
	// that is published twice and writes it once (see [esclient.Client.Append] for its rules). A UUID that does not
	// have the form of RFC 4122 is hashed into one. An empty UUID gives a random id.
	//
	// Beware: the Requeuer, the PoisonQueue and retry topics publish messages again with the same UUID. If the stream
	// already has the event, Publish writes nothing and returns no error. If a known message comes before new ones in
	// one Publish call, the server refuses the call with [esclient.ErrWrongExpectedVersion]. By default each Publish
	// call makes new ids and keeps them over its retries.
	UseMessageUUIDAsEventID bool
	// RepublishUnknown makes Publish send messages again, with the same event ids, if the connection was lost before
	// the server confirmed them. The server recognises the ids and writes nothing twice, unless it was restarted or
	// another node became the leader meanwhile. Without RepublishUnknown, and if no attempt succeeds, Publish returns
	// [esclient.ErrOutcomeUnknown]. If the expected version is an event number, a lost connection never leaves the
	// outcome unknown; for [esclient.NoStream] see [esclient.Client.Append].
	RepublishUnknown bool
	// PublishTimeout limits a Publish call, in addition to the contexts of its messages, from the wait for a connection
	// to the last reply. It may end the call early by a sixty-fourth. The default is [DefaultPublishTimeout]. A
	// negative value is no limit.
	PublishTimeout time.Duration
	// CloseTimeout limits how long [Publisher.Close] waits for Publish calls that have sent their messages. The default
	// is [DefaultCloseTimeout].
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

// Validate returns the first invalid setting as an [*esclient.ConfigError].
func (c *PublisherConfig) Validate() error {
	if err := validateConnection("PublisherConfig", c.ConnectionString, c.Client); err != nil {
		return err
	}
	switch c.ExpectedVersion {
	case 0, esclient.Any, esclient.NoStream, esclient.StreamExists:
	default:
		return configError("PublisherConfig.ExpectedVersion", c.ExpectedVersion.String(),
			"is the number of an event: set it for a single message by WithExpectedVersion")
	}
	if c.CloseTimeout < 0 {
		return configError("PublisherConfig.CloseTimeout", c.CloseTimeout.String(), "is negative")
	}
	return nil
}
