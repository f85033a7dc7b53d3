package esclient_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// everything has a value in each field.
var everything = esclient.StreamMetadata{
	MaxCount: 100, MaxAge: 36 * time.Hour, TruncateBefore: 3, CacheControl: 10 * time.Second,
	ACL: esclient.StreamACL{
		Read: []string{esclient.RoleAll}, Write: []string{"anna", "bert"}, Delete: []string{},
		MetaRead: []string{esclient.RoleOps}, MetaWrite: []string{esclient.RoleAdmins},
	},
	Custom: map[string]json.RawMessage{
		"owner": json.RawMessage(`{"team": "<orders>", "n": 1.50}`), "$tmp": json.RawMessage(`true`),
	},
}

const everythingJSON = `{"$maxCount":100,"$maxAge":129600,"$tb":3,"$cacheControl":10,` +
	`"$acl":{"$r":"$all","$w":["anna","bert"],"$d":[],"$mr":"$ops","$mw":"$admins"},` +
	`"$tmp":true,"owner":{"team": "<orders>", "n": 1.50}}`

func TestMetadataIsWrittenAsTheServerReadsIt(t *testing.T) {
	for want, m := range map[string]esclient.StreamMetadata{
		everythingJSON:                everything,
		`{}`:                          {},
		`{"$maxCount":1}`:             {MaxCount: 1, ACL: esclient.StreamACL{}},
		`{"$acl":{"$w":[]}}`:          {ACL: esclient.StreamACL{Write: []string{}}},
		`{"$tb":9223372036854775807}`: {TruncateBefore: math.MaxInt64},
	} {
		b, err := m.MarshalJSON()
		require.NoError(t, err)
		assert.Equal(t, want, string(b))
		var again esclient.StreamMetadata
		require.NoError(t, again.UnmarshalJSON(b))
		assert.Equal(t, m, again)
	}
}

func TestMetadataIsReadAsTheServerDoes(t *testing.T) {
	for data, want := range map[string]esclient.StreamMetadata{
		`null`: {},
		`{"$maxCount":0,"$maxAge":-1,"$tb":-1,"$cacheControl":0}`: {}, // as if it were absent
		`{"$acl":null,"$maxCount":null}`:                          {},
		`{"$acl":{"$r":null,"$w":["a"],"$x":1}}`:                  {ACL: esclient.StreamACL{Write: []string{"a"}}},
		`{"$maxAge":9223372036854775807}`:                         {MaxAge: 9223372036 * time.Second},
		`{"$MaxCount":1}`: {
			Custom: map[string]json.RawMessage{"$MaxCount": json.RawMessage(`1`)},
		},
	} {
		var m esclient.StreamMetadata
		require.NoError(t, m.UnmarshalJSON([]byte(data)), data)
		assert.Equal(t, want, m, data)
	}
	for _, data := range []string{
		``, `[]`, `1`, `{`, `{"$maxCount":"5"}`, `{"$maxAge":1.5}`, `{"$acl":[]}`, `{"$acl":{"$r":5}}`,
		`{"$acl":{"$r":[5]}}`,
	} {
		var m esclient.StreamMetadata
		assert.Error(t, m.UnmarshalJSON([]byte(data)), data)
	}
}

func FuzzMetadata(f *testing.F) {
	for _, s := range []string{
		everythingJSON, `{}`, `null`, `[]`, `{"$acl":{"$r":["a",null]}}`, `{"$maxAge":1e3}`, `{"a":{"b":[]}}`,
		"{\"\\u2028<\":\"\xff\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m, again esclient.StreamMetadata
		if m.UnmarshalJSON(data) != nil {
			return
		}
		b, err := m.MarshalJSON()
		if err != nil {
			assert.ErrorIs(t, err, esclient.ErrInvalidArgument) // an empty role
			return
		}
		require.NoError(t, again.UnmarshalJSON(b), "%s", b)
		require.Equal(t, m, again)
	})
}

func TestMetadataOfAStream(t *testing.T) {
	undertest.AdminOnly(t, "the stream is made one for administrators")
	c, ctx, stream := connect(t), testContext(t), name("s")
	m, version, err := c.StreamMetadata(ctx, stream)
	require.NoError(t, err)
	assert.Equal(t, esclient.NoStream, version)
	assert.Equal(t, esclient.StreamMetadata{}, m)
	appendNumbered(t, c, stream, 0, 9)
	_, version, err = c.StreamMetadata(ctx, stream)
	require.NoError(t, err, "a stream with events and no metadata")
	assert.Equal(t, esclient.NoStream, version)

	res, err := c.SetStreamMetadata(ctx, stream, esclient.NoStream, everything)
	require.NoError(t, err)
	m, version, err = c.StreamMetadata(ctx, stream)
	require.NoError(t, err)
	assert.Equal(t, everything, m)
	assert.Equal(t, esclient.ExpectedVersion(res.LastEventNumber), version)
	raw, _, err := c.RawStreamMetadata(ctx, stream)
	require.NoError(t, err)
	assert.Equal(t, everythingJSON, string(raw), "not a byte is changed")
	assert.Equal(t, []int64{3, 4, 5, 6, 7, 8, 9}, numbersOf(t, c, stream))

	_, err = c.SetStreamMetadata(ctx, stream, esclient.NoStream, esclient.StreamMetadata{})
	assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion, "the metadata has changed")
	m.MaxCount = 2
	res, err = c.SetStreamMetadata(ctx, stream, version, m)
	require.NoError(t, err)
	assert.Equal(t, int64(version)+1, res.LastEventNumber)
	assert.Equal(t, []int64{8, 9}, numbersOf(t, c, stream))
	m, _, err = c.StreamMetadata(ctx, stream)
	require.NoError(t, err)
	assert.Equal(t, everything.Custom, m.Custom, "what others keep there stays")

	_, err = c.SetStreamMetadata(ctx, stream, esclient.Any, esclient.StreamMetadata{})
	require.NoError(t, err)
	assert.Len(t, numbersOf(t, c, stream), 10)
}

func TestMetadataOfADeletedStream(t *testing.T) {
	undertest.AdminOnly(t, "the stream is made one for administrators")
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, 0, 2)
	_, err := c.SetStreamMetadata(ctx, stream, esclient.Any, everything)
	require.NoError(t, err)
	_, err = c.DeleteStream(ctx, stream, 2)
	require.NoError(t, err)
	m, version, err := c.StreamMetadata(ctx, stream)
	require.NoError(t, err)
	assert.Equal(t, esclient.StreamMetadata{TruncateBefore: math.MaxInt64}, m, "the rest is gone")

	_, err = c.SetStreamMetadata(ctx, stream, version, esclient.StreamMetadata{MaxCount: 5})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		m, _, err = c.StreamMetadata(ctx, stream)
		return err == nil && m.TruncateBefore == 3
	}, patience, 5*time.Millisecond, "the server says from where on the stream is back")
	assert.Equal(t, int64(5), m.MaxCount)
	appendNumbered(t, c, stream, 3, 3)
	assert.Equal(t, []int64{3}, numbersOf(t, c, stream))

	gone := name("gone") // servers still write metadata to a stream that has had some since they started
	for _, s := range []string{stream, gone} {
		_, err = c.TombstoneStream(ctx, s, esclient.Any)
		require.NoError(t, err)
	}
	_, _, err = c.StreamMetadata(ctx, stream)
	assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
	_, err = c.SetStreamMetadata(ctx, gone, esclient.Any, everything)
	assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
}

func TestRightsOfAStream(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	needsRefusals(t, c)
	ops := asOps(ctx)
	appendNumbered(t, c, stream, 0, 0)
	_, err := c.SetStreamMetadata(ctx, stream, esclient.Any, esclient.StreamMetadata{
		ACL: esclient.StreamACL{
			Write: []string{esclient.RoleAdmins}, Delete: []string{}, MetaWrite: []string{"anna", "ops"},
			MetaRead: []string{"anna"},
		},
	})
	require.NoError(t, err)
	_, err = c.Append(ops, stream, esclient.Any, numbered(1, 1)...)
	assert.ErrorIs(t, err, esclient.ErrAccessDenied)
	_, err = c.DeleteStream(ops, stream, esclient.Any)
	assert.ErrorIs(t, err, esclient.ErrAccessDenied)
	_, _, err = c.StreamMetadata(ops, stream)
	assert.ErrorIs(t, err, esclient.ErrAccessDenied)
	var op *esclient.OperationError
	require.ErrorAs(t, err, &op)
	assert.Equal(t, stream, op.Stream)
	assert.Equal(t, []int64{0}, numbersOf(t, c, stream))

	_, err = c.SetStreamMetadata(ops, stream, esclient.Any, esclient.StreamMetadata{})
	require.NoError(t, err, "this right is theirs")
	_, err = c.Append(ops, stream, esclient.Any, numbered(1, 1)...)
	assert.NoError(t, err)
}

func TestRawMetadata(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	raw, version, err := c.RawStreamMetadata(ctx, stream)
	require.NoError(t, err)
	assert.Nil(t, raw)
	assert.Equal(t, esclient.NoStream, version)
	const text = "{ \"$maxCount\": \"many\",\n \"kept\": 1.0 }"
	_, err = c.SetRawStreamMetadata(ctx, stream, version, []byte(text))
	require.NoError(t, err)
	raw, version, err = c.RawStreamMetadata(ctx, stream)
	require.NoError(t, err)
	assert.Equal(t, text, string(raw))
	assert.Equal(t, esclient.ExpectedVersion(0), version)
	_, _, err = c.StreamMetadata(ctx, stream)
	assert.ErrorContains(t, err, "$maxCount", "it is said, not guessed")
}

func TestMetadataRefusesInvalidValues(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	for argument, m := range map[string]esclient.StreamMetadata{
		"StreamMetadata.MaxCount":       {MaxCount: -1},
		"StreamMetadata.TruncateBefore": {TruncateBefore: -1},
		"StreamMetadata.MaxAge":         {MaxAge: 1500 * time.Millisecond},
		"StreamMetadata.CacheControl":   {CacheControl: -time.Second},
		"StreamMetadata.ACL.MetaRead":   {ACL: esclient.StreamACL{MetaRead: []string{"a", ""}}},
		"StreamMetadata.Custom":         {Custom: map[string]json.RawMessage{"$maxCount": json.RawMessage(`1`)}},
		"StreamMetadata.Custom ":        {Custom: map[string]json.RawMessage{"x": json.RawMessage(`{`)}},
	} {
		_, err := c.SetStreamMetadata(ctx, "s", esclient.Any, m)
		var e *esclient.ArgumentError
		require.ErrorAs(t, err, &e, argument)
		assert.Equal(t, argument[:len(e.Argument)], e.Argument)
	}
	for _, bad := range []string{"", "$$s", "a\n"} {
		_, _, err := c.StreamMetadata(ctx, bad)
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument)
		_, err = c.SetStreamMetadata(ctx, bad, esclient.Any, esclient.StreamMetadata{})
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument)
	}
	for _, bad := range []string{"", "[]", "null", "{", "1"} {
		_, err := c.SetRawStreamMetadata(ctx, "s", esclient.Any, []byte(bad))
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument)
	}
}

func TestSystemSettings(t *testing.T) {
	_, c := embeddedAsAdmin(t) // a real server's settings are everybody's
	ctx, stream := testContext(t), name("s")
	ops := asOps(ctx)
	s, version, err := c.SystemSettings(ctx)
	require.NoError(t, err)
	assert.Equal(t, esclient.NoStream, version)
	assert.Equal(t, esclient.SystemSettings{}, s)
	_, _, err = c.SystemSettings(ops)
	assert.ErrorIs(t, err, esclient.ErrAccessDenied)

	s.UserStreams.Write = []string{esclient.RoleAdmins}
	s.SystemStreams.Write = []string{esclient.RoleOps, esclient.RoleAdmins}
	s.Custom = map[string]json.RawMessage{"note": json.RawMessage(`"why"`)}
	_, err = c.SetSystemSettings(ctx, version, s)
	require.NoError(t, err)
	_, err = c.Append(ops, stream, esclient.Any, numbered(0, 0)...)
	assert.ErrorIs(t, err, esclient.ErrAccessDenied)
	_, err = c.Append(ops, "$"+stream, esclient.Any, numbered(0, 0)...)
	assert.NoError(t, err)
	got, version, err := c.SystemSettings(ctx)
	require.NoError(t, err)
	assert.Equal(t, s, got)
	assert.Equal(t, esclient.ExpectedVersion(0), version)

	for _, bad := range []esclient.SystemSettings{
		{UserStreams: esclient.StreamACL{Read: []string{""}}},
		{SystemStreams: esclient.StreamACL{Read: []string{""}}},
		{Custom: map[string]json.RawMessage{"$userStreamAcl": json.RawMessage(`{}`)}},
	} {
		_, err = c.SetSystemSettings(ctx, esclient.Any, bad)
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument)
	}
	_, err = c.Append(ctx, "$settings", esclient.Any, esclient.EventData{
		Type: "$settings", ContentType: esclient.ContentTypeJSON, Data: []byte("[]"),
	})
	require.NoError(t, err)
	_, _, err = c.SystemSettings(ctx)
	assert.ErrorContains(t, err, "no JSON object")
}
