package engine

import "context"

// contextWatcher fails the calls that share a context when the context ends. If each call waited for the context
// itself, all of them would contend for the lock of the context, which took 6 % of the time of an append.
//
// The lock of the Conn guards the fields.
type contextWatcher struct {
	done    <-chan struct{} // Done of the context
	stop    func() bool
	waiting int  // calls in the table of Receivers
	retired bool // takes no more calls
}

// watchLocked returns the watcher of ctx for a new call. It returns nil if ctx never ends, or if the previous call had
// another context: a watcher only pays if several calls share it.
func (c *Conn) watchLocked(ctx context.Context, done <-chan struct{}) *contextWatcher {
	if done == nil {
		return nil
	}
	if c.mu.watcher != nil && c.mu.watcher.done == done {
		return c.mu.watcher
	}
	if c.mu.lastDone != done {
		c.mu.lastDone = done
		return nil
	}
	c.retireWatcherLocked()
	w := &contextWatcher{done: done}
	w.stop = context.AfterFunc(ctx, func() { c.failWatched(w, context.Cause(ctx)) })
	c.mu.watcher = w
	return w
}

// retireWatcherLocked makes the watcher take no more calls. It stops when its last call ends.
func (c *Conn) retireWatcherLocked() {
	if w := c.mu.watcher; w != nil {
		c.mu.watcher, w.retired = nil, true
		w.stopIfUnusedLocked()
	}
}

// failWatched runs when the context of w ends. It fails the calls of w.
func (c *Conn) failWatched(w *contextWatcher, reason error) {
	c.mu.Lock()
	if c.mu.watcher == w {
		c.mu.watcher = nil
	}
	w.retired = true
	waiting := c.mu.receivers.removeIf(func(e *entry) bool { return e.watcher == w })
	drained, draining := c.mu.receivers.n == 0, c.mu.draining
	c.mu.Unlock()
	for _, e := range waiting {
		e.r.Fail(reason, true) // sent: the request is in the write buffer and will be written
	}
	if draining != nil && drained {
		c.die(draining)
	}
}

// stopIfUnusedLocked stops a retired watcher whose calls have all ended. The caller holds the lock of the Conn.
func (w *contextWatcher) stopIfUnusedLocked() {
	if w.retired && w.waiting == 0 {
		w.stop()
	}
}
