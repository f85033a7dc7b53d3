package esclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// StreamMetadata are the metadata of a stream. With the zero value the server keeps all events, and the default access
// rights apply.
type StreamMetadata struct {
	// MaxCount is how many of the newest events the stream keeps; 0 keeps all.
	MaxCount int64
	// MaxAge is how long the stream keeps an event, in whole seconds; 0 keeps them for ever.
	MaxAge time.Duration
	// TruncateBefore is the number of the first event that the stream keeps. math.MaxInt64 is that of a stream which
	// DeleteStream has deleted.
	TruncateBefore int64
	// CacheControl is how long the server's HTTP interface allows caches to keep the head of the stream, in whole
	// seconds; 0 is the server's default.
	CacheControl time.Duration
	// ACL are the rights to the stream.
	ACL StreamACL
	// Custom has all other members of the metadata, by their keys, as unchanged JSON. The fields above have the keys
	// $maxCount, $maxAge, $tb, $cacheControl and $acl, which Custom cannot have.
	Custom map[string]json.RawMessage
}

// StreamACL are the rights to a stream and to its metadata. Each right is a list of logins and groups, such as
// "$admins"; [RoleAll] is every user. With nil the default applies. An empty list leaves the administrators, who have
// all rights.
type StreamACL struct {
	Read, Write, Delete []string
	MetaRead, MetaWrite []string
}

// Roles that every server has.
const (
	RoleAll    = "$all"    // everyone
	RoleAdmins = "$admins" // the administrators
	RoleOps    = "$ops"    // the operators
)

// StreamMetadata returns the metadata of a stream, and the version to expect in the next SetStreamMetadata. If the
// stream has none, these are the zero StreamMetadata and NoStream. A value without a meaning, such as a $maxCount of 0,
// counts as absent, as it does for the server.
//
// The error is [ErrStreamDeleted] for a stream with a tombstone, and [ErrAccessDenied] if the user lacks the right. If
// the metadata is no JSON object, or has values of a wrong type, the error is that of the decoder; RawStreamMetadata
// then returns the data.
func (c *Client) StreamMetadata(ctx context.Context, stream string) (StreamMetadata, ExpectedVersion, error) {
	data, version, err := c.RawStreamMetadata(ctx, stream)
	if err != nil || data == nil {
		return StreamMetadata{}, version, err
	}
	var m StreamMetadata
	if err := m.UnmarshalJSON(data); err != nil {
		return StreamMetadata{}, version, &OperationError{Operation: "read metadata", Stream: stream, Err: err}
	}
	return m, version, nil
}

// RawStreamMetadata returns the encoded metadata of a stream, nil if the stream has none; see StreamMetadata.
func (c *Client) RawStreamMetadata(ctx context.Context, stream string) ([]byte, ExpectedVersion, error) {
	if err := validateMetadataOf(stream); err != nil {
		return nil, NoStream, err
	}
	return c.lastData(ctx, "read metadata", stream, metadataPrefix+stream)
}

// lastData returns the data and the number of the last event of a stream; NoStream if it has none.
func (c *Client) lastData(ctx context.Context, what, stream, in string) ([]byte, ExpectedVersion, error) {
	page, err := c.ReadStreamPage(ctx, in, ReadOptions{Backward: true, MaxCount: 1})
	switch {
	case errors.Is(err, ErrStreamNotFound), err == nil && len(page.Events) == 0:
		return nil, NoStream, nil
	case err != nil:
		if op := (*OperationError)(nil); errors.As(err, &op) {
			err = op.Err
		}
		return nil, NoStream, &OperationError{Operation: what, Stream: stream, Err: err}
	}
	e := &page.Events[0]
	return append([]byte{}, e.Data...), ExpectedVersion(e.Number), nil
}

// SetStreamMetadata replaces the metadata of a stream, which need not exist, with effect at once. To change a part,
// read the metadata first and expect the version that was read. LastEventNumber of the result is the version to expect
// the next time.
//
// It is an append to the metadata stream: see [Client.Append] for the errors. Metadata for a stream that DeleteStream
// has deleted brings the stream back, without its old events. The server then writes its own metadata after that, so
// read the metadata again to learn the version.
func (c *Client) SetStreamMetadata(
	ctx context.Context, stream string, expected ExpectedVersion, m StreamMetadata,
) (AppendResult, error) {
	data, err := m.MarshalJSON()
	if err != nil {
		return AppendResult{}, err
	}
	return c.SetRawStreamMetadata(ctx, stream, expected, data)
}

// SetRawStreamMetadata is SetStreamMetadata for encoded metadata. The data must be a JSON object: servers ignore
// anything else, rights included.
func (c *Client) SetRawStreamMetadata(
	ctx context.Context, stream string, expected ExpectedVersion, data []byte,
) (AppendResult, error) {
	if err := validateMetadataOf(stream); err != nil {
		return AppendResult{}, err
	}
	if object := map[string]json.RawMessage(nil); json.Unmarshal(data, &object) != nil || object == nil {
		return AppendResult{}, &ArgumentError{Argument: "data", Reason: "it is no JSON object"}
	}
	return c.Append(ctx, metadataPrefix+stream, expected,
		EventData{Type: metadataType, ContentType: ContentTypeJSON, Data: data})
}

const (
	metadataPrefix = "$$" // begins the names of metadata streams
	metadataType   = "$metadata"
)

func validateMetadataOf(stream string) error {
	if err := validateName("stream", stream); err != nil {
		return err
	}
	if strings.HasPrefix(stream, metadataPrefix) {
		return &ArgumentError{Argument: "stream", Reason: fmt.Sprintf("%q is a metadata stream itself", stream)}
	}
	return nil
}

// The keys that the server uses.
const (
	keyMaxCount       = "$maxCount"
	keyMaxAge         = "$maxAge"
	keyTruncateBefore = "$tb"
	keyCacheControl   = "$cacheControl"
	keyACL            = "$acl"
)

// MarshalJSON encodes the metadata for the server. It refuses values that the server would ignore, with an
// *ArgumentError.
func (m StreamMetadata) MarshalJSON() ([]byte, error) {
	var o object
	for _, n := range []struct {
		field, key string
		n          int64
	}{{"MaxCount", keyMaxCount, m.MaxCount}, {"TruncateBefore", keyTruncateBefore, m.TruncateBefore}} {
		if n.n < 0 {
			return nil, &ArgumentError{Argument: "StreamMetadata." + n.field,
				Reason: fmt.Sprintf("%d is negative", n.n)}
		}
	}
	for _, d := range []struct {
		field string
		d     time.Duration
	}{{"MaxAge", m.MaxAge}, {"CacheControl", m.CacheControl}} {
		if d.d < 0 || d.d%time.Second != 0 {
			return nil, &ArgumentError{Argument: "StreamMetadata." + d.field,
				Reason: fmt.Sprintf("%v is no whole number of seconds from 0 on", d.d)}
		}
	}
	o.number(keyMaxCount, m.MaxCount)
	o.number(keyMaxAge, int64(m.MaxAge/time.Second))
	o.number(keyTruncateBefore, m.TruncateBefore)
	o.number(keyCacheControl, int64(m.CacheControl/time.Second))
	if err := o.acl("StreamMetadata.ACL", keyACL, &m.ACL); err != nil {
		return nil, err
	}
	return o.rest("StreamMetadata.Custom", m.Custom, keyMaxCount, keyMaxAge, keyTruncateBefore, keyCacheControl, keyACL)
}

// UnmarshalJSON decodes metadata. It replaces all fields of m.
func (m *StreamMetadata) UnmarshalJSON(data []byte) error {
	f := fieldsOf(data)
	*m = StreamMetadata{
		MaxCount:       f.number(keyMaxCount, 1),
		MaxAge:         f.seconds(keyMaxAge),
		TruncateBefore: f.number(keyTruncateBefore, 0),
		CacheControl:   f.seconds(keyCacheControl),
		ACL:            f.acl(keyACL),
	}
	m.Custom = f.rest()
	return f.err
}

// aclRight is one right of a StreamACL.
type aclRight struct {
	key   string
	field string
	roles *[]string
}

func (a *StreamACL) rights() []aclRight {
	return []aclRight{
		{"$r", "Read", &a.Read}, {"$w", "Write", &a.Write}, {"$d", "Delete", &a.Delete},
		{"$mr", "MetaRead", &a.MetaRead}, {"$mw", "MetaWrite", &a.MetaWrite},
	}
}
