package esproto_test

import (
	"encoding/hex"
	"testing"
	"testing/quick"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func TestGUIDHasTheByteOrderOfDotNet(t *testing.T) {
	t.Parallel()
	u := uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff")
	g := esproto.NewGUID(u)
	assert.Equal(t, "33221100"+"5544"+"7766"+"8899aabbccddeeff", hex.EncodeToString(g[:]))
	assert.Equal(t, u, g.UUID())
	assert.Equal(t, "00112233-4455-6677-8899-aabbccddeeff", g.String())
}

func TestGUIDGoesBothWays(t *testing.T) {
	t.Parallel()
	there := func(u uuid.UUID) bool { return esproto.NewGUID(u).UUID() == u }
	back := func(g esproto.GUID) bool { return esproto.NewGUID(g.UUID()) == g }
	require.NoError(t, quick.Check(there, nil))
	require.NoError(t, quick.Check(back, nil))
}

func TestParseGUID(t *testing.T) {
	t.Parallel()
	b := []byte("0123456789abcdef")
	g, ok := esproto.ParseGUID(b)
	require.True(t, ok)
	assert.Equal(t, b, g[:])
	b[0] = 'x'
	assert.Equal(t, byte('0'), g[0], "a copy")
	for _, wrong := range [][]byte{nil, {}, b[:15], append(b, 0)} {
		g, ok := esproto.ParseGUID(wrong)
		assert.False(t, ok, "%d bytes", len(wrong))
		assert.Zero(t, g)
	}
}
