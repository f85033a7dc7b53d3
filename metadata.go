package eventstore

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
)

// metadataMapping pairs a key of a message's metadata with the key by which EventStore's tools and projections know the
// same value in an event's metadata.
type metadataMapping struct {
	message string
	event   string // begins with the only $ in it: mappedKey lists event keys one after the other
}

// metadataMappings are the mappings of DefaultMarshaler.
type metadataMappings []metadataMapping

var defaultMappings = metadataMappings{
	{message: CorrelationIDKey, event: "$correlationId"},
	{message: CausationIDKey, event: "$causationId"},
}

// Reserved keys in an event's metadata.
const (
	mappedKey = "_watermill_mapped" // lists the event keys that Marshal added
	binaryKey = "_watermill_binary" // metadata that is not UTF-8: pairs of key and value, base64
)

// marshalMetadata appends the metadata and the UUID of a message to b, which is empty, as a JSON object.
func marshalMetadata(msg *message.Message, b []byte) ([]byte, error) {
	size := len(UUIDKey) + len(msg.UUID) + 8
	if len(msg.Metadata) > 0 { // a loop over an empty map has a cost, too
		for k, v := range msg.Metadata {
			size += len(k) + len(v) + 6
		}
	}
	if cap(b) < size {
		b = make([]byte, 0, size)
	}
	b = append(b, '{')
	if len(msg.Metadata) > 0 {
		var err error
		if b, err = appendMetadata(b, msg.Metadata); err != nil {
			return nil, err
		}
	}
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(b, `"`+UUIDKey+`":`...)
	if utf8.ValidString(msg.UUID) {
		b = appendString(b, msg.UUID)
	} else {
		b = appendEncoded(b, [][]byte{[]byte(msg.UUID)})
	}
	return append(b, '}'), nil
}

func appendMetadata(b []byte, m message.Metadata) ([]byte, error) {
	var binary [][2][]byte
	for k, v := range m {
		switch {
		case k == UUIDKey || k == mappedKey || k == binaryKey:
			return nil, fmt.Errorf("metadata %q is reserved", k)
		case utf8.ValidString(k) && utf8.ValidString(v):
			b = appendMember(b, k, v)
		default:
			binary = append(binary, [2][]byte{[]byte(k), []byte(v)})
		}
	}
	b = defaultMappings.append(b, m)
	if binary != nil {
		b = appendEncoded(appendKey(b, binaryKey), binary)
	}
	return b, nil
}

// append adds each value under its event key too, unless the message has that key itself, and lists the keys it added.
func (ms metadataMappings) append(b []byte, m message.Metadata) []byte {
	added := ""
	for _, mapping := range ms {
		v := m[mapping.message]
		if _, taken := m[mapping.event]; v != "" && !taken && utf8.ValidString(v) {
			b = appendMember(b, mapping.event, v)
			added += mapping.event
		}
	}
	if added != "" {
		b = appendMember(b, mappedKey, added)
	}
	return b
}

// adopt sets each message key that is missing in an event of another writer to the value of its event key.
func (ms metadataMappings) adopt(m message.Metadata) {
	for _, mapping := range ms {
		adopt(m, mapping.message, m[mapping.event])
	}
}

// adopt sets a key unless it is there or the value is empty.
func adopt(m message.Metadata, key, value string) {
	if _, has := m[key]; !has && value != "" {
		m[key] = value
	}
}

// removeMapped undoes metadataMappings.append. It uses the list in the event, because a later version with more
// mappings may have written the event.
func removeMapped(m message.Metadata) {
	listed, ok := m[mappedKey]
	if !ok {
		return
	}
	delete(m, mappedKey)
	_, keys, ok := strings.Cut(listed, "$")
	if !ok {
		return
	}
	for key := range strings.SplitSeq(keys, "$") {
		delete(m, "$"+key)
	}
}

// appendMember appends a member to an open JSON object.
func appendMember(b []byte, key, value string) []byte { return appendString(appendKey(b, key), value) }

func appendKey(b []byte, key string) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	return append(appendString(b, key), ':')
}

// appendEncoded appends a value of a type whose encoding cannot fail.
func appendEncoded[T string | [][]byte | [][2][]byte](b []byte, value T) []byte {
	encoded, _ := json.Marshal(value)
	return append(b, encoded...)
}

func appendString(b []byte, s string) []byte {
	if !needsNoEscape(s) {
		return appendEncoded(b, s)
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// needsNoEscape reports whether s, which is UTF-8, is a JSON string without escapes. It compares eight bytes at a time.
func needsNoEscape(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if (hasLess(w, ' ')|hasLess(w^'"'*eachByte, 1)|hasLess(w^'\\'*eachByte, 1))&(0x80*eachByte) != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return true
}

const eachByte = 0x0101010101010101

// hasLess sets the highest bit of a byte if any byte of w is less than n, which is at most 128. The other bits mean
// nothing.
func hasLess(w, n uint64) uint64 { return (w - n*eachByte) &^ w }

// unmarshalMetadata decodes the metadata of any event into an empty m. ours reports whether marshalMetadata wrote it;
// only then it has a UUID.
func unmarshalMetadata(m message.Metadata, data []byte) (uuid string, ours bool) {
	if len(data) == 0 {
		return "", false
	}
	if uuid, ok := scanUUID(data); ok {
		return uuid, true
	}
	if uuid, ours, ok := scanStrings(m, string(data)); ok {
		if ours {
			removeMapped(m)
		}
		return uuid, ours
	}
	clear(m)
	var raw map[string]json.RawMessage
	if json.Unmarshal(data, &raw) != nil || raw == nil {
		m[RawMetadataKey] = string(data)
		return "", false
	}
	if uuid, ours = uuidOf(raw[UUIDKey]); ours {
		delete(raw, UUIDKey)
	}
	for k, v := range raw {
		m[k] = textOf(v)
	}
	if !ours {
		return "", false
	}
	restoreMetadata(m, raw)
	return uuid, true
}

const uuidPrefix = `{"` + UUIDKey + `":"`

// scanUUID decodes the metadata of a message that has none but its UUID. It allocates only the UUID.
func scanUUID(data []byte) (uuid string, ok bool) {
	end := len(data) - 2
	if end < len(uuidPrefix) || string(data[:len(uuidPrefix)]) != uuidPrefix || string(data[end:]) != `"}` {
		return "", false
	}
	id := data[len(uuidPrefix):end]
	for _, c := range id {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return "", false
		}
	}
	return string(id), true
}

// scanStrings decodes the most common metadata, an object of strings without escapes, in a fraction of the time of
// encoding/json. The strings share the memory of s. If ok is false, s has another form and the contents of m are
// undefined.
func scanStrings(m message.Metadata, s string) (uuid string, ours, ok bool) {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' || !utf8.ValidString(s) {
		return "", false, false
	}
	rest := s[1 : len(s)-1]
	for rest != "" {
		var key, value string
		if key, rest, ok = scanString(rest); !ok || rest == "" || rest[0] != ':' {
			return "", false, false
		}
		if value, rest, ok = scanString(rest[1:]); !ok {
			return "", false, false
		}
		if key == UUIDKey {
			uuid, ours = value, true
		} else {
			m[key] = value
		}
		if rest == "" {
			break
		}
		if rest[0] != ',' || len(rest) == 1 {
			return "", false, false
		}
		rest = rest[1:]
	}
	return uuid, ours, true
}

func scanString(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[1:i], s[i+1:], true
		case c < ' ' || c == '\\':
			return "", "", false
		}
	}
	return "", "", false
}

// restoreMetadata removes the copies that marshalMetadata added and decodes metadata that is not UTF-8.
func restoreMetadata(m message.Metadata, raw map[string]json.RawMessage) {
	removeMapped(m)
	var binary [][2][]byte
	if json.Unmarshal(raw[binaryKey], &binary) == nil {
		for _, kv := range binary {
			m[string(kv[0])] = string(kv[1])
		}
		delete(m, binaryKey)
	}
}

// uuidOf decodes a UUID: a string, or an array of one base64 string if the UUID is not UTF-8.
func uuidOf(raw json.RawMessage) (uuid string, ok bool) {
	var binary [][]byte
	switch {
	case len(raw) == 0:
	case raw[0] == '"' && json.Unmarshal(raw, &uuid) == nil:
		return uuid, true
	case json.Unmarshal(raw, &binary) == nil && len(binary) == 1:
		return string(binary[0]), true
	}
	return "", false
}

// textOf returns a JSON string's value, or the JSON text of another value.
func textOf(raw json.RawMessage) string {
	var s string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
