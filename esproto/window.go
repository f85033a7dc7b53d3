package esproto

import "io"

// window holds the bytes that were received and not taken yet. Its buffer grows, up to a limit, while reads fill it, so
// that a fast source needs few calls. It shrinks when the source is silent.
type window struct {
	src  io.Reader
	most int
	buf  []byte
	from int
	to   int
	full bool // the last read filled the buffer
	err  error
}

const (
	leastWindow  = 4 << 10
	windowGrowth = 4
	emptyReads   = 100 // in a row, after which the source is broken, as in package bufio
)

func newWindow(src io.Reader, most int) window {
	return window{src: src, most: most, buf: make([]byte, min(leastWindow, most))}
}

func (w *window) buffered() int { return w.to - w.from }

// peek returns the next n bytes, at most w.most, without taking them; fewer with an error. They are valid until the
// next call that reads.
func (w *window) peek(n int) ([]byte, error) {
	for w.buffered() < n {
		if w.err != nil {
			return w.buf[w.from:w.to], w.err
		}
		w.fill(n)
	}
	return w.buf[w.from : w.from+n], nil
}

// take takes n bytes that were received.
func (w *window) take(n int) { w.from += n }

// discard skips n bytes.
func (w *window) discard(n int) error {
	for n > 0 {
		if w.buffered() == 0 {
			if w.err != nil {
				return w.err
			}
			w.fill(1)
		}
		some := min(n, w.buffered())
		w.take(some)
		n -= some
	}
	return nil
}

// read fills b. Most bytes of a large b do not pass through the buffer.
func (w *window) read(b []byte) error {
	for len(b) > 0 {
		n := copy(b, w.buf[w.from:w.to])
		w.take(n)
		switch b = b[n:]; {
		case len(b) == 0:
		case w.err != nil:
			return w.err
		case len(b) >= len(w.buf):
			_, w.err = io.ReadFull(w.src, b)
			return w.err
		default:
			w.fill(1)
		}
	}
	return nil
}

// fill reads once, with room for n bytes in all, or sets w.err.
func (w *window) fill(n int) {
	w.makeRoom(n)
	for range emptyReads {
		var got int
		got, w.err = w.src.Read(w.buf[w.to:])
		w.to += got
		w.full = w.to == len(w.buf)
		if got > 0 || w.err != nil {
			return
		}
		w.shrink()
	}
	w.err = io.ErrNoProgress
}

func (w *window) makeRoom(n int) {
	size := len(w.buf)
	for w.full && size < w.most || size < n {
		size, w.full = min(windowGrowth*size, w.most), false
	}
	to := w.buf
	if size > len(to) {
		to = make([]byte, size)
	}
	w.to = copy(to, w.buf[w.from:w.to])
	w.buf, w.from = to, 0
}

// shrink is called after a read of no bytes.
func (w *window) shrink() {
	if w.to == 0 && len(w.buf) > leastWindow {
		w.buf = make([]byte, leastWindow)
	}
}
