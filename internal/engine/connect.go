package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// connect makes one attempt: it dials a node, does the handshake and reports the outcome.
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
	// The endpoint of a redirect may belong to another server, so the peer must first show that it is an EventStore.
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

// silentAttempts is the number of silent connections in a row after which the peer counts as no EventStore. A server
// that is starting, or a busy machine, may be silent for a while, too.
const silentAttempts = 3

// recognisePause is the least time between two calls of ManagerConfig.Recognise.
const recognisePause = 2 * time.Second

// explainHandshakeError adds the likely cause to the error of a handshake. A peer that has sent a frame, but does not
// reply to the handshake, is starting. A peer that has sent nothing is probably no EventStore, unless the Manager has
// had a connection before.
func (m *Manager) explainHandshakeError(ctx context.Context, c *Conn, err error) error {
	timeout := errors.Is(err, ErrHeartbeatTimeout) || errors.Is(err, ErrOperationTimeout) ||
		errors.Is(err, context.DeadlineExceeded)
	switch {
	case ctx.Err() != nil:
		return err
	case c.peerSpoke.Load() && timeout:
		return &TransientError{fmt.Errorf("it answers, but not to what is asked, so it may be starting: %w", err)}
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

// report passes the outcome of an attempt to ManagerConfig.Report.
func (m *Manager) report(endpoint string, err error) {
	if endpoint != "" {
		m.cfg.Report(endpoint, err)
	}
}

// asConnectionError wraps err in a [ConnectionError], unless it contains one.
func asConnectionError(endpoint string, err error) error {
	if e := (*ConnectionError)(nil); errors.As(err, &e) {
		return err
	}
	return &ConnectionError{Endpoint: endpoint, Err: err}
}

// noteFailure keeps the error of an attempt, for calls that wait for a connection.
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
