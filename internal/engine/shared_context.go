package engine

import "context"

// contextWatcher fails the calls of one context when it ends. Calls that wait for the end of their context themselves meet at
// its lock: where many share a context, that was 6 % of what an append costs.
type contextWatcher struct {
	done    <-chan struct{} // ctx.Done()
	stop    func() bool
	waiting int  // that wait
	retired bool // no further calls are added
}

// watchLocked returns who watches ctx for a call that is started now; nil if nobody does, because it never ends, or because
// the call before had another one: then it is not worth it.
func (c *Conn) watchLocked(ctx context.Context, ended <-chan struct{}) *contextWatcher {
	if ended == nil {
		return nil
	}
	if c.mu.watcher != nil && c.mu.watcher.done == ended {
		return c.mu.watcher
	}
	if c.mu.lastDone != ended {
		c.mu.lastDone = ended
		return nil
	}
	c.retireWatcherLocked()
	w := &contextWatcher{done: ended}
	w.stop = context.AfterFunc(ctx, func() { c.failWatched(w, context.Cause(ctx)) })
	c.mu.watcher = w
	return w
}

// retireWatcherLocked gives up the watcher as soon as nobody needs it.
func (c *Conn) retireWatcherLocked() {
	if w := c.mu.watcher; w != nil {
		c.mu.watcher, w.retired = nil, true
		w.stopIfUnusedLocked()
	}
}

// failWatched fails the calls whose context has ended.
func (c *Conn) failWatched(w *contextWatcher, reason error) {
	c.mu.Lock()
	if c.mu.watcher == w {
		c.mu.watcher = nil
	}
	w.retired = true
	waiting := c.mu.receivers.removeIf(func(e *entry) bool { return e.watcher == w })
	left, leaving := c.mu.receivers.n == 0, c.mu.draining
	c.mu.Unlock()
	for _, e := range waiting {
		e.r.Fail(reason, true) // even if it is not written yet, it will be
	}
	if leaving != nil && left {
		c.die(leaving)
	}
}

// stopIfUnusedLocked stops watching, if nobody needs it. The connection's lock is held.
func (w *contextWatcher) stopIfUnusedLocked() {
	if w.retired && w.waiting == 0 {
		w.stop()
	}
}
