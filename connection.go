package eventstore

import (
	"errors"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// connection is a client. Its owner, which opened it, closes it.
type connection struct {
	client *esclient.Client
	owned  bool // close closes the client
}

// connect borrows client if it is not nil, or opens a client.
func connect(connectionString string, client *esclient.Client, log watermill.LoggerAdapter) (connection, error) {
	if client != nil {
		return connection{client: client}, nil
	}
	cfg, err := esclient.ParseConnectionString(connectionString)
	if err != nil {
		return connection{}, err
	}
	cfg.Hooks = append(cfg.Hooks, connectionLog{log})
	own, err := esclient.New(cfg)
	if err != nil {
		return connection{}, err
	}
	return connection{client: own, owned: true}, nil
}

func validateConnection(prefix, connectionString string, client *esclient.Client) error {
	switch {
	case client == nil && connectionString == "":
		return configError(prefix+".ConnectionString", "", "is missing: give it, or a Client")
	case client != nil && connectionString != "":
		return configError(prefix+".Client", "", "and ConnectionString are both given: one of them is enough")
	}
	return nil
}

func (c connection) close() error {
	if !c.owned {
		return nil
	}
	return c.client.Close()
}

// connectionLog logs the events of a connection.
type connectionLog struct{ log watermill.LoggerAdapter }

func (l connectionLog) OnConnected(i esclient.ConnectionInfo) {
	l.log.Info("Connected to EventStore", watermill.LogFields{"endpoint": i.Endpoint})
}

func (l connectionLog) OnDisconnected(i esclient.ConnectionInfo) {
	if errors.Is(i.Err, esclient.ErrClosed) {
		l.log.Debug("Disconnected from EventStore", watermill.LogFields{"endpoint": i.Endpoint})
		return
	}
	l.log.Error("Connection to EventStore lost", i.Err, watermill.LogFields{"endpoint": i.Endpoint})
}

func (l connectionLog) OnReconnecting(i esclient.ConnectionInfo) {
	l.log.Info("Reconnecting to EventStore", watermill.LogFields{
		"attempt": i.Attempt, "delay": i.Delay.String(), "reason": i.Err.Error(),
	})
}

func (l connectionLog) OnAuthenticationFailed(i esclient.ConnectionInfo) {
	l.log.Error("EventStore refuses the credentials", i.Err, watermill.LogFields{"endpoint": i.Endpoint})
}
