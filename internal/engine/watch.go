package engine

import "context"

// watcher fails the calls of one context when it ends. Calls that wait for the end of their context themselves meet at
// its lock: where many share a context, that was 6 % of what an append costs.
type watcher struct {
	ended   <-chan struct{} // ctx.Done()
	stop    func() bool
	calls   int  // that wait
	retired bool // no further calls are added
}

// watch returns who watches ctx for a call that is started now; nil if nobody does, because it never ends, or because
// the call before had another one: then it is not worth it. c.mu is held.
func (c *Conn) watch(ctx context.Context, ended <-chan struct{}) *watcher {
	if ended == nil {
		return nil
	}
	if c.watcher != nil && c.watcher.ended == ended {
		return c.watcher
	}
	if c.lastEnded != ended {
		c.lastEnded = ended
		return nil
	}
	c.retireWatcher()
	w := &watcher{ended: ended}
	w.stop = context.AfterFunc(ctx, func() { c.giveUp(w, context.Cause(ctx)) })
	c.watcher = w
	return w
}

// retireWatcher gives up the watcher as soon as nobody needs it. c.mu is held.
func (c *Conn) retireWatcher() {
	if w := c.watcher; w != nil {
		c.watcher, w.retired = nil, true
		w.release()
	}
}

// giveUp fails the calls whose context has ended.
func (c *Conn) giveUp(w *watcher, reason error) {
	c.mu.Lock()
	if c.watcher == w {
		c.watcher = nil
	}
	w.retired = true
	waiting := c.calls.takeOut(func(e *entry) bool { return e.watcher == w })
	left, leaving := c.calls.n == 0, c.leaving
	c.mu.Unlock()
	for _, e := range waiting {
		e.r.Fail(reason, true) // even if it is not written yet, it will be
	}
	if leaving != nil && left {
		c.die(leaving)
	}
}

// release stops watching, if nobody needs it. The connection's lock is held.
func (w *watcher) release() {
	if w.retired && w.calls == 0 {
		w.stop()
	}
}
