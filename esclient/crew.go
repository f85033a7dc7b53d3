package esclient

import (
	"bytes"
	"runtime"
	"sync"
	"time"
)

// crew is the goroutines of a client that call hooks. It knows them, since a hook that closes the client must not wait
// for its own end.
type crew struct {
	mu    sync.Mutex
	ids   map[string]bool
	n     int
	ended chan struct{} // closed when n becomes 0; nil while nobody waits for that
}

// start runs f in a goroutine of the crew.
func (w *crew) start(f func()) {
	w.mu.Lock()
	w.n++
	w.mu.Unlock()
	go func() {
		id := goroutineID()
		w.enter(id)
		defer w.leave(id)
		f()
	}()
}

func (w *crew) enter(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ids == nil {
		w.ids = make(map[string]bool)
	}
	w.ids[id] = true
}

func (w *crew) leave(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.ids, id)
	if w.n--; w.n == 0 && w.ended != nil {
		close(w.ended)
		w.ended = nil
	}
}

// member reports whether the calling goroutine is one of the crew.
func (w *crew) member() bool {
	id := goroutineID()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ids[id]
}

// wait waits until all have ended, or until the limit fires.
func (w *crew) wait(limit <-chan time.Time) {
	w.mu.Lock()
	if w.n == 0 {
		w.mu.Unlock()
		return
	}
	if w.ended == nil {
		w.ended = make(chan struct{})
	}
	ended := w.ended
	w.mu.Unlock()
	select {
	case <-ended:
	case <-limit:
	}
}

// goroutineID returns what tells the calling goroutine from all others that live. The runtime shows it in stack traces
// alone. Where it cannot be read it is empty, and a Close within a hook waits for hookTimeout.
func goroutineID() string {
	var buf [64]byte
	trace := buf[:runtime.Stack(buf[:], false)]
	id, _, ok := bytes.Cut(bytes.TrimPrefix(trace, []byte("goroutine ")), []byte(" "))
	if !ok {
		return ""
	}
	return string(id)
}
