package esclient

import (
	"sync"
	"time"
)

// goroutines are the goroutines of a client that may call hooks. A hook may close the client, so Close waits for them
// only up to a limit.
type goroutines struct {
	mu    sync.Mutex
	n     int
	ended chan struct{} // closed when n becomes 0; nil unless Close waits
}

// start runs f in a goroutine.
func (g *goroutines) start(f func()) {
	g.mu.Lock()
	g.n++
	g.mu.Unlock()
	go func() {
		defer g.leave()
		f()
	}()
}

func (g *goroutines) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.ended != nil {
		close(g.ended)
		g.ended = nil
	}
}

// wait waits until all goroutines have ended, or until the limit has passed.
func (g *goroutines) wait(limit time.Duration) {
	g.mu.Lock()
	if g.n == 0 {
		g.mu.Unlock()
		return
	}
	if g.ended == nil {
		g.ended = make(chan struct{})
	}
	ended := g.ended
	g.mu.Unlock()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
	}
}
