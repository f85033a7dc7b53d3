package esproto_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// TestErrorsOfMalformedMessagesNameTheFault looks at the errors a user sees when a server or a proxy talks nonsense.
func TestErrorsOfMalformedMessagesNameTheFault(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"0800 0affffff0141":      {"field 1 at byte 2: ", "unexpected EOF"},
		"0800 ff":                {"the tag at byte 2: ", "unexpected EOF"},
		"00":                     {"the tag at byte 0: ", "invalid field number"},
		"808080801001":           {"the tag at byte 0: ", "no field has the number 536870912"},
		"0800 0c":                {"field 1 at byte 2: ", "mismatching end group marker"},
		"0e00":                   {"field 1 at byte 0: ", "cannot parse reserved wire type"},
		"10ffffffffffffffffff02": {"field 2 at byte 0: ", "variable length integer overflow"},
		"7b08017c 8380":          {"the tag at byte 4: ", "unexpected EOF"},
	} {
		var v esproto.WriteEventsCompletedView
		err := v.Decode(unhex(t, in))
		require.ErrorIs(t, err, esproto.ErrMalformed, in)
		assert.ErrorContains(t, err, "esproto: malformed message: "+want[0], in)
		assert.ErrorContains(t, err, want[1], in) // the protobuf library varies the text before it
	}
}

func TestErrorsWithinMessagesWithin(t *testing.T) {
	t.Parallel()
	b := unhex(t, "0a04 0a02 1080") // an event whose record has a number that is cut off
	var e esproto.EventView
	err := esproto.DecodeStreamEventAppeared(b, &e)
	assert.ErrorIs(t, err, esproto.ErrMalformed)
	assert.ErrorContains(t, err, "field 2 at byte 0")

	var p esproto.PageView
	require.NoError(t, p.DecodeStream(b), "a page is read without its events")
	assert.Equal(t, 1, p.Len)
	ok, err := p.NextEvent(&e)
	assert.False(t, ok)
	assert.ErrorIs(t, err, esproto.ErrMalformed)

	var w esproto.WriteEventsView
	assert.ErrorIs(t, w.Decode(unhex(t, "1a02 1280")), esproto.ErrMalformed)
}

func TestAckWithAWrongID(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 15, 17} {
		b := append([]byte{0x12, byte(size)}, make([]byte, size)...)
		_, _, err := esproto.DecodeAck(b, nil)
		assert.ErrorIs(t, err, esproto.ErrMalformed)
		assert.ErrorContains(t, err, "processed_event_ids")
	}
}

func TestPageAtItsEnd(t *testing.T) {
	t.Parallel()
	var (
		p esproto.PageView
		e esproto.EventView
	)
	for range 2 {
		ok, err := p.NextEvent(&e)
		assert.False(t, ok, "a page that was never read")
		assert.NoError(t, err)
	}
	require.NoError(t, p.DecodeStream(unhex(t, "1000 0a00 1801")))
	ok, err := p.NextEvent(&e)
	assert.True(t, ok, "an event without a record is one")
	assert.NoError(t, err)
	for range 2 {
		ok, err = p.NextEvent(&e)
		assert.False(t, ok)
		assert.NoError(t, err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	var digits []byte
	for i := range len(s) {
		if s[i] != ' ' {
			digits = append(digits, s[i])
		}
	}
	b, err := hex.DecodeString(string(digits))
	require.NoError(t, err)
	return b
}
