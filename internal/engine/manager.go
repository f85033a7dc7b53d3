package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Dialer makes the TCP or TLS connection to a node. redirect, where not empty, is the host:port that another node named
// as the leader's. The returned endpoint names the peer in errors and events, also where the error is not nil.
type Dialer func(ctx context.Context, redirect string) (nc net.Conn, endpoint string, err error)

// Events are told what becomes of the connection, by the Manager's goroutine and with no lock held. None may be nil.
type Events struct {
	Connected    func(endpoint string)
	Disconnected func(endpoint string, err error)
	Reconnecting func(attempt int, delay time.Duration, err error)
	AuthFailed   func(endpoint string, err error)
	Closed       func(err error)
}

// ManagerConfig holds what a Manager needs to know.
type ManagerConfig struct {
	Dial Dialer
	// Report is told what became of each endpoint that Dial returned: err is nil if the connection is ready for use.
	Report func(endpoint string, err error)
	// Pause returns how long to wait at least after an error of Dial; it may be zero.
	Pause func(err error) time.Duration
	// Recognise, if not nil, looks what else than an EventStore listens at an endpoint that said nothing. It returns
	// nil if it cannot tell. It is asked before the first success only.
	Recognise func(ctx context.Context, endpoint string) error
	// Check, if not nil, is asked about every CheckInterval whether the node that the connection leads to is still one
	// to be connected to. Its error is why not; the connection is left for it.
	Check           func(ctx context.Context, endpoint string) error
	CheckInterval   time.Duration
	Conn            ConnConfig
	Credentials     *esproto.Credentials
	ConnectionName  string
	ConnectTimeout  time.Duration // for dialing and the handshake together
	ReconnectDelay  time.Duration // before the first attempt to reconnect; grows from there
	ReconnectMax    time.Duration // the longest delay
	MaxReconnects   int           // attempts in a row before the Manager closes itself; 0 for no limit
	Events          Events
	TLSForRedirects bool
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

// NewManager begins to connect in a goroutine, which Close ends.
func NewManager(cfg ManagerConfig) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	m := &Manager{cfg: cfg, cancel: cancel, done: make(chan struct{})}
	m.mu.changed = make(chan struct{})
	go m.run(ctx)
	return m
}

// Close ends the connection and the Manager. Calls that wait fail with ErrClosed. It may be called more than once.
func (m *Manager) Close() {
	m.setClosed(ErrClosed)
	m.cancel()
	<-m.done
}

// Done is closed when the Manager has ended: after Close, or after MaxReconnects attempts.
func (m *Manager) Done() <-chan struct{} { return m.done }

// Conn returns the live connection, or waits for one until ctx ends. It does not wait where waiting does not help: the
// server refuses the credentials or, as long as there has been no connection, is not an EventStore. The Manager goes on
// trying even then.
func (m *Manager) Conn(ctx context.Context) (*Conn, error) {
	for {
		if c := m.current.Load(); c != nil {
			select {
			case <-c.dead:
			default:
				return c, nil
			}
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
		if c := m.current.Load(); c != nil && c.Err() == nil {
			return c, nil // it came between the two looks
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, notConnected(ctx, lastErr)
		}
	}
}

// NotConnectedError is the end of a context while there was no connection.
type NotConnectedError struct {
	Err  error // why the context ended
	Last error // the last connection error; nil if the first attempt has not ended yet
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

// Redirect leaves c, if it is still the current connection, for the leader that a NotHandled reply named. Without an
// endpoint the next connection is found anew. Calls that wait on c may still be answered: most likely likewise.
func (m *Manager) Redirect(c *Conn, e *NotHandledError) {
	endpoint, _ := e.LeaderEndpoint(m.cfg.TLSForRedirects)
	m.replace(c, endpoint, e)
}

// replace leaves c for reason, if it is still the current connection, for the node that is named, if any.
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
		// Connections that end at once must not lead to a storm of others: one has to last as long as the pause that
		// was due before it to be taken for a success. So nodes that name each other as the leader are not dialed in
		// turn.
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

func (m *Manager) hasRedirect() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.redirect != ""
}

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

// serve makes one connection and stays until it dies. The error is never nil.
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

func (m *Manager) connect(ctx context.Context) (*Conn, error) {
	attempt, cancel := context.WithTimeoutCause(ctx, m.cfg.ConnectTimeout,
		fmt.Errorf("esclient: no connection within %v: %w", m.cfg.ConnectTimeout, context.DeadlineExceeded))
	defer cancel()
	m.mu.Lock()
	redirect := m.mu.redirect
	m.mu.redirect = ""
	m.mu.Unlock()

	nc, endpoint, err := m.cfg.Dial(attempt, redirect)
	if err != nil {
		err = m.history.classify(&ConnectionError{Endpoint: endpoint, Err: err})
		m.report(endpoint, err)
		return nil, err
	}
	c := NewConn(nc, endpoint, m.cfg.Conn)
	if err := handshake(attempt, c, m.cfg.Credentials, m.cfg.ConnectionName, redirect != ""); err != nil {
		err = asConnectionError(endpoint, m.explainHandshakeError(ctx, c, err))
		c.Close(err)
		err = m.history.classify(err)
		m.report(endpoint, err)
		return nil, err
	}
	m.report(endpoint, nil)
	return c, nil
}

// silentAttempts is how many connections in a row may pass without a word before the peer is taken for something else
// than an EventStore: a server that is starting, or a machine that is too busy, is silent for a while, too.
const silentAttempts = 3

// recognisePause is the least time between two looks at what listens there.
const recognisePause = 2 * time.Second

// explainHandshakeError says what a handshake that failed means. A peer that never said anything is, before the first success, more
// likely to be something else than an EventStore that hangs; one that speaks, but does not answer, is starting.
func (m *Manager) explainHandshakeError(ctx context.Context, c *Conn, err error) error {
	timeout := errors.Is(err, ErrHeartbeatTimeout) || errors.Is(err, ErrOperationTimeout) ||
		errors.Is(err, context.DeadlineExceeded)
	switch {
	case ctx.Err() != nil:
		return err
	case c.peerSpoke.Load() && timeout:
		return &transientError{fmt.Errorf("it answers, but not to what is asked, so it may be starting: %w", err)}
	case m.history.succeeded || c.peerSpoke.Load() || errors.Is(err, ErrNotEventStore):
		m.history.silent = 0
		return err
	}
	if m.cfg.Recognise != nil && time.Since(m.history.recognisedAt) > recognisePause {
		m.history.recognisedAt = time.Now()
		if what := m.cfg.Recognise(ctx, c.endpoint); what != nil {
			return fmt.Errorf("%w: %w: %w", ErrNotEventStore, what, err)
		}
	}
	if !timeout {
		return err
	}
	if m.history.silent++; m.history.silent < silentAttempts {
		return err
	}
	return fmt.Errorf("%w: it accepts connections but does not answer: %w", ErrNotEventStore, err)
}

func (m *Manager) report(endpoint string, err error) {
	if endpoint != "" {
		m.cfg.Report(endpoint, err)
	}
}

func asConnectionError(endpoint string, err error) error {
	if e := (*ConnectionError)(nil); errors.As(err, &e) {
		return err
	}
	return &ConnectionError{Endpoint: endpoint, Err: err}
}

// noteFailure notes why an attempt did not lead to a connection.
func (m *Manager) noteFailure(err error) {
	refused := m.history.failsCalls(err)
	m.update(func() {
		m.mu.lastErr = err
		m.mu.refused = nil
		if refused {
			m.mu.refused = err
		}
	})
	if refused && errors.Is(err, ErrNotAuthenticated) {
		endpoint := ""
		if e := (*ConnectionError)(nil); errors.As(err, &e) {
			endpoint = e.Endpoint
		}
		m.cfg.Events.AuthFailed(endpoint, err)
	}
}

func (m *Manager) setClosed(err error) {
	m.update(func() {
		if m.mu.closed == nil {
			m.mu.closed = err
		}
	})
}

func (m *Manager) update(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.mu.changed)
	m.mu.changed = make(chan struct{})
}
