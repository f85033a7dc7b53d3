package engine

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Dialer makes the TCP or TLS connection to a node. If redirect is not empty, it is the leader's host:port, as another
// node gave it. The returned endpoint names the peer in errors and events, and is set even if the error is not nil.
type Dialer func(ctx context.Context, redirect string) (nc net.Conn, endpoint string, err error)

// Events are the callbacks for the states of the connection. The Manager's goroutine calls them without a lock. None
// may be nil.
type Events struct {
	Connected    func(endpoint string)
	Disconnected func(endpoint string, err error)
	Reconnecting func(attempt int, delay time.Duration, err error)
	AuthFailed   func(endpoint string, err error)
	Closed       func(err error)
}

// ManagerConfig configures a [Manager].
type ManagerConfig struct {
	Dial Dialer
	// Report gets the outcome for each endpoint that Dial returned: err is nil if the connection is ready for use.
	Report func(endpoint string, err error)
	// Pause returns the least pause after an error of an attempt or of a connection; it may be zero.
	Pause func(err error) time.Duration
	// Recognise, if not nil, finds out which other server listens at an endpoint that sends nothing. It returns an
	// error that names that server, or nil if it cannot tell. It is called only before the first connection.
	Recognise func(ctx context.Context, endpoint string) error
	// Check, if not nil, checks the connected node about every CheckInterval. If it returns an error, the Manager
	// replaces the connection.
	Check          func(ctx context.Context, endpoint string) error
	CheckInterval  time.Duration
	Conn           ConnConfig
	Credentials    *esproto.Credentials
	ConnectionName string
	ConnectTimeout time.Duration // for dialing and the handshake together
	ReconnectDelay time.Duration // before the first attempt to reconnect; grows from there
	ReconnectMax   time.Duration // the longest delay
	MaxReconnects  int           // failed attempts in a row before the Manager closes itself; 0 for no limit
	Events         Events
}

// Manager keeps one connection, and replaces it when it dies.
type Manager struct {
	cfg    ManagerConfig
	cancel context.CancelFunc
	done   chan struct{}

	history history // belongs to the goroutine of run

	current atomic.Pointer[Conn]

	mu struct {
		sync.Mutex
		changed  chan struct{} // closed and replaced by each change of the other fields, or of current
		lastErr  error         // of the last attempt or connection
		refused  error         // an error that fails calls at once; nil after the next success
		closed   error         // why the Manager has ended; nil before
		redirect string        // the endpoint for the next attempt; empty for none
	}
}

// NewManager starts a goroutine that connects. [Manager.Close] ends it.
func NewManager(cfg ManagerConfig) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{cfg: cfg, cancel: cancel, done: make(chan struct{})}
	m.mu.changed = make(chan struct{})
	go m.run(ctx)
	return m
}

// Close ends the connection and the Manager. Calls that wait fail with [ErrClosed]. Close may be called more than once.
func (m *Manager) Close() {
	m.setClosed(ErrClosed)
	m.cancel()
	<-m.done
}

// Done returns a channel that is closed when the Manager has ended: after [Manager.Close], or after MaxReconnects
// attempts.
func (m *Manager) Done() <-chan struct{} { return m.done }

// Conn returns the live connection, or waits for one until ctx ends. It does not wait if the server refuses the
// credentials or, before the first connection, if the peer is no EventStore. The Manager tries again even then.
func (m *Manager) Conn(ctx context.Context) (*Conn, error) {
	for {
		if c := m.Current(); c != nil {
			return c, nil
		}
		m.mu.Lock()
		changed, refused, closed, lastErr := m.mu.changed, m.mu.refused, m.mu.closed, m.mu.lastErr
		m.mu.Unlock()
		if closed != nil {
			return nil, closed
		}
		if refused != nil {
			return nil, refused
		}
		if c := m.Current(); c != nil {
			return c, nil // it was made after the first check
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, notConnected(ctx, lastErr)
		}
	}
}

// NotConnectedError reports that a context ended before there was a connection.
type NotConnectedError struct {
	Err  error // why the context ended
	Last error // the last error of an attempt or a connection; nil if the first attempt has not ended yet
}

func (e *NotConnectedError) Error() string {
	if e.Last == nil {
		return fmt.Sprintf("esclient: not connected: %v", e.Err)
	}
	return fmt.Sprintf("esclient: not connected: %v (last error: %v)", e.Err, e.Last)
}

func (e *NotConnectedError) Unwrap() []error {
	if e.Last == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Last}
}

func notConnected(ctx context.Context, last error) error {
	return &NotConnectedError{Err: context.Cause(ctx), Last: last}
}

// Current returns the live connection, or nil while there is none.
func (m *Manager) Current() *Conn {
	if c := m.current.Load(); c != nil {
		select {
		case <-c.dead:
		default:
			return c
		}
	}
	return nil
}

// Redirect replaces c for reason, if it is still the current connection, by a connection to the leader at endpoint. If
// that is empty, Dial chooses the node. Calls that wait on c may still get their replies, see [Conn.Drain].
func (m *Manager) Redirect(c *Conn, endpoint string, reason error) { m.replace(c, endpoint, reason) }

// replace drains c for reason, if it is still the current connection. redirect is the endpoint for the next attempt;
// empty for none.
func (m *Manager) replace(c *Conn, redirect string, reason error) {
	current := false
	m.update(func() {
		if current = m.current.CompareAndSwap(c, nil); current {
			m.mu.redirect = redirect
		}
	})
	if current {
		c.Drain(fmt.Errorf("%w: %w", errRedirected, reason))
	}
}

// run is the goroutine of the Manager: it connects again and again.
func (m *Manager) run(ctx context.Context) {
	defer close(m.done)
	delays := newBackoffs(m.cfg.ReconnectDelay, m.cfg.ReconnectMax)
	failures := 0
	var delay time.Duration
	for {
		started := time.Now()
		established, err := m.serve(ctx)
		if ctx.Err() != nil {
			break
		}
		// A connection resets the backoff only if it has lasted longer than the pause before it. Else connections that
		// end at once, such as to nodes that name each other as the leader, would follow each other without a pause.
		lasted := established && time.Since(started) >= delay
		if lasted {
			delays.reset()
		}
		if established {
			failures = 0
		}
		failures++
		if m.cfg.MaxReconnects > 0 && failures > m.cfg.MaxReconnects {
			m.setClosed(fmt.Errorf("%w: gave up after %d attempts to reconnect: %w",
				ErrClosed, m.cfg.MaxReconnects, err))
			break
		}
		delay = max(delays.next(err), m.cfg.Pause(err))
		pause := delay
		if lasted && m.hasRedirect() {
			pause = 0
		}
		m.cfg.Events.Reconnecting(failures, pause, err)
		if !sleep(ctx, pause) {
			break
		}
	}
	m.setClosed(ErrClosed)
	m.mu.Lock()
	closed := m.mu.closed
	m.mu.Unlock()
	m.cfg.Events.Closed(closed)
}

// hasRedirect reports whether the next attempt has an endpoint.
func (m *Manager) hasRedirect() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.redirect != ""
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serve makes one connection and returns when it has died. The error is never nil.
func (m *Manager) serve(ctx context.Context) (established bool, err error) {
	c, err := m.connect(ctx)
	if err != nil {
		m.noteFailure(err)
		return false, err
	}
	m.history.success()
	m.update(func() {
		m.current.Store(c)
		m.mu.refused = nil
	})
	m.cfg.Events.Connected(c.endpoint)
	m.checkUntilDead(ctx, c)
	c.Close(ErrClosed)
	err = c.Err()
	m.update(func() {
		m.current.Store(nil)
		m.mu.lastErr = err
	})
	m.cfg.Events.Disconnected(c.endpoint, err)
	return true, err
}

// setClosed makes [Manager.Conn] fail with err. The first call counts.
func (m *Manager) setClosed(err error) {
	m.update(func() {
		if m.mu.closed == nil {
			m.mu.closed = err
		}
	})
}

// update runs f under the lock and wakes the calls that wait in [Manager.Conn].
func (m *Manager) update(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.mu.changed)
	m.mu.changed = make(chan struct{})
}
