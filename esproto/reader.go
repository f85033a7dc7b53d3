package esproto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Errors of reading frames and messages: decoders wrap ErrMalformed, FrameReader.Next wraps ErrFrame.
var (
	ErrMalformed = errors.New("esproto: malformed message")
	ErrFrame     = errors.New("esproto: invalid frame")
)

// FrameTooLargeError reports a frame that is larger than the reader's limit and that it can skip; see
// [FrameReader.SkipTooLarge]. It matches [ErrFrame].
type FrameTooLargeError struct {
	Header Header
	Length int // of the frame in bytes, header included
	Max    int // the reader's limit
}

// Error names the command of the frame, its length and the limit.
func (e *FrameTooLargeError) Error() string {
	return fmt.Sprintf("%v: %v of %d bytes, allowed are up to %d", ErrFrame, e.Header.Command, e.Length, e.Max)
}

// Is makes the error match ErrFrame.
func (e *FrameTooLargeError) Is(target error) bool { return target == ErrFrame }

// FrameReader cuts a stream of bytes into frames. It is not safe for concurrent use.
//
// After Next, the bytes behind the header can be read once: by Borrow, until the next call of Next, or by Take or
// TakeInto, as bytes that the caller owns. A second call returns none. Next skips bytes that were not read.
//
// After any error but a *FrameTooLargeError the stream of bytes is out of step and the connection must be closed.
type FrameReader struct {
	in      window
	max     int
	lenient bool   // frames that are too large are skipped
	rest    int    // bytes of the current frame that were not read yet
	refused int    // bytes of a frame that is too large and that Next must discard
	scratch []byte // lent out by Borrow for payloads larger than the buffer
}

// NewFrameReader returns a reader of frames from r. A package larger than maxFrame bytes, header included, is an error;
// values outside HeaderSize to MaxFrameSize mean MaxFrameSize.
//
// The buffer begins with 4 KiB and grows up to bufferSize bytes, at least a frame's head, while reads fill it. A read
// that returns neither bytes nor an error says that the source is silent: an empty buffer then goes back to 4 KiB.
func NewFrameReader(r io.Reader, bufferSize, maxFrame int) *FrameReader {
	if maxFrame < HeaderSize || maxFrame > MaxFrameSize {
		maxFrame = MaxFrameSize
	}
	return &FrameReader{in: newWindow(r, max(bufferSize, headSize)), max: maxFrame}
}

// SkipTooLarge makes Next return a [*FrameTooLargeError] for a frame above the limit. The following call of Next skips
// the frame. Its payload cannot be read. A length above math.MaxInt32, which the protocol cannot express, still ends
// the reading.
//
// Without it, every wrong length is an error as soon as it was received. So call it when the peer has shown that it
// speaks the protocol: the greetings of other servers, such as "HTTP" or "SSH-", look like lengths too, and few bytes
// may follow them.
func (f *FrameReader) SkipTooLarge() { f.lenient = true }

// Next reads the header of the next frame and returns it with the number of bytes that follow it: credentials, if the
// flags have them, and payload. The error is io.EOF if the stream ends between two frames, io.ErrUnexpectedEOF within
// a frame, and [ErrFrame] for an invalid length.
func (f *FrameReader) Next() (Header, int, error) {
	var h Header
	if err := f.skip(); err != nil {
		return h, 0, err
	}
	head, err := f.in.peek(LengthSize)
	if err != nil {
		if len(head) > 0 {
			err = noEOF(err)
		}
		return h, 0, err
	}
	n := binary.LittleEndian.Uint32(head)
	if n < HeaderSize || n > uint32(f.max) {
		return h, 0, f.refuse(n)
	}
	if head, err = f.in.peek(headSize); err != nil {
		return h, 0, noEOF(err)
	}
	h.parse(head)
	f.in.take(headSize)
	f.rest = int(n) - HeaderSize
	return h, f.rest, nil
}

// refuse handles a frame of a wrong length for Next.
func (f *FrameReader) refuse(n uint32) error {
	if !f.lenient || n < HeaderSize || n > math.MaxInt32 {
		return fmt.Errorf("%w: a length of %d bytes, allowed are %d to %d", ErrFrame, n, HeaderSize, f.max)
	}
	head, err := f.in.peek(headSize)
	if err != nil {
		return noEOF(err)
	}
	e := &FrameTooLargeError{Length: int(n), Max: f.max}
	e.Header.parse(head)
	f.in.take(headSize)
	f.refused = e.Length - HeaderSize
	return e
}

// parse reads the header from the first bytes of a frame.
func (h *Header) parse(head []byte) {
	h.Command = Command(head[4])
	h.Flags = Flags(head[5])
	copy(h.CorrelationID[:], head[6:])
}

// Borrow returns the bytes behind the header. They are valid until the next call of Next and must not be changed.
// Bytes that fit the reader's buffer are not copied.
func (f *FrameReader) Borrow() ([]byte, error) {
	if f.rest == 0 {
		return nil, nil
	}
	if f.rest <= f.in.most {
		b, err := f.in.peek(f.rest)
		if err != nil {
			return nil, noEOF(err)
		}
		f.in.take(f.rest)
		f.rest = 0
		return b, nil
	}
	if cap(f.scratch) < f.rest {
		b, err := f.Take()
		f.scratch = b
		return b, err
	}
	b := f.scratch[:f.rest]
	if err := f.TakeInto(b); err != nil {
		return nil, err
	}
	return b, nil
}

// Take returns the bytes behind the header in memory of their own.
func (f *FrameReader) Take() ([]byte, error) {
	total := f.rest
	f.rest = 0
	// The length is only the peer's claim. So the first allocation is limited, and memory then grows with the received
	// bytes. It grows in large steps, because each step copies all of them.
	b := make([]byte, min(total, maxEager))
	for have := 0; ; {
		if err := f.in.read(b[have:]); err != nil {
			return nil, noEOF(err)
		}
		if have = len(b); have == total {
			return b, nil
		}
		grown := make([]byte, min(total, growth*have))
		copy(grown, b)
		b = grown
	}
}

// TakeInto reads the payload into b, whose length must be the number that Next returned. Another length is an error
// after which the payload can still be had.
func (f *FrameReader) TakeInto(b []byte) error {
	if len(b) != f.rest {
		return fmt.Errorf("esproto: TakeInto got %d bytes for a payload of %d", len(b), f.rest)
	}
	f.rest = 0
	return noEOF(f.in.read(b))
}

// Buffered returns the number of bytes that were received and not read yet, including the rest of the current frame.
func (f *FrameReader) Buffered() int { return f.in.buffered() }

const (
	headSize = LengthSize + HeaderSize

	maxEager   = 1 << 20 // the largest allocation for a payload before its first byte was received
	growth     = 8       // the factor from the received bytes to the next allocation
	maxScratch = 1 << 20 // the largest buffer that is kept between large borrowed payloads
)

func (f *FrameReader) skip() error {
	n := f.rest + f.refused
	f.rest, f.refused = 0, 0
	if cap(f.scratch) > maxScratch {
		f.scratch = nil
	}
	return noEOF(f.in.discard(n))
}

// noEOF turns io.EOF into io.ErrUnexpectedEOF, for places within a frame.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
