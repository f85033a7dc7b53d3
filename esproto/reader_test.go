package esproto_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func TestFrameReaderReadsFramesInTurn(t *testing.T) {
	t.Parallel()
	small, large := []byte("small"), bytes.Repeat([]byte("large "), 1000)
	var stream []byte
	for i, payload := range [][]byte{small, nil, large, small} {
		stream = esproto.AppendFrame(stream, esproto.Command(0x82+i), esproto.CorrelationID{byte(i)}, payload)
	}
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "halves": iotest.HalfReader,
		"data with EOF": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := esproto.NewFrameReader(wrap(bytes.NewReader(stream)), 64, 0)
			for i, want := range [][]byte{small, nil, large, small} {
				h, n, err := r.Next()
				require.NoError(t, err)
				require.Equal(t, esproto.Command(0x82+i), h.Command)
				require.Equal(t, esproto.FlagNone, h.Flags)
				require.Equal(t, esproto.CorrelationID{byte(i)}, h.CorrelationID)
				require.Equal(t, len(want), n)
				got, err := r.Borrow()
				require.NoError(t, err)
				require.Equal(t, string(want), string(got))
			}
			_, _, err := r.Next()
			require.Equal(t, io.EOF, err)
		})
	}
}

func TestFrameReaderFlags(t *testing.T) {
	t.Parallel()
	b := esproto.AppendHeader(nil, esproto.CmdAuthenticate, testID, &esproto.Credentials{Login: "a", Password: "b"})
	esproto.EndFrame(b, 0)
	r := esproto.NewFrameReader(bytes.NewReader(b), 64, 0)
	h, n, err := r.Next()
	require.NoError(t, err)
	assert.Equal(t, esproto.FlagAuthenticated, h.Flags)
	assert.Equal(t, testID, h.CorrelationID)
	assert.Equal(t, 4, n, "the credentials count")
}

// TestFrameReaderReturnsAPayloadOnce asks for a payload again and in several ways: the next frame must be found.
func TestFrameReaderReturnsAPayloadOnce(t *testing.T) {
	t.Parallel()
	payload := []byte("0123456789")
	stream := esproto.AppendFrame(nil, esproto.CmdPing, testID, payload)
	stream = esproto.AppendFrame(stream, esproto.CmdPong, testID, payload)
	borrow, take := (*esproto.FrameReader).Borrow, (*esproto.FrameReader).Take
	for name, ways := range map[string][2]func(*esproto.FrameReader) ([]byte, error){
		"borrow, borrow": {borrow, borrow}, "borrow, take": {borrow, take},
		"take, borrow": {take, borrow}, "take, take": {take, take},
	} {
		for _, buffer := range []int{16, 64} { // the frame fits the second only
			t.Run(fmt.Sprint(name, " ", buffer), func(t *testing.T) {
				t.Parallel()
				r := esproto.NewFrameReader(bytes.NewReader(stream), buffer, 0)
				_, _, err := r.Next()
				require.NoError(t, err)
				first, err := ways[0](r)
				require.NoError(t, err)
				require.Equal(t, payload, first)
				again, err := ways[1](r)
				require.NoError(t, err)
				require.Empty(t, again)
				require.Equal(t, payload, first, "valid until Next")
				h, _, err := r.Next()
				require.NoError(t, err)
				require.Equal(t, esproto.CmdPong, h.Command)
			})
		}
	}
}

func TestFrameReaderTakeIsOwned(t *testing.T) {
	t.Parallel()
	stream := esproto.AppendFrame(nil, esproto.CmdPing, testID, []byte("first"))
	stream = esproto.AppendFrame(stream, esproto.CmdPing, testID, []byte("other"))
	r := esproto.NewFrameReader(bytes.NewReader(stream), 1024, 0)
	_, _, err := r.Next()
	require.NoError(t, err)
	first, err := r.Take()
	require.NoError(t, err)
	clear(first[:3]) // the caller may do as it likes
	_, _, err = r.Next()
	require.NoError(t, err)
	second, err := r.Take()
	require.NoError(t, err)
	assert.Equal(t, "\x00\x00\x00st", string(first))
	assert.Equal(t, "other", string(second))
}

func TestFrameReaderTakeInto(t *testing.T) {
	t.Parallel()
	stream := esproto.AppendFrame(nil, esproto.CmdPing, testID, []byte("hello"))
	r := esproto.NewFrameReader(bytes.NewReader(stream), 64, 0)
	_, n, err := r.Next()
	require.NoError(t, err)
	for _, wrong := range []int{0, n - 1, n + 1} {
		assert.Error(t, r.TakeInto(make([]byte, wrong)), "%d", wrong)
	}
	b := make([]byte, n)
	require.NoError(t, r.TakeInto(b), "a wrong length does no harm")
	assert.Equal(t, "hello", string(b))
}

func TestFrameReaderBuffered(t *testing.T) {
	t.Parallel()
	stream := esproto.AppendFrame(nil, esproto.CmdPing, testID, []byte("hello"))
	stream = esproto.AppendFrame(stream, esproto.CmdPing, testID, nil)
	r := esproto.NewFrameReader(bytes.NewReader(stream), 1024, 0)
	assert.Equal(t, 0, r.Buffered())
	_, _, err := r.Next()
	require.NoError(t, err)
	assert.Equal(t, 5+22, r.Buffered())
	_, err = r.Borrow()
	require.NoError(t, err)
	assert.Equal(t, 22, r.Buffered(), "what is lent out has been handed out")
	_, _, err = r.Next()
	require.NoError(t, err)
	assert.Equal(t, 0, r.Buffered())
}

// TestFrameReaderLengths tries every kind of length. A wrong one must be seen as soon as its four bytes are there,
// since the sender may send nothing more.
func TestFrameReaderLengths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		length uint32
		max    int
		ok     bool
	}{
		{length: 0}, {length: 1}, {length: 17},
		{length: 18, ok: true}, {length: 64 << 20, ok: true}, {length: 64<<20 + 1}, {length: 1<<31 - 1},
		{length: 1 << 31}, {length: 1<<32 - 1},
		{length: 1000, max: 1000, ok: true}, {length: 1001, max: 1000},
		{length: 18, max: 18, ok: true}, {length: 19, max: 18},
		{length: 64 << 20, max: 17, ok: true}, {length: 64 << 20, max: -1, ok: true},
		{length: 64 << 20, max: 1 << 30, ok: true}, {length: 64<<20 + 1, max: 1 << 30},
	} {
		head := binary.LittleEndian.AppendUint32(nil, tt.length)
		rest := iotest.ErrReader(errors.New("read past the length"))
		if tt.ok {
			rest = bytes.NewReader(make([]byte, 18))
		}
		r := esproto.NewFrameReader(io.MultiReader(bytes.NewReader(head), rest), 1024, tt.max)
		_, n, err := r.Next()
		if !tt.ok {
			require.ErrorIs(t, err, esproto.ErrFrame, "%+v", tt)
			require.ErrorContains(t, err, fmt.Sprint(tt.length), "%+v", tt)
			continue
		}
		require.NoError(t, err, "%+v", tt)
		require.Equal(t, int(tt.length)-18, n, "%+v", tt)
	}
}

// TestFrameReaderSkipsTooLargeFrames has frames of usual size around some that are larger than allowed, and larger than
// the reader's buffer.
func TestFrameReaderSkipsTooLargeFrames(t *testing.T) {
	t.Parallel()
	const limit = esproto.HeaderSize + 10
	fits, large, huge := []byte("0123456789"), []byte("0123456789a"), make([]byte, 1000)
	payloads := [][]byte{fits, large, fits, huge, large, nil, huge}
	var stream []byte
	for i, payload := range payloads {
		stream = esproto.AppendFrame(stream, esproto.CmdPing, esproto.CorrelationID{byte(i)}, payload)
	}
	for name, src := range map[string]io.Reader{
		"whole": bytes.NewReader(stream), "bytes": iotest.OneByteReader(bytes.NewReader(stream)),
	} {
		r := esproto.NewFrameReader(src, 64, limit)
		r.SkipTooLarge()
		for i, payload := range payloads {
			h, n, err := r.Next()
			if len(payload) <= 10 {
				require.NoError(t, err, name)
				require.Equal(t, len(payload), n, name)
				continue // and the payload is skipped as always
			}
			var e *esproto.FrameTooLargeError
			require.ErrorAs(t, err, &e, name)
			require.ErrorIs(t, err, esproto.ErrFrame)
			require.ErrorContains(t, err, fmt.Sprintf("Ping of %d bytes, allowed are up to 28", len(payload)+18))
			require.Equal(t, esproto.FrameTooLargeError{
				Header: esproto.Header{Command: esproto.CmdPing, CorrelationID: esproto.CorrelationID{byte(i)}},
				Length: esproto.HeaderSize + len(payload), Max: limit,
			}, *e, name)
			require.Zero(t, n)
			require.Zero(t, h)
			for _, read := range []func() ([]byte, error){r.Borrow, r.Take} {
				got, err := read()
				require.NoError(t, err)
				require.Empty(t, got, "%s: nothing of it can be had", name)
			}
		}
		_, _, err := r.Next()
		require.Equal(t, io.EOF, err, name)
	}
}

// TestFrameReaderSkipsNoNonsense tries the lengths at which not even a reader that skips goes on.
func TestFrameReaderSkipsNoNonsense(t *testing.T) {
	t.Parallel()
	for _, length := range []uint32{0, 17, 1 << 31, 1<<32 - 1} {
		rest := iotest.ErrReader(errors.New("read past the length"))
		head := binary.LittleEndian.AppendUint32(nil, length)
		r := esproto.NewFrameReader(io.MultiReader(bytes.NewReader(head), rest), 1024, 1000)
		r.SkipTooLarge()
		_, _, err := r.Next()
		require.ErrorIs(t, err, esproto.ErrFrame, "%d", length)
		var e *esproto.FrameTooLargeError
		require.NotErrorAs(t, err, &e, "%d", length)
	}
	head := binary.LittleEndian.AppendUint32(nil, 1<<31-1)
	r := esproto.NewFrameReader(bytes.NewReader(append(head, make([]byte, 1000)...)), 64, 1000)
	r.SkipTooLarge()
	_, _, err := r.Next()
	var e *esproto.FrameTooLargeError
	require.ErrorAs(t, err, &e)
	_, _, err = r.Next()
	require.Equal(t, io.ErrUnexpectedEOF, err, "the longest length there can be, of which little comes")
}

// TestFrameReaderEnd cuts a stream off after each of its bytes.
func TestFrameReaderEnd(t *testing.T) {
	t.Parallel()
	frame := esproto.AppendFrame(nil, esproto.CmdPing, testID, []byte("0123456789"))
	reset := errors.New("connection reset")
	ways := map[string]func(*esproto.FrameReader, int) error{
		"skip":   func(*esproto.FrameReader, int) error { return nil },
		"borrow": func(r *esproto.FrameReader, _ int) error { _, err := r.Borrow(); return err },
		"take":   func(r *esproto.FrameReader, _ int) error { _, err := r.Take(); return err },
		"into":   func(r *esproto.FrameReader, n int) error { return r.TakeInto(make([]byte, n)) },
	}
	for name, way := range ways {
		for _, cut := range []error{io.EOF, reset} {
			for end := range len(frame) + 1 {
				for _, buffer := range []int{16, 64} {
					src := io.MultiReader(bytes.NewReader(frame[:end]), iotest.ErrReader(cut))
					r := esproto.NewFrameReader(src, buffer, 0)
					_, n, err := r.Next()
					if err == nil {
						err = way(r, n)
					}
					if err == nil {
						_, _, err = r.Next()
					}
					want := cut
					if errors.Is(cut, io.EOF) && end > 0 && end < len(frame) {
						want = io.ErrUnexpectedEOF
					}
					require.Equal(t, want, err, "%s after %d bytes, buffer %d", name, end, buffer)
				}
			}
		}
	}
}

// TestFrameReaderDoesNotTrustALength checks the memory for a frame that announces a large length and does not come.
func TestFrameReaderDoesNotTrustALength(t *testing.T) {
	head := binary.LittleEndian.AppendUint32(nil, esproto.MaxFrameSize)
	head = append(head, make([]byte, 18+100)...)
	for name, read := range map[string]func(*esproto.FrameReader) ([]byte, error){
		"borrow": (*esproto.FrameReader).Borrow, "take": (*esproto.FrameReader).Take,
	} {
		r := esproto.NewFrameReader(bytes.NewReader(head), 64, 0)
		_, _, err := r.Next()
		require.NoError(t, err)
		var from, to runtime.MemStats
		runtime.ReadMemStats(&from)
		_, err = read(r)
		runtime.ReadMemStats(&to)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Less(t, to.TotalAlloc-from.TotalAlloc, uint64(8<<20), name)
	}
}

func TestFrameReaderLargePayloads(t *testing.T) {
	t.Parallel()
	payload := make([]byte, 5<<20+123)
	for i := range payload {
		payload[i] = byte(i * i >> 8)
	}
	var stream []byte
	for range 2 {
		stream = esproto.AppendFrame(stream, esproto.CmdPing, testID, payload)
	}
	stream = esproto.AppendFrame(stream, esproto.CmdPong, testID, []byte("end"))
	r := esproto.NewFrameReader(iotest.HalfReader(bytes.NewReader(stream)), 4096, 0)
	for _, read := range []func() ([]byte, error){r.Take, r.Borrow} {
		_, _, err := r.Next()
		require.NoError(t, err)
		got, err := read()
		require.NoError(t, err)
		require.True(t, bytes.Equal(payload, got))
	}
	_, _, err := r.Next()
	require.NoError(t, err)
	end, err := r.Borrow()
	require.NoError(t, err)
	assert.Equal(t, "end", string(end))
}

func FuzzFrameReader(f *testing.F) {
	two := esproto.AppendFrame(nil, esproto.CmdPing, testID, []byte("hello"))
	two = esproto.AppendFrame(two, esproto.CmdWriteEvents, testID, []byte(strings.Repeat("long ", 50)))
	two = slices.Clip(two) // the corpus keeps the appended bytes
	long := []byte("\xff\xff\xff\x7f, in front of eighteen bytes and more")
	f.Add(two, []byte{1, 0, 200}, []byte{0, 1, 2}, uint8(16), uint16(0), false)
	f.Add(two, []byte{255}, []byte{3, 4, 5, 6}, uint8(64), uint16(30), false)
	f.Add(append(two, two...), []byte{70, 0, 9}, []byte{0, 1, 2, 3, 4, 5}, uint8(30), uint16(100), true)
	f.Add([]byte{0, 0, 0, 0}, []byte{1}, []byte{}, uint8(0), uint16(0), true)
	f.Add([]byte{0x12, 0, 0, 0, 1}, []byte{}, []byte{1}, uint8(0), uint16(0), false)
	f.Add([]byte{1, 0, 0, 4}, []byte{}, []byte{}, uint8(0), uint16(18), false)
	f.Add(long, []byte{}, []byte{1}, uint8(0), uint16(0), true)
	seen := 0
	for _, frame := range recorded(f) {
		b, whole := frame.payload(f)
		cmd, known := commandByName(frame.Cmd)
		if known && whole && frame.sentOrReceived() && seen < 20 && len(b) > 50+10*seen {
			stream := esproto.AppendFrame(two, cmd, testID, b)
			f.Add(stream, []byte{7, 30}, []byte{1, 2, 0}, uint8(32), uint16(2000), seen%2 == 0)
			seen++
		}
	}
	f.Fuzz(func(t *testing.T, stream, chunks, ways []byte, buffer uint8, maxFrame uint16, skips bool) {
		src := &chunked{b: stream, sizes: chunks}
		limit := esproto.MaxFrameSize
		if maxFrame >= esproto.HeaderSize {
			limit = int(maxFrame)
		}
		r := esproto.NewFrameReader(src, int(buffer), int(maxFrame))
		if skips {
			r.SkipTooLarge()
		}
		var kept []keptPayload
		for i, rest := 0, stream; ; i++ {
			want, after, wantErr := nextFrame(rest, limit, skips)
			h, n, err := r.Next()
			if !want.headComplete {
				require.ErrorIs(t, err, wantErr)
				break
			}
			way := byte(wayToSkip)
			if want.tooLarge {
				require.Equal(t, &esproto.FrameTooLargeError{
					Header: want.header, Length: want.size + esproto.HeaderSize, Max: limit,
				}, err)
			} else {
				require.NoError(t, err)
				require.Equal(t, want.header, h)
				require.Equal(t, want.size, n)
				if len(ways) > 0 {
					way = ways[i%len(ways)] % wayCount
				}
			}
			handedOut := len(stream) - len(rest) + esproto.LengthSize + esproto.HeaderSize
			require.Equal(t, src.given-handedOut, r.Buffered())

			payload, err := readBy(t, way, r, n)
			if way == wayToSkip && wantErr != nil {
				_, _, err = r.Next() // missing bytes show only when they are skipped
			}
			if wantErr != nil {
				require.Equal(t, wantErr, err)
				break
			}
			require.NoError(t, err)
			if way != wayToSkip {
				require.Equal(t, string(want.payload), string(payload))
				require.Equal(t, src.given-handedOut-n, r.Buffered())
			}
			if way > wayToBorrow {
				kept = append(kept, keptPayload{payload, string(want.payload)})
			}
			rest = after
		}
		for _, k := range kept {
			require.Equal(t, k.want, string(k.got), "the reader wrote into what it had given away")
		}
	})
}

type keptPayload struct {
	got  []byte
	want string
}

// The ways in which a payload can be had, or not.
const (
	wayToSkip = iota
	wayToBorrow
	wayToTake
	wayToTakeInto
	wayAfterAMistake
	wayToTakeTwice
	wayToBorrowTwice
	wayCount
)

func readBy(t *testing.T, way byte, r *esproto.FrameReader, n int) (payload []byte, err error) {
	t.Helper()
	again := func() {
		b, err := r.Borrow()
		require.NoError(t, err)
		require.Empty(t, b)
	}
	switch way {
	case wayToBorrow:
		return r.Borrow()
	case wayToTake:
		return r.Take()
	case wayToTakeInto:
		payload = make([]byte, n)
		return payload, r.TakeInto(payload)
	case wayAfterAMistake:
		require.Error(t, r.TakeInto(make([]byte, n+1)))
		return r.Take()
	case wayToTakeTwice:
		if payload, err = r.Take(); err == nil {
			again()
		}
	case wayToBorrowTwice: // and copy the payload, since it is compared at the end
		if payload, err = r.Borrow(); err == nil {
			again()
			payload = append([]byte(nil), payload...)
		}
	}
	return payload, err
}

// parsed is a frame as nextFrame reads it.
type parsed struct {
	headComplete bool
	tooLarge     bool // and it is skipped
	header       esproto.Header
	size         int
	payload      []byte
}

// nextFrame reads a frame as the protocol defines it, without regard for speed.
func nextFrame(b []byte, limit int, skips bool) (f parsed, rest []byte, err error) {
	if len(b) == 0 {
		return f, nil, io.EOF
	}
	if len(b) < 4 {
		return f, nil, io.ErrUnexpectedEOF
	}
	length := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16 | int64(b[3])<<24
	f.tooLarge = length > int64(limit)
	if length < 18 || f.tooLarge && !skips || length >= 1<<31 {
		return f, nil, esproto.ErrFrame
	}
	b = b[4:]
	if len(b) < 18 {
		return f, nil, io.ErrUnexpectedEOF
	}
	f.headComplete = true
	f.header.Command, f.header.Flags = esproto.Command(b[0]), esproto.Flags(b[1])
	copy(f.header.CorrelationID[:], b[2:18])
	f.size = int(length) - 18
	b = b[18:]
	if len(b) < f.size {
		return f, nil, io.ErrUnexpectedEOF
	}
	f.payload = b[:f.size]
	return f, b[f.size:], nil
}

// chunked gives out its bytes in pieces of the given sizes, over and over; size 0 is a read without a byte. The end
// comes with the last piece where that has an even size, else alone.
type chunked struct {
	b     []byte
	sizes []byte
	turn  int
	empty int
	given int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	size := len(c.b)
	if len(c.sizes) > 0 {
		size = int(c.sizes[c.turn%len(c.sizes)])
		c.turn++
	}
	if size == 0 {
		if c.empty++; c.empty < 50 { // readers give up after a hundred in a row
			return 0, nil
		}
		size = 1
	}
	c.empty = 0
	n := copy(p[:min(size, len(p))], c.b)
	c.b = c.b[n:]
	c.given += n
	if len(c.b) == 0 && n%2 == 0 {
		return n, io.EOF
	}
	return n, nil
}
