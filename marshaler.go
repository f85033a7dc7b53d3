package eventstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Marshaler makes the event of a message. It is called by many goroutines at once and must not keep or change the
// message.
type Marshaler interface {
	Marshal(topic string, msg *message.Message) (esclient.EventData, error)
}

// Unmarshaler makes the message of an event. It is called by many goroutines at once, and again for every redelivery;
// it must not keep or change the event, whose memory the message must not share. The message must come from
// message.NewMessage; its context is set by the Subscriber.
type Unmarshaler interface {
	Unmarshal(topic string, event *esclient.Event) (*message.Message, error)
}

// MarshalerUnmarshaler is both.
type MarshalerUnmarshaler interface {
	Marshaler
	Unmarshaler
}

// Metadata keys with a meaning of their own.
const (
	// UUIDKey is where DefaultMarshaler keeps a message's UUID in the event's metadata. Messages that are received do
	// not have it.
	UUIDKey = "_watermill_message_uuid"
	// EventTypeKey is the metadata that the event type is taken from: the one that Watermill's CQRS marshalers set.
	EventTypeKey = "name"
	// CorrelationIDKey is the metadata that Watermill's CorrelationID middleware sets.
	CorrelationIDKey = "correlation_id"
	// CausationIDKey is the metadata for the id of the message that led to this one.
	CausationIDKey = "causation_id"
	// RawMetadataKey holds the metadata of an event of another writer that is not a JSON object.
	RawMetadataKey = "_eventstore_raw_metadata"
)

// DefaultEventType is the type of events whose message has none.
const DefaultEventType = "message"

// DefaultMarshaler keeps a message as it is: its payload is the event's data, byte for byte, its metadata and UUID are
// the event's metadata, a JSON object. Read back, the message is equal to what was published.
//
// The event's type is the message's metadata "name", which Watermill's CQRS marshalers set, or EventType. For the tools
// of EventStore a JSON object or array is marked as JSON, and metadata correlation_id and causation_id are given as
// $correlationId and $causationId, too.
//
// Events of other writers are read without an error: a value in their metadata that is no string is given as its JSON
// text, metadata that is no JSON object as a whole under RawMetadataKey; the message's UUID is the event's id, and
// metadata "name", correlation_id and causation_id are taken from the event where it has none.
//
// The zero value is ready for use.
type DefaultMarshaler struct {
	// EventType is the type of events whose message has no metadata "name". The default is DefaultEventType.
	EventType string
	// ContentType decides whether a payload is marked as JSON. By default it is if it is a valid JSON object or array.
	ContentType func(msg *message.Message) esclient.ContentType
}

var _ MarshalerUnmarshaler = DefaultMarshaler{}

// Marshal implements Marshaler.
func (m DefaultMarshaler) Marshal(_ string, msg *message.Message) (esclient.EventData, error) {
	if msg == nil {
		return esclient.EventData{}, errors.New("the message is nil")
	}
	metadata, err := marshalMetadata(msg)
	if err != nil {
		return esclient.EventData{}, err
	}
	e := esclient.EventData{Type: msg.Metadata[EventTypeKey], Data: msg.Payload, Metadata: metadata}
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
	return e, nil
}

// isJSON reports whether data is a JSON object or array. Other JSON, a number say, may just as well be something else.
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

// Unmarshal implements Unmarshaler. It has no error.
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
