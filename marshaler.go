package eventstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Marshaler makes events of messages. Marshal must be safe for concurrent use and must not keep or change the message.
type Marshaler interface {
	Marshal(topic string, msg *message.Message) (esclient.EventData, error)
}

// Unmarshaler makes messages of events. Unmarshal must be safe for concurrent use. A [Subscriber] calls it again for
// each redelivery. It must not keep or change the event, and the message must not share memory with it. The message
// must come from [message.NewMessage]. The Subscriber sets its context.
type Unmarshaler interface {
	Unmarshal(topic string, event *esclient.Event) (*message.Message, error)
}

// MarshalerUnmarshaler is a [Marshaler] and an [Unmarshaler].
type MarshalerUnmarshaler interface {
	Marshaler
	Unmarshaler
}

// Metadata keys with a special meaning.
const (
	// UUIDKey holds the message's UUID in the metadata of an event of [DefaultMarshaler]. Received messages do not have
	// it.
	UUIDKey = "_watermill_message_uuid"
	// EventTypeKey holds the event type. Watermill's CQRS marshalers set it.
	EventTypeKey = "name"
	// CorrelationIDKey holds the correlation id. Watermill's CorrelationID middleware sets it.
	CorrelationIDKey = "correlation_id"
	// CausationIDKey holds the id of the message that caused this one.
	CausationIDKey = "causation_id"
	// RawMetadataKey holds the whole metadata of an event of another writer if it is not a JSON object.
	RawMetadataKey = "_eventstore_raw_metadata"
)

// DefaultEventType is the type of events whose message has no [EventTypeKey].
const DefaultEventType = "message"

// DefaultMarshaler stores a message unchanged: the payload is the event's data, byte for byte, and a JSON object with
// the metadata and the UUID is the event's metadata. A received message equals the published one.
//
// The event's type is the metadata [EventTypeKey] or, without it, EventType. For EventStore's own tools and
// projections, DefaultMarshaler marks JSON objects and arrays as JSON and copies some metadata to the keys that they
// know, such as [CorrelationIDKey] to $correlationId. The page docs/messages.md lists these keys.
//
// DefaultMarshaler reads events of other writers without an error. The event's id becomes the message's UUID. A
// metadata value that is not a string becomes its JSON text. Metadata that is not a JSON object is the value of
// [RawMetadataKey]. The event's type and the metadata that EventStore knows, such as $correlationId, set the keys of
// the message that are missing.
//
// The zero value is ready to use.
type DefaultMarshaler struct {
	// EventType is the type of events whose message has no metadata [EventTypeKey]. The default is [DefaultEventType].
	EventType string
	// ContentType decides whether a payload is marked as JSON. The default marks valid JSON objects and arrays.
	ContentType func(msg *message.Message) esclient.ContentType
}

var _ MarshalerUnmarshaler = DefaultMarshaler{}

// Marshal implements [Marshaler]. It refuses reserved metadata keys.
func (m DefaultMarshaler) Marshal(_ string, msg *message.Message) (e esclient.EventData, err error) {
	if msg == nil {
		return e, errors.New("the message is nil")
	}
	if err := m.marshal(&e, msg, nil); err != nil {
		return esclient.EventData{}, err
	}
	return e, nil
}

// marshal makes the event of a message. It appends the metadata to buf, which is empty.
func (m *DefaultMarshaler) marshal(e *esclient.EventData, msg *message.Message, buf []byte) (err error) {
	if e.Metadata, err = marshalMetadata(msg, buf); err != nil {
		return err
	}
	e.Data = msg.Payload
	e.Type = msg.Metadata[EventTypeKey]
	if e.Type == "" || !utf8.ValidString(e.Type) {
		e.Type = m.EventType
	}
	if e.Type == "" {
		e.Type = DefaultEventType
	}
	switch {
	case m.ContentType != nil:
		e.ContentType = m.ContentType(msg)
	case isJSON(msg.Payload):
		e.ContentType = esclient.ContentTypeJSON
	}
	return nil
}

// isJSON reports whether data is a JSON object or array. Other JSON values, such as a number, may be plain text.
func isJSON(data []byte) bool {
	for _, c := range data {
		switch c {
		case ' ', '\t', '\r', '\n':
		case '{', '[':
			return json.Valid(data)
		default:
			return false
		}
	}
	return false
}

// Unmarshal implements [Unmarshaler]. It never returns an error.
func (DefaultMarshaler) Unmarshal(_ string, e *esclient.Event) (*message.Message, error) {
	msg := message.NewMessage("", bytes.Clone(e.Data))
	var ours bool
	if msg.UUID, ours = unmarshalMetadata(msg.Metadata, e.Metadata); !ours {
		msg.UUID = e.ID.String()
		adopt(msg.Metadata, EventTypeKey, e.Type)
		defaultMappings.adopt(msg.Metadata)
	}
	return msg, nil
}
