package estest

import "sync/atomic"

// gate can be shut. Then wait blocks until the gate opens again. The caller of open and close holds a lock.
type gate struct {
	shut atomic.Pointer[chan struct{}] // closed when the gate is opened; nil while it is open
}

func (g *gate) close() {
	if g.shut.Load() == nil {
		shut := make(chan struct{})
		g.shut.Store(&shut)
	}
}

func (g *gate) open() {
	if shut := g.shut.Swap(nil); shut != nil {
		close(*shut)
	}
}

// wait returns true when the gate is open, false if stop is closed before.
func (g *gate) wait(stop <-chan struct{}) (open bool) {
	shut := g.shut.Load()
	if shut == nil {
		return true
	}
	select {
	case <-*shut:
		return true
	case <-stop:
		return false
	}
}

// isShut reports whether the gate is shut at this moment.
func (g *gate) isShut() bool { return g.shut.Load() != nil }
