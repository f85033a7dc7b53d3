package esclient

import "sync"

// liveness is whether a subscription has caught up. Any number of goroutines may wait for either state.
type liveness struct {
	mu     sync.Mutex
	live   bool
	caught chan struct{} // closed while live
	behind chan struct{} // closed while not live
}

func newLiveness() liveness {
	behind := make(chan struct{})
	close(behind)
	return liveness{caught: make(chan struct{}), behind: behind}
}

// set returns whether the state has changed.
func (l *liveness) set(live bool) (changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if live == l.live {
		return false
	}
	if l.live = live; live {
		close(l.caught)
		l.behind = make(chan struct{})
	} else {
		close(l.behind)
		l.caught = make(chan struct{})
	}
	return true
}

func (l *liveness) wait(live bool) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if live {
		return l.caught
	}
	return l.behind
}
