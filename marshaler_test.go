package eventstore_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// throughTheServer marshals and unmarshals a message.
func throughTheServer(
	t testing.TB, m eventstore.MarshalerUnmarshaler, msg *message.Message,
) (*message.Message, esclient.EventData) {
	t.Helper()
	data, err := m.Marshal("topic", msg)
	require.NoError(t, err)
	got, err := m.Unmarshal("topic", &esclient.Event{
		Type: data.Type, ID: uuid.New(), Data: data.Data, Metadata: data.Metadata,
	})
	require.NoError(t, err)
	return got, data
}

func TestAMessageIsReadAsItWasPublished(t *testing.T) {
	for name, metadata := range map[string]message.Metadata{
		"none":                      {},
		"usual":                     {"name": "Placed", "a": "1", "<&>": "ä\u2028\x00\\\""},
		"correlated":                {"correlation_id": "c", "causation_id": "d"},
		"correlated both ways":      {"correlation_id": "c", "$correlationId": "c"},
		"correlated in two ways":    {"correlation_id": "c", "$correlationId": "other"},
		"correlation without value": {"correlation_id": "", "$causationId": "x"},
		"JSON":                      {"json": `{"a":[1]}`, "number": "1", "null": "null"},
		"no UTF-8":                  {"\xff": "key", "value": "\xfe\x00", "name": "\xff"},
		"raw":                       {eventstore.RawMetadataKey: "\xff"},
	} {
		for _, id := range []string{"", "1", uuid.NewString(), "01ARZ3NDEKTSV4RRFFQ69G5FAV", "\xff"} {
			msg := message.NewMessage(id, message.Payload("\x00\xff payload"))
			msg.Metadata = maps.Clone(metadata)
			got, _ := throughTheServer(t, eventstore.DefaultMarshaler{}, msg)
			assert.True(t, msg.Equals(got),
				"%s: %q %v became %q %v", name, msg.UUID, msg.Metadata, got.UUID, got.Metadata)
			assert.Equal(t, metadata, msg.Metadata, "publishing changes no message")
		}
	}
}

func TestAMessageIsAnEventForEventStore(t *testing.T) {
	typed := func(m eventstore.DefaultMarshaler, name, payload string) esclient.EventData {
		msg := newMessage(payload)
		msg.Metadata.Set("name", name)
		msg.Metadata.Set("correlation_id", "c-1")
		_, data := throughTheServer(t, m, msg)
		return data
	}
	data := typed(eventstore.DefaultMarshaler{}, "Placed", ` {"a": 1}`)
	assert.Equal(t, "Placed", data.Type)
	assert.Equal(t, esclient.ContentTypeJSON, data.ContentType)
	assert.Equal(t, ` {"a": 1}`, string(data.Data))
	var metadata map[string]any
	require.NoError(t, json.Unmarshal(data.Metadata, &metadata))
	assert.Equal(t, "c-1", metadata["$correlationId"])
	assert.Equal(t, "c-1", metadata["correlation_id"])

	assert.Equal(t, eventstore.DefaultEventType, typed(eventstore.DefaultMarshaler{}, "", "").Type)
	assert.Equal(t, "own", typed(eventstore.DefaultMarshaler{EventType: "own"}, "", "").Type)
	for payload, want := range map[string]esclient.ContentType{
		"": esclient.ContentTypeBinary, "{": esclient.ContentTypeBinary, "1": esclient.ContentTypeBinary,
		"text": esclient.ContentTypeBinary, "[1,2]": esclient.ContentTypeJSON, "{}": esclient.ContentTypeJSON,
	} {
		assert.Equal(t, want, typed(eventstore.DefaultMarshaler{}, "x", payload).ContentType, payload)
	}
	binary := func(*message.Message) esclient.ContentType { return esclient.ContentTypeBinary }
	assert.Equal(t, esclient.ContentTypeBinary,
		typed(eventstore.DefaultMarshaler{ContentType: binary}, "x", "{}").ContentType)
}

func TestReservedMetadataIsRefused(t *testing.T) {
	for _, key := range []string{eventstore.UUIDKey, "_watermill_mapped", "_watermill_binary"} {
		msg := newMessage("x")
		msg.Metadata.Set(key, "x")
		_, err := eventstore.DefaultMarshaler{}.Marshal("topic", msg)
		assert.ErrorContains(t, err, key)
	}
	_, err := eventstore.DefaultMarshaler{}.Marshal("topic", nil)
	assert.Error(t, err)
}

func TestEventsOfOthersAreRead(t *testing.T) {
	id := uuid.New()
	for raw, want := range map[string]message.Metadata{
		"":                              {"name": "T"},
		"{}":                            {"name": "T"},
		"plain text":                    {"name": "T", eventstore.RawMetadataKey: "plain text"},
		"null":                          {"name": "T", eventstore.RawMetadataKey: "null"},
		"[1]":                           {"name": "T", eventstore.RawMetadataKey: "[1]"},
		`{"n":1,"b":true,"o":{"x":[]}}`: {"name": "T", "n": "1", "b": "true", "o": `{"x":[]}`},
		`{"nothing":null,"name":"own"}`: {"name": "own", "nothing": "null"},
		`{"$correlationId":"c","$causationId":"d"}`: {
			"name": "T", "$correlationId": "c", "correlation_id": "c", "$causationId": "d", "causation_id": "d",
		},
		`{"_watermill_message_uuid":7}`:             {"name": "T", "_watermill_message_uuid": "7"},
		`{"a":"` + "\xff" + `","_watermill_x":"1"}`: {"name": "T", "a": "\ufffd", "_watermill_x": "1"},
	} {
		msg, err := eventstore.DefaultMarshaler{}.Unmarshal("topic", &esclient.Event{
			ID: id, Type: "T", Data: []byte("x"), Metadata: []byte(raw),
		})
		require.NoError(t, err)
		assert.Equal(t, want, msg.Metadata, raw)
		assert.Equal(t, id.String(), msg.UUID)
		assert.Equal(t, "x", string(msg.Payload))
	}
}

// A Requeuer or a PoisonQueue publishes received messages again: nothing may be lost or refused then.
func FuzzMessagesSurviveTheRoundTrip(f *testing.F) {
	f.Add("id", []byte(`{"a":1}`), []byte(`{"a":"b","n":1}`), "key", "value")
	f.Add("", []byte{}, []byte(`{"$correlationId":"x"}`), "correlation_id", "c")
	mapped := `{"_watermill_message_uuid":"u","_watermill_mapped":["a"],"_watermill_binary":[["YQ==","Yg=="]]}`
	f.Add("\xff", []byte("\x00"), []byte(mapped), "\xfe", "")
	f.Add("1", []byte("[]"), []byte("no json"), "_eventstore_raw_metadata", "\x80")
	f.Fuzz(func(t *testing.T, id string, payload, foreign []byte, key, value string) {
		m := eventstore.DefaultMarshaler{}
		msg := message.NewMessage(id, payload)
		msg.Metadata.Set(key, value)
		if data, err := m.Marshal("topic", msg); err == nil {
			got, err := m.Unmarshal("topic", &esclient.Event{Type: data.Type, Data: data.Data, Metadata: data.Metadata})
			require.NoError(t, err)
			require.True(t, msg.Equals(got), "%v became %v", msg, got)
		}
		read, err := m.Unmarshal("topic", &esclient.Event{Type: "T", ID: uuid.New(), Data: payload, Metadata: foreign})
		require.NoError(t, err)
		if data, err := m.Marshal("topic", read); err == nil {
			again, err := m.Unmarshal("topic", &esclient.Event{
				Type: data.Type, Data: data.Data, Metadata: data.Metadata,
			})
			require.NoError(t, err)
			require.True(t, read.Equals(again), "%v became %v", read, again)
		}
	})
}

// scanStrings must read metadata as encoding/json does.
func FuzzMetadataIsReadAsJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":"b"}`, `{"a":"b","a":"c","ä":"ö"}`, `{"a":"\u00e4"}`, `{"a":"b",}`, `{"a" : "b"}`, `{"a":1}`, `{,}`,
		`{"a"}`, `{"a":"b"}}`, `{"a":"b""c":"d"}`, "{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}", `{"":""}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var want map[string]string
		if err := json.Unmarshal([]byte(raw), &want); err != nil || want == nil || raw[0] != '{' {
			return // no metadata of a message
		}
		for k, v := range want {
			if k == eventstore.UUIDKey || v == "" {
				return // null is read as text, and a UUID is taken out
			}
		}
		msg, err := eventstore.DefaultMarshaler{}.Unmarshal("topic", &esclient.Event{
			Metadata: []byte(raw), ID: uuid.New(),
		})
		require.NoError(t, err)
		delete(want, "correlation_id")
		delete(want, "causation_id")
		delete(msg.Metadata, "correlation_id")
		delete(msg.Metadata, "causation_id")
		require.Equal(t, message.Metadata(want), msg.Metadata)
	})
}

func BenchmarkMarshal(b *testing.B) {
	msg := message.NewMessage(uuid.NewString(), make([]byte, 256))
	msg.Metadata.Set("name", "OrderPlaced")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (eventstore.DefaultMarshaler{}).Marshal("topic", msg); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	msg := message.NewMessage(uuid.NewString(), make([]byte, 256))
	msg.Metadata.Set("name", "OrderPlaced")
	_, data := throughTheServer(b, eventstore.DefaultMarshaler{}, msg)
	e := &esclient.Event{Type: data.Type, Data: data.Data, Metadata: data.Metadata}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (eventstore.DefaultMarshaler{}).Unmarshal("topic", e); err != nil {
			b.Fatal(err)
		}
	}
}

// Marshal allocates the event's metadata. Unmarshal allocates the message, its two channels and its map, and one copy
// each of payload and metadata.
func TestMarshalerAllocations(t *testing.T) {
	var m eventstore.DefaultMarshaler
	msg := newMessage(strings.Repeat("x", 256))
	data, err := m.Marshal("topic", msg)
	require.NoError(t, err)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, err = m.Marshal("topic", msg) }), 1.0)
	event := &esclient.Event{Type: data.Type, Data: data.Data, Metadata: data.Metadata}
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, err = m.Unmarshal("topic", event) }), 6.0)
	require.NoError(t, err)
}
