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

// FrameTooLargeError is a frame that is larger than the reader's limit, and that it can skip: see SkipTooLarge. It is
// ErrFrame.
type FrameTooLargeError struct {
	Header Header
	Length int // of the frame in bytes, header included
	Max    int // what the reader allows
}

func (e *FrameTooLargeError) Error() string {
	return fmt.Sprintf("%v: %v of %d bytes, allowed are up to %d", ErrFrame, e.Header.Command, e.Length, e.Max)
}

// Is makes the error match ErrFrame.
func (e *FrameTooLargeError) Is(target error) bool { return target == ErrFrame }

// FrameReader cuts a stream of bytes into frames. It is not safe for concurrent use.
//
// After Next, what follows the header can be had once: by Borrow for a look that lasts until the next call of Next, by
// Take or TakeInto for bytes that the caller owns. What is not asked for is skipped; what was had already is empty.
//
// After any error but a *FrameTooLargeError the stream of bytes is out of step and the connection must be closed.
type FrameReader struct {
	in      window
	max     int
	lenient bool   // frames that are too large are skipped
	rest    int    // bytes of the current frame that nobody has had yet
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

// SkipTooLarge has Next tell of a frame that is larger than allowed by a *FrameTooLargeError, and go on behind it the
// next time. Nothing of it can be had. Only a length that the protocol cannot express, above math.MaxInt32, still ends
// the reading.
//
// Without it every wrong length is an error as soon as it has come. So call it when the peer has shown that it speaks
// the protocol: the greetings of others, such as "HTTP" or "SSH-", look like lengths, too, and little may follow them.
func (f *FrameReader) SkipTooLarge() { f.lenient = true }

// Next reads the head of the next frame and returns it with the number of bytes that follow it: credentials, if the
// flags say so, and payload. The error is io.EOF where the stream ends between two frames, io.ErrUnexpectedEOF within
// one, and ErrFrame for a length that no frame can have.
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

// refuse is what Next does with a frame of a wrong length.
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

// parse reads the header from what a frame begins with.
func (h *Header) parse(head []byte) {
	h.Command = Command(head[4])
	h.Flags = Flags(head[5])
	copy(h.CorrelationID[:], head[6:])
}

// Borrow returns what follows the header. It is valid until the next call of Next and must not be changed. It is not
// copied where it fits the reader's buffer.
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

// Take returns what follows the header in memory of its own.
func (f *FrameReader) Take() ([]byte, error) {
	total := f.rest
	f.rest = 0
	// A length is no more than a claim: what is allocated at once is limited, then memory grows with what has come. It
	// grows by much, since each time all of that is copied.
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

// TakeInto reads what follows the header into b, whose length must be the number that Next returned. Another length is
// an error after which the payload can still be had.
func (f *FrameReader) TakeInto(b []byte) error {
	if len(b) != f.rest {
		return fmt.Errorf("esproto: TakeInto got %d bytes for a payload of %d", len(b), f.rest)
	}
	f.rest = 0
	return noEOF(f.in.read(b))
}

// Buffered returns how many bytes have been received but not been handed out, the rest of the current frame included.
func (f *FrameReader) Buffered() int { return f.in.buffered() }

const (
	headSize = LengthSize + HeaderSize

	maxEager   = 1 << 20 // the most memory that is taken for a payload before any of it has come
	growth     = 8       // how much more is taken than what has come
	maxScratch = 1 << 20 // the largest buffer that is kept from one large borrowed payload to the next
)

func (f *FrameReader) skip() error {
	n := f.rest + f.refused
	f.rest, f.refused = 0, 0
	if cap(f.scratch) > maxScratch {
		f.scratch = nil
	}
	return noEOF(f.in.discard(n))
}

// noEOF turns the end of the stream into an error where the stream must not end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
