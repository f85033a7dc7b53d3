package engine

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Errors that end calls. Package esclient makes errors of its own of them, and of the types below.
var (
	ErrClosed           = errors.New("esclient: the client is closed")
	ErrOperationTimeout = errors.New("esclient: no reply within the operation timeout")
	ErrHeartbeatTimeout = errors.New("esclient: the server did not answer a heartbeat")
	ErrNotEventStore    = errors.New("esclient: the peer does not speak the EventStore TCP protocol")
	ErrNotAuthenticated = errors.New("esclient: the server did not accept the credentials")
	errRedirected       = errors.New("left for another node") // the reason in Conn.Drain
)

// ConnectionError reports that a connection could not be made or was lost.
type ConnectionError struct {
	Endpoint string // host:port; empty if no endpoint was found
	Err      error
}

func (e *ConnectionError) Error() string {
	if e.Endpoint == "" {
		return fmt.Sprintf("esclient: connecting: %v", e.Err)
	}
	return fmt.Sprintf("esclient: connection to %s: %v", e.Endpoint, e.Err)
}

func (e *ConnectionError) Unwrap() error { return e.Err }

// BadRequestError is the reply of a server that could not parse a frame.
type BadRequestError struct{ Text string }

func (e *BadRequestError) Error() string { return "esclient: bad request: " + e.Text }

// NotAuthenticatedError is the reply of a server that refuses the credentials of the connection or of one request. It
// matches [ErrNotAuthenticated].
type NotAuthenticatedError struct{ Text string }

func (e *NotAuthenticatedError) Error() string {
	return ErrNotAuthenticated.Error() + ": " + e.Text
}

// Is makes the error match [ErrNotAuthenticated].
func (e *NotAuthenticatedError) Is(target error) bool { return target == ErrNotAuthenticated }

// Transient reports whether the server only refuses because it is starting, as servers up to 5.0 do. The credentials
// may then be right.
func (e *NotAuthenticatedError) Transient() bool {
	for _, text := range [...]string{"not yet ready", "not ready", "Internal Server Error"} {
		if strings.Contains(e.Text, text) {
			return true
		}
	}
	return false
}

// UnexpectedReplyError reports a reply that does not fit the request. The connection stays usable.
type UnexpectedReplyError struct {
	Request esproto.Command
	Reply   esproto.Command
	Err     error // why the payload is unreadable; nil if the command itself was unexpected
}

func (e *UnexpectedReplyError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("esclient: the server answered %v with an unreadable %v: %v", e.Request, e.Reply, e.Err)
	}
	return fmt.Sprintf("esclient: the server answered %v with %v", e.Request, e.Reply)
}

func (e *UnexpectedReplyError) Unwrap() error { return e.Err }

// NotHandledError is the reply of a server that did not process the request.
type NotHandledError struct {
	Reason esproto.NotHandled_NotHandledReason
	// Leader has the endpoints of the leader, if Reason is NotLeader or IsReadOnly. It may be nil, and so may any of
	// its fields.
	Leader *esproto.NotHandled_LeaderInfo
}

func (e *NotHandledError) Error() string {
	s := fmt.Sprintf("esclient: the server did not handle the request: %v", e.Reason)
	plain, ok := e.LeaderEndpoint(false)
	if secure, too := e.LeaderEndpoint(true); too && secure != plain {
		plain, ok = strings.TrimPrefix(plain+" and with TLS "+secure, " and "), true
	}
	if ok {
		s += ": the leader is at " + plain
	}
	return s
}

// Transient reports whether the server will soon process the request: it is starting, takes part in an election, or is
// too busy.
func (e *NotHandledError) Transient() bool {
	return e.Reason == esproto.NotHandled_NotReady || e.Reason == esproto.NotHandled_TooBusy
}

// LeaderEndpoint returns the leader's TCP endpoint, host:port, with or without TLS. ok is false if the server named
// none.
func (e *NotHandledError) LeaderEndpoint(tls bool) (endpoint string, ok bool) {
	if e.Leader == nil {
		return "", false
	}
	host, port := e.Leader.GetExternalTcpAddress(), e.Leader.GetExternalTcpPort()
	if tls {
		host, port = e.Leader.GetExternalSecureTcpAddress(), e.Leader.GetExternalSecureTcpPort()
	}
	if host == "" || port <= 0 || port > 1<<16-1 {
		return "", false
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port))), true
}

// CommonReply returns the error that a reply stands for, if any request may get that reply: BadRequest,
// NotAuthenticated, NotHandled. It returns nil for other commands.
func CommonReply(cmd esproto.Command, payload []byte) error {
	switch cmd {
	case esproto.CmdBadRequest:
		return &BadRequestError{Text: string(payload)}
	case esproto.CmdNotAuthenticated:
		return &NotAuthenticatedError{Text: string(payload)}
	case esproto.CmdNotHandled:
		return notHandled(payload)
	}
	return nil
}

// notHandled decodes the payload of NotHandled.
func notHandled(payload []byte) error {
	var m esproto.NotHandled
	if err := proto.Unmarshal(payload, &m); err != nil {
		return fmt.Errorf("%w: NotHandled: %w", esproto.ErrMalformed, err)
	}
	e := &NotHandledError{Reason: m.GetReason()}
	if e.Reason == esproto.NotHandled_NotLeader || e.Reason == esproto.NotHandled_IsReadOnly {
		var info esproto.NotHandled_LeaderInfo
		if proto.Unmarshal(m.GetAdditionalInfo(), &info) == nil {
			e.Leader = &info
		}
	}
	return e
}
