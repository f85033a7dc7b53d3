package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Errors that end calls. They reach the user of esclient under the same names there.
var (
	ErrClosed           = errors.New("esclient: the client is closed")
	ErrOperationTimeout = errors.New("esclient: no reply within the operation timeout")
	ErrHeartbeatTimeout = errors.New("esclient: the server did not answer a heartbeat")
	ErrNotEventStore    = errors.New("esclient: the peer does not speak the EventStore TCP protocol")
	ErrNotAuthenticated = errors.New("esclient: the server did not accept the credentials")
	errRedirected       = errors.New("left for another node")
)

// ConnectionError reports a connection that could not be made or was lost.
type ConnectionError struct {
	Endpoint string // host:port, or empty where not even an endpoint could be found
	Err      error
}

func (e *ConnectionError) Error() string {
	if e.Endpoint == "" {
		return fmt.Sprintf("esclient: connecting: %v", e.Err)
	}
	return fmt.Sprintf("esclient: connection to %s: %v", e.Endpoint, e.Err)
}

func (e *ConnectionError) Unwrap() error { return e.Err }

// BadRequestError is the server's word that it could not make sense of a frame.
type BadRequestError struct{ Text string }

func (e *BadRequestError) Error() string { return "esclient: bad request: " + e.Text }

// NotAuthenticatedError is the server's refusal of credentials, those of the connection or those of one request. It is
// ErrNotAuthenticated.
type NotAuthenticatedError struct{ Text string }

func (e *NotAuthenticatedError) Error() string {
	return ErrNotAuthenticated.Error() + ": " + e.Text
}

// Is makes the error match ErrNotAuthenticated.
func (e *NotAuthenticatedError) Is(target error) bool { return target == ErrNotAuthenticated }

// Transient reports a refusal that says nothing about the credentials: servers up to 5.0 also refuse while they start.
func (e *NotAuthenticatedError) Transient() bool {
	for _, text := range [...]string{"not yet ready", "not ready", "Internal Server Error"} {
		if strings.Contains(e.Text, text) {
			return true
		}
	}
	return false
}

// UnexpectedReplyError is a reply that does not answer what was asked. The connection is not harmed.
type UnexpectedReplyError struct {
	Request esproto.Command
	Reply   esproto.Command
	Err     error // what was wrong with the payload; nil where the command itself was unexpected
}

func (e *UnexpectedReplyError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("esclient: the server answered %v with an unreadable %v: %v", e.Request, e.Reply, e.Err)
	}
	return fmt.Sprintf("esclient: the server answered %v with %v", e.Request, e.Reply)
}

func (e *UnexpectedReplyError) Unwrap() error { return e.Err }
