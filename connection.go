package eventstore

import (
	"cmp"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// connection is a client that is in use. close ends the use.
type connection struct {
	client *esclient.Client
	close  func() // may be called more than once; each call returns when the connection is closed
}

// connector returns a function that borrows client if it is not nil, or opens a client.
func connector(
	connectionString string, client *esclient.Client, log watermill.LoggerAdapter,
) (connect func() (connection, error), err error) {
	if client != nil {
		return func() (connection, error) { return borrow(client, log) }, nil
	}
	cfg, err := esclient.ParseConnectionString(connectionString)
	if err != nil {
		return nil, err
	}
	cfg.Hooks = append(cfg.Hooks, newConnectionLog(log, &cfg))
	return func() (connection, error) {
		own, err := esclient.New(cfg)
		if err != nil {
			return connection{}, err
		}
		return connection{client: own, close: func() { _ = own.Close() }}, nil // Close returns no error
	}, nil
}

// borrow lets log see the connections of a borrowed client, until close is called.
func borrow(client *esclient.Client, log watermill.LoggerAdapter) (connection, error) {
	cfg := client.Config()
	remove, err := client.AddConnectionHook(newConnectionLog(log, &cfg))
	return connection{client: client, close: remove}, err
}

// sharedConnection is the connection of a Subscriber. It is open while it has users, the subscriptions.
type sharedConnection struct {
	connect func() (connection, error)

	mu    sync.Mutex
	users int
	now   connection // fixed while there are users, so a user may read it
}

// acquire adds a user. The first one opens the connection, and does not wait for the server.
func (s *sharedConnection) acquire() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == 0 {
		if s.now, err = s.connect(); err != nil {
			return err
		}
	}
	s.users++
	return nil
}

// release removes a user. The last one closes the connection. The next user opens another one and does not wait for
// that.
func (s *sharedConnection) release() {
	s.mu.Lock()
	s.users--
	if s.users > 0 {
		s.mu.Unlock()
		return
	}
	last := s.now
	s.now = connection{}
	s.mu.Unlock()
	last.close()
}

// client returns the client, to a user.
func (s *sharedConnection) client() *esclient.Client { return s.now.client }

func validateConnection(prefix, connectionString string, client *esclient.Client) error {
	switch {
	case client == nil && connectionString == "":
		return configError(prefix+".ConnectionString", "", "is missing: give it, or a Client")
	case client != nil && connectionString != "":
		return configError(prefix+".Client", "", "and ConnectionString are both given: one of them is enough")
	}
	return nil
}

// connectionLog logs the events of a connection.
type connectionLog struct {
	log          watermill.LoggerAdapter
	reconnecting atomic.Bool // since the log has said so
}

// newConnectionLog tells clients apart by their names, since several may use one logger.
func newConnectionLog(log watermill.LoggerAdapter, cfg *esclient.Config) *connectionLog {
	name := cmp.Or(cfg.ConnectionName, esclient.DefaultConnectionName)
	return &connectionLog{log: log.With(watermill.LogFields{"connection_name": name})}
}

func (l *connectionLog) OnConnected(i esclient.ConnectionInfo) {
	l.reconnecting.Store(false)
	l.log.Info("Connected to EventStore", watermill.LogFields{"endpoint": i.Endpoint})
}

func (l *connectionLog) OnDisconnected(i esclient.ConnectionInfo) {
	if errors.Is(i.Err, esclient.ErrClosed) {
		l.log.Debug("Disconnected from EventStore", watermill.LogFields{"endpoint": i.Endpoint})
		return
	}
	l.log.Error("Connection to EventStore lost", i.Err, watermill.LogFields{"endpoint": i.Endpoint})
}

// OnReconnecting logs few attempts, since each user of a client logs them. With a borrowed client, the first one that
// it sees may be a later one. A logger of errors only gets each 10th one.
func (l *connectionLog) OnReconnecting(i esclient.ConnectionInfo) {
	first := !l.reconnecting.Swap(true)
	fields := watermill.LogFields{"attempt": i.Attempt, "delay": i.Delay.String()}
	if i.Attempt%10 == 0 {
		l.log.Error("EventStore cannot be reached", i.Err, fields)
		return
	}
	fields["reason"] = i.Err.Error()
	if first {
		l.log.Info("Reconnecting to EventStore", fields)
	} else {
		l.log.Debug("Reconnecting to EventStore", fields)
	}
}

func (l *connectionLog) OnAuthenticationFailed(i esclient.ConnectionInfo) {
	l.log.Error("EventStore refuses the credentials", i.Err, watermill.LogFields{"endpoint": i.Endpoint})
}
