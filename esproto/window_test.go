package esproto_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// offers is a source that notes how much room it is offered, and is silent now and then.
type offers struct {
	src    io.Reader
	silent bool // the next read returns nothing
	room   []int
}

func (o *offers) Read(b []byte) (int, error) {
	if o.silent {
		o.silent = false
		return 0, nil
	}
	o.room = append(o.room, len(b))
	return o.src.Read(b)
}

func TestFrameReaderBufferGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	const most, least = 128 << 10, 4 << 10
	frame := esproto.AppendFrame(nil, esproto.CmdPing, testID, make([]byte, 300))
	var stream bytes.Buffer
	src := &offers{src: &stream}
	r := esproto.NewFrameReader(src, most, 0)
	read := func(frames int) {
		for range frames {
			stream.Write(frame)
		}
		for range frames {
			_, _, err := r.Next()
			require.NoError(t, err)
			_, err = r.Borrow()
			require.NoError(t, err)
		}
	}
	read(1)
	assert.Equal(t, []int{least}, src.room, "few bytes need no more")
	read(2000)
	assert.GreaterOrEqual(t, src.room[len(src.room)-1], most-len(frame), "it has grown")
	assert.Less(t, len(src.room), 12, "and takes few reads")
	src.room = nil
	read(1)
	assert.Len(t, src.room, 1)
	assert.GreaterOrEqual(t, src.room[0], most-len(frame), "and stays like that")
	src.room, src.silent = nil, true
	read(1)
	assert.Equal(t, []int{least}, src.room, "until there is silence")
}

func TestASourceThatNeverReturnsAnything(t *testing.T) {
	t.Parallel()
	r := esproto.NewFrameReader(readFunc(func([]byte) (int, error) { return 0, nil }), 1<<10, 0)
	_, _, err := r.Next()
	assert.Equal(t, io.ErrNoProgress, err)
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }

// TestFrameReaderKeepsTheStreamWhileItsBufferChanges reads frames of all sizes in all ways, from a source that gives
// pieces of all sizes and is silent in between.
func TestFrameReaderKeepsTheStreamWhileItsBufferChanges(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var stream []byte
	var payloads [][]byte
	for range 2000 {
		payload := make([]byte, rng.IntN(1<<rng.IntN(17)))
		for i := range payload {
			payload[i] = byte(rng.Uint32())
		}
		payloads = append(payloads, payload)
		stream = esproto.AppendFrame(stream, esproto.CmdPing, testID, payload)
	}
	rest := bytes.NewReader(stream)
	src := readFunc(func(b []byte) (int, error) {
		if rng.IntN(4) == 0 {
			return 0, nil
		}
		return rest.Read(b[:1+rng.IntN(len(b))])
	})
	r := esproto.NewFrameReader(src, 32<<10, 0)
	for i, want := range payloads {
		_, n, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, len(want), n)
		way := byte(rng.IntN(wayCount))
		got, err := readBy(t, way, r, n)
		require.NoError(t, err)
		if way != wayToSkip {
			require.True(t, bytes.Equal(want, got), "payload %d", i)
		}
	}
	_, _, err := r.Next()
	assert.Equal(t, io.EOF, err)
}
