package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// metadata are the parts of a stream's metadata that the server acts on.
type metadata struct {
	maxCount       int64
	maxAge         time.Duration
	truncateBefore int64
	acl            *acl // nil if the metadata has none
}

// MetadataType is the type of the events of metadata streams.
const MetadataType = "$metadata"

func isMetastream(name string) bool { return strings.HasPrefix(name, "$$") }

// parseMetadata reads an event of a metadata stream. It ignores numbers that are out of range. After any other mistake
// the stream has no metadata.
func parseMetadata(r *Record) metadata {
	if !r.JSON {
		return metadata{}
	}
	fields, err := parseObject(r.Data())
	if err != nil {
		return metadata{}
	}
	var m metadata
	var seconds, cacheControl int64
	var temporary bool
	err = errors.Join(
		parseField(fields, "$maxCount", &m.maxCount), parseField(fields, "$maxAge", &seconds),
		parseField(fields, "$tb", &m.truncateBefore), parseField(fields, "$tmp", &temporary),
		parseField(fields, "$cacheControl", &cacheControl),
	)
	if raw, ok := fields["$acl"]; ok && err == nil {
		m.acl, err = parseACL(raw)
	}
	if err != nil || seconds > maxAgeSeconds {
		return metadata{}
	}
	m.maxAge = time.Duration(seconds) * time.Second
	return m
}

// setMetadata gives a stream the metadata of an event of its metadata stream. A metadata stream gets none.
func (l *Log) setMetadata(name string, r *Record) {
	if !isMetastream(name) {
		l.streamFor(name).meta = parseMetadata(r)
	}
}

// maxAgeSeconds is the greatest age that a time.Duration can hold.
const maxAgeSeconds = math.MaxInt64 / int64(time.Second)

// parseObject reads a JSON object and ignores the rest of the data.
func parseObject(data []byte) (fields map[string]json.RawMessage, err error) {
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&fields); err != nil {
		return nil, err
	}
	if fields == nil {
		return nil, errors.New("null is no object")
	}
	return fields, nil
}

// parseField reads a field, which may be missing but must not be null.
func parseField[T int64 | bool](fields map[string]json.RawMessage, key string, v *T) error {
	raw, ok := fields[key]
	if !ok {
		return nil
	}
	if string(raw) == "null" {
		return fmt.Errorf("%s is null", key)
	}
	return json.Unmarshal(raw, v)
}

// SoftDeleteData are the metadata of a soft-deleted stream. A soft delete removes all other metadata.
var SoftDeleteData = []byte(`{"$tb":9223372036854775807}`)

// showFrom hides the events before first, after a write that brought a soft-deleted stream back. It writes a copy of
// the metadata with another $tb. It does nothing if the metadata are no JSON object.
func (l *Log) showFrom(s *Stream, first int64) {
	meta := l.streamFor("$$" + s.Name)
	if data, ok := withTruncateBefore(meta.At(meta.Last()).Data(), first); ok {
		l.SystemAppend(meta.Name, MetadataType, true, data, nil)
	}
}

// withTruncateBefore sets $tb in a metadata object and keeps the other keys.
func withTruncateBefore(data []byte, first int64) (b []byte, ok bool) {
	var m map[string]json.RawMessage
	if json.Unmarshal(data, &m) != nil || m == nil {
		return nil, false
	}
	m["$tb"], _ = json.Marshal(first)
	b, _ = json.Marshal(m) // a map of valid JSON
	return b, true
}

// revivedBy returns the soft-deleted stream that a write to a metadata stream brings back; nil without one. The caller
// asks before the write.
func (l *Log) revivedBy(name string) *Stream {
	if !isMetastream(name) {
		return nil
	}
	if s := l.Stream(name[2:]); s != nil && s.SoftDeleted() {
		return s
	}
	return nil
}
