package estest

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// metadata is what a stream's metadata says that matters to the server.
type metadata struct {
	maxCount       int64
	maxAge         time.Duration
	truncateBefore int64
	acl            *acl // nil where the metadata has none
}

const metadataType = "$metadata"

func isMetastream(name string) bool { return strings.HasPrefix(name, "$$") }

// parseMetadata reads an event of a metadata stream. Values that make no sense are ignored, one by one.
func parseMetadata(r *record) (m metadata) {
	var raw map[string]json.RawMessage
	if !r.json || json.Unmarshal(r.data, &raw) != nil {
		return m
	}
	if n, ok := jsonInt(raw["$maxCount"]); ok && n > 0 {
		m.maxCount = n
	}
	if n, ok := jsonInt(raw["$maxAge"]); ok && n > 0 {
		m.maxAge = time.Duration(min(n, int64(1<<63-1)/int64(time.Second))) * time.Second
	}
	if n, ok := jsonInt(raw["$tb"]); ok && n >= 0 {
		m.truncateBefore = n
	}
	if a, ok := raw["$acl"]; ok {
		m.acl = parseACL(a)
	}
	return m
}

func jsonInt(raw json.RawMessage) (n int64, ok bool) {
	return n, raw != nil && json.Unmarshal(raw, &n) == nil
}

// softDeleteData is the metadata that a soft delete leaves: everything else is gone.
var softDeleteData = []byte(`{"$tb":9223372036854775807}`)

// recreate writes the metadata that makes a soft-deleted stream visible again from number first on.
func (c *core) recreate(s *stream, first int64) {
	meta := c.streamFor("$$" + s.name)
	last := meta.at(meta.last())
	data := withTruncateBefore(last.data, first)
	c.systemAppend(meta.name, metadataType, true, data, nil)
}

// withTruncateBefore sets $tb in a metadata object and keeps its other keys.
func withTruncateBefore(data []byte, first int64) []byte {
	m := make(map[string]json.RawMessage)
	if json.Unmarshal(data, &m) != nil {
		m = make(map[string]json.RawMessage)
	}
	m["$tb"], _ = json.Marshal(first)
	b, _ := json.Marshal(m) // a map of valid JSON
	return b
}

// undelete follows a user's metadata for a soft-deleted stream: it brings the stream back, and if it is JSON the server
// adds a copy that hides the old events.
func (c *core) undelete(s *stream, written *record) {
	var m map[string]json.RawMessage
	if !written.json || json.Unmarshal(written.data, &m) != nil {
		return
	}
	c.systemAppend("$$"+s.name, metadataType, true, withTruncateBefore(written.data, s.last()+1), nil)
}

// softDeletedTarget returns the soft-deleted stream that a write to the metadata stream name brings back, if any.
func (c *core) softDeletedTarget(name string) *stream {
	if !isMetastream(name) {
		return nil
	}
	if s := c.stream(name[2:]); s != nil && s.softDeleted() && s.last() >= 0 && s.last() != esproto.DeletedStream {
		return s
	}
	return nil
}
