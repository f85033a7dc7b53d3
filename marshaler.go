package eventstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// Marshaler makes the event of a message. It is called by many goroutines at once and must not keep or change the message.
type Marshaler interface {
	Marshal(topic string, msg *message.Message) (esclient.EventData, error)
}

// Unmarshaler makes the message of an event. It is called by many goroutines at once, and again for every redelivery; it
// must not keep or change the event, whose memory the message must not share. The message must come from
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

// Names in an event's metadata.
const (
	correlationID = "$correlationId" // by which EventStore's own tools and projections know the two
	causationID   = "$causationId"
	mappedKey     = "_watermill_mapped" // which of the two were added, and are taken out again
	binaryKey     = "_watermill_binary" // metadata that is not UTF-8: pairs of key and value, base64
)

// DefaultEventType is the type of events whose message has none.
const DefaultEventType = "message"

// DefaultMarshaler keeps a message as it is: its payload is the event's data, byte for byte, its metadata and UUID are the
// event's metadata, a JSON object. Read back, the message is equal to what was published.
//
// The event's type is the message's metadata "name", which Watermill's CQRS marshalers set, or EventType. For the tools of
// EventStore a JSON object or array is marked as JSON, and metadata correlation_id and causation_id are given as
// $correlationId and $causationId, too.
//
// Events of other writers are read without an error: a value in their metadata that is no string is given as its JSON text,
// metadata that is no JSON object as a whole under RawMetadataKey; the message's UUID is the event's id, and metadata
// "name", correlation_id and causation_id are taken from the event where it has none.
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
	start := bytes.TrimLeft(data, " \t\r\n")
	return len(start) > 1 && (start[0] == '{' || start[0] == '[') && json.Valid(data)
}

// Unmarshal implements Unmarshaler. It has no error.
func (DefaultMarshaler) Unmarshal(_ string, e *esclient.Event) (*message.Message, error) {
	metadata, uuid, ours := unmarshalMetadata(e.Metadata)
	if !ours {
		uuid = e.ID.String()
		adopt(metadata, EventTypeKey, e.Type)
		adopt(metadata, CorrelationIDKey, metadata[correlationID])
		adopt(metadata, CausationIDKey, metadata[causationID])
	}
	msg := message.NewMessage(uuid, bytes.Clone(e.Data))
	msg.Metadata = metadata
	return msg, nil
}

// adopt sets metadata that an event of another writer lacks.
func adopt(m message.Metadata, key, value string) {
	if _, has := m[key]; !has && value != "" {
		m[key] = value
	}
}

func marshalMetadata(msg *message.Message) ([]byte, error) {
	out := make(map[string]any, len(msg.Metadata)+4)
	var binary [][2][]byte
	for k, v := range msg.Metadata {
		switch {
		case k == UUIDKey || k == mappedKey || k == binaryKey:
			return nil, fmt.Errorf("metadata %q is reserved", k)
		case utf8.ValidString(k) && utf8.ValidString(v):
			out[k] = v
		default:
			binary = append(binary, [2][]byte{[]byte(k), []byte(v)})
		}
	}
	if binary != nil {
		out[binaryKey] = binary
	}
	var mapped []string
	for _, id := range [...]struct{ key, name string }{{CorrelationIDKey, correlationID}, {CausationIDKey, causationID}} {
		v := out[id.key]
		if _, taken := out[id.name]; v != nil && v != "" && !taken {
			out[id.name] = v
			mapped = append(mapped, id.name)
		}
	}
	if mapped != nil {
		out[mappedKey] = mapped
	}
	if utf8.ValidString(msg.UUID) {
		out[UUIDKey] = msg.UUID
	} else {
		out[UUIDKey] = []any{[]byte(msg.UUID)}
	}
	return json.Marshal(out)
}

// unmarshalMetadata reads what marshalMetadata wrote, and whatever else there may be; ours tells which.
func unmarshalMetadata(data []byte) (m message.Metadata, uuid string, ours bool) {
	var raw map[string]json.RawMessage
	if len(data) == 0 {
		return message.Metadata{}, "", false
	}
	if json.Unmarshal(data, &raw) != nil || raw == nil {
		return message.Metadata{RawMetadataKey: string(data)}, "", false
	}
	uuid, ours = uuidOf(raw[UUIDKey])
	if ours {
		delete(raw, UUIDKey)
	}
	m = make(message.Metadata, len(raw))
	for k, v := range raw {
		m[k] = textOf(v)
	}
	if !ours {
		return m, "", false
	}
	restoreMetadata(m, raw)
	return m, uuid, true
}

// restoreMetadata undoes what marshalMetadata did beside writing strings.
func restoreMetadata(m message.Metadata, raw map[string]json.RawMessage) {
	var mapped []string
	if json.Unmarshal(raw[mappedKey], &mapped) == nil {
		for _, name := range mapped {
			delete(m, name)
		}
		delete(m, mappedKey)
	}
	var binary [][2][]byte
	if json.Unmarshal(raw[binaryKey], &binary) == nil {
		for _, kv := range binary {
			m[string(kv[0])] = string(kv[1])
		}
		delete(m, binaryKey)
	}
}

// uuidOf reads a UUID: a string, or an array of one that is base64.
func uuidOf(raw json.RawMessage) (uuid string, ok bool) {
	var binary [][]byte
	switch {
	case len(raw) == 0:
	case json.Unmarshal(raw, &uuid) == nil && raw[0] == '"':
		return uuid, true
	case json.Unmarshal(raw, &binary) == nil && len(binary) == 1:
		return string(binary[0]), true
	}
	return "", false
}

func textOf(raw json.RawMessage) string {
	var s string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
