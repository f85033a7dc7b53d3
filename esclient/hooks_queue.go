package esclient

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// noticeKind is the kind of a call of the hooks of the connection.
type noticeKind int

const (
	noticeConnected noticeKind = iota
	noticeDisconnected
	noticeReconnecting
	noticeAuthFailed
	noticeClosed

	noticeKinds // the number of kinds
)

// notice is one call of the hooks of the connection.
type notice struct {
	kind noticeKind
	info ConnectionInfo
	to   []*noticeCalls // those that were there at the time
}

// maxNotices is how many notices may wait for a hook that does not return.
const maxNotices = 256

// hookQueue calls the hooks of the connection one after the other, in a goroutine that runs only while there are
// notices. So a hook that waits for a connection, or for another event of the client, does not block it.
type hookQueue struct {
	goroutines *goroutines

	mu      sync.Mutex
	sets    []*noticeCalls // of the configuration, and of AddConnectionHook; copied on each change
	waiting []notice
	idle    chan struct{} // closed when the queue is empty; nil if it is
}

// noticeCalls are the methods of hooks for each kind of notice.
type noticeCalls struct {
	byKind  [noticeKinds][]func(ConnectionInfo)
	removed atomic.Bool
}

func newHookQueue(goroutines *goroutines, hooks *hookSet) hookQueue {
	return hookQueue{goroutines: goroutines, sets: []*noticeCalls{callsOf(hooks)}}
}

func callsOf(hooks *hookSet) *noticeCalls {
	return &noticeCalls{byKind: [noticeKinds][]func(ConnectionInfo){
		noticeConnected:    methods(hooks.connected, ConnectedHook.OnConnected),
		noticeDisconnected: methods(hooks.disconnected, DisconnectedHook.OnDisconnected),
		noticeReconnecting: methods(hooks.reconnecting, ReconnectingHook.OnReconnecting),
		noticeAuthFailed:   methods(hooks.authFailed, AuthenticationFailedHook.OnAuthenticationFailed),
		noticeClosed:       methods(hooks.closed, ClosedHook.OnClosed),
	}}
}

func (q *hookQueue) add(calls *noticeCalls) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sets = append(slices.Clone(q.sets), calls)
}

// remove removes an added hook. A call of the hook may still be running.
func (q *hookQueue) remove(calls *noticeCalls) {
	calls.removed.Store(true)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sets = slices.DeleteFunc(slices.Clone(q.sets), func(c *noticeCalls) bool { return c == calls })
}

// methods returns the method of each hook.
func methods[H any](hooks []H, method func(H, ConnectionInfo)) []func(ConnectionInfo) {
	calls := make([]func(ConnectionInfo), len(hooks))
	for i, h := range hooks {
		calls[i] = func(info ConnectionInfo) { method(h, info) }
	}
	return calls
}

// tell adds a notice. It does not wait for a hook.
func (q *hookQueue) tell(kind noticeKind, info ConnectionInfo) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.ContainsFunc(q.sets, func(c *noticeCalls) bool { return len(c.byKind[kind]) > 0 }) {
		return
	}
	if len(q.waiting) >= maxNotices {
		q.leaveOut()
	}
	q.waiting = append(q.waiting, notice{kind, info, q.sets})
	if q.idle == nil {
		q.idle = make(chan struct{})
		q.goroutines.start(q.run)
	}
}

// leaveOut makes room. It drops an attempt to connect first. Otherwise it drops the oldest two notices, which are
// Connected and Disconnected in some order, so these still alternate.
func (q *hookQueue) leaveOut() {
	attempt := slices.IndexFunc(q.waiting, func(n notice) bool {
		return n.kind == noticeReconnecting || n.kind == noticeAuthFailed
	})
	if attempt >= 0 {
		q.waiting = slices.Delete(q.waiting, attempt, attempt+1)
		return
	}
	q.waiting = slices.Delete(q.waiting, 0, 2)
}

func (q *hookQueue) run() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.waiting = nil
			close(q.idle)
			q.idle = nil
			q.mu.Unlock()
			return
		}
		n := q.waiting[0]
		q.waiting = slices.Delete(q.waiting, 0, 1)
		q.mu.Unlock()
		n.call()
	}
}

func (n *notice) call() {
	for _, calls := range n.to {
		for _, call := range calls.byKind[n.kind] {
			if !calls.removed.Load() {
				call(n.info)
			}
		}
	}
}

// flush waits until the queue is empty, but not longer than the limit.
func (q *hookQueue) flush(limit time.Duration) {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	if idle == nil {
		return
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
	}
}
