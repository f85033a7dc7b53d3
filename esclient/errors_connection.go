package esclient

import (
	"fmt"
	"strings"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// ConnectionError is the error of a connection that could not be made, or was lost.
type ConnectionError struct {
	// Endpoint is the host:port of the node. It is empty if no node was found.
	Endpoint string
	// Err is the cause, such as [ErrHeartbeatTimeout], [ErrNotEventStore], [ErrNotAuthenticated], an error of the
	// network or of TLS, or one of package discovery.
	Err error
}

// Error names the node and the cause.
func (e *ConnectionError) Error() string {
	if e.Endpoint == "" {
		return fmt.Sprintf("esclient: connecting: %v", e.Err)
	}
	return fmt.Sprintf("esclient: connection to %s: %v", e.Endpoint, e.Err)
}

// Unwrap returns Err.
func (e *ConnectionError) Unwrap() error { return e.Err }

// NotConnectedError is the error of a call whose context ended while the client had no connection. It wraps both
// causes, so a deadline that has passed says why.
type NotConnectedError struct {
	// Err is the cause of the context's end; see [context.Cause].
	Err error
	// Last is the error of the latest attempt or connection, such as a [*ConnectionError]. It is nil if the first
	// attempt has not ended yet.
	Last error
}

// Error names the end of the context, and the error of the latest attempt.
func (e *NotConnectedError) Error() string {
	if e.Last == nil {
		return fmt.Sprintf("esclient: not connected: %v", e.Err)
	}
	return fmt.Sprintf("esclient: not connected: %v (last error: %v)", e.Err, e.Last)
}

// Unwrap returns Err and, unless it is nil, Last.
func (e *NotConnectedError) Unwrap() []error {
	if e.Last == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Last}
}

// NotAuthenticatedError is the server's reply to credentials that it does not accept: those of [Config], or those of
// one call. It is [ErrNotAuthenticated].
type NotAuthenticatedError struct {
	Text string // what the server says
}

// Error has the server's text.
func (e *NotAuthenticatedError) Error() string { return ErrNotAuthenticated.Error() + ": " + e.Text }

// Is makes the error match [ErrNotAuthenticated].
func (e *NotAuthenticatedError) Is(target error) bool { return target == ErrNotAuthenticated }

// Transient reports whether the server refuses only because it is starting, as servers up to 5.0 do. The credentials
// may then be right.
func (e *NotAuthenticatedError) Transient() bool {
	return refusedWhileStarting(e.Text)
}

// BadRequestError is the server's reply to a request that it cannot make sense of.
type BadRequestError struct {
	Text string // what the server says
}

// Error has the server's text.
func (e *BadRequestError) Error() string { return "esclient: bad request: " + e.Text }

// NotHandledError is the server's reply to a request that it did not process. A call ends with it if its context ends
// while it waits for the server to get ready, together with the context's error, or if more than [Config.MaxRetries]
// nodes were not the leader. [SafeToRetry] is true for it.
type NotHandledError struct {
	Reason NotHandledReason
	// Leader and LeaderTLS are the endpoints of the leader, host:port, without and with TLS. They are empty if the
	// server does not name them.
	Leader    string
	LeaderTLS string
}

// Error names the reason, and the leader if the server names one.
func (e *NotHandledError) Error() string {
	s := fmt.Sprintf("esclient: the server did not handle the request: %v", e.Reason)
	leader := e.Leader
	if e.LeaderTLS != "" && e.LeaderTLS != e.Leader {
		leader = strings.TrimPrefix(leader+" and with TLS "+e.LeaderTLS, " and ")
	}
	if leader != "" {
		s += ": the leader is at " + leader
	}
	return s
}

// Transient reports whether the server will soon process the request: it is starting, takes part in an election, or is
// too busy.
func (e *NotHandledError) Transient() bool {
	return e.Reason == ReasonNotReady || e.Reason == ReasonTooBusy
}

// NotHandledReason is the reason for which a server did not process a request. A newer server may have reasons without
// a name here; the client asks again.
type NotHandledReason int

// The reasons.
const (
	// ReasonNotReady means that the node is starting, or takes part in an election. The client asks again.
	ReasonNotReady NotHandledReason = 0
	// ReasonTooBusy means that the queues of the node are full. The client asks again.
	ReasonTooBusy NotHandledReason = 1
	// ReasonNotLeader means that another node leads the cluster. The client connects to that one.
	ReasonNotLeader NotHandledReason = 2
	// ReasonReadOnly means that the node is a read-only replica. Calls end with [ErrNotSupported].
	ReasonReadOnly NotHandledReason = 3
)

// String returns the name, such as NotReady.
func (r NotHandledReason) String() string {
	return named(int(r), "NotHandledReason", "NotReady", "TooBusy", "NotLeader", "ReadOnly")
}

// UnexpectedReplyError is the error of a request whose reply does not belong to it, or cannot be decoded. The
// connection stays usable.
type UnexpectedReplyError struct {
	Request string // the request's name in the protocol, such as ReadEvent
	Reply   string // the reply's name in the protocol, such as ReadEventCompleted
	Err     error  // the error of the decoder; nil if the reply does not belong to the request
}

// Error names the request, the reply, and the fault of a reply that cannot be decoded.
func (e *UnexpectedReplyError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("esclient: the server answered %v with an unreadable %v: %v", e.Request, e.Reply, e.Err)
	}
	return fmt.Sprintf("esclient: the server answered %v with %v", e.Request, e.Reply)
}

// Unwrap returns Err.
func (e *UnexpectedReplyError) Unwrap() error { return e.Err }

// unexpected returns the error of a request whose reply does not belong to it. If err is not nil, the reply belongs to
// it but cannot be decoded.
func unexpected(r engine.Request, reply esproto.Command, err error) error {
	return &UnexpectedReplyError{Request: r.Command().String(), Reply: reply.String(), Err: err}
}

// FrameTooLargeError tells that a reply, or a pushed event, was larger than [Config.MaxFrameSize] and was skipped. The
// connection stays usable. [SafeToRetry] is false for it: raise the limit, or ask for less at a time.
type FrameTooLargeError struct {
	Reply  string // the reply's name in the protocol, such as ReadStreamEventsForwardCompleted
	Length int    // of the frame, in bytes
	Max    int    // Config.MaxFrameSize
}

// Error names the reply, its length and the limit.
func (e *FrameTooLargeError) Error() string {
	return fmt.Sprintf("esclient: %s of %d bytes is larger than Config.MaxFrameSize, %d: "+
		"raise it, or ask for less at a time", e.Reply, e.Length, e.Max)
}

// Is makes the error match esproto.ErrFrame, the condition of package esproto.
func (e *FrameTooLargeError) Is(target error) bool { return target == esproto.ErrFrame }

// named is the name of a value that counts the names from 0, or the type with the number.
func named(value int, typ string, names ...string) string {
	if value >= 0 && value < len(names) {
		return names[value]
	}
	return fmt.Sprintf("%s(%d)", typ, value)
}
