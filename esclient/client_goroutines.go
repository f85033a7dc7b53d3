package esclient

import (
	"sync"
	"time"
)

// crew is the goroutines of a client that call hooks. A hook may close the client, so that the wait for their end has a
// limit.
type crew struct {
	mu    sync.Mutex
	n     int
	ended chan struct{} // closed when n becomes 0; nil while nobody waits for that
}

// start runs f in a goroutine of the crew.
func (w *crew) start(f func()) {
	w.mu.Lock()
	w.n++
	w.mu.Unlock()
	go func() {
		defer w.leave()
		f()
	}()
}

func (w *crew) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 && w.ended != nil {
		close(w.ended)
		w.ended = nil
	}
}

// wait waits until all have ended, at most for so long.
func (w *crew) wait(limit time.Duration) {
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
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
	}
}
