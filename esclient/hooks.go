package esclient

import (
	"context"
	"time"
)

// Hook is told what happens in a client, for metrics, traces and logs. It implements any of the interfaces below; a Hook
// that implements none is refused by Config.Validate. What no Hook wants to know costs nothing.
//
// No lock is held when a hook is called. Hooks of the connection are called by a goroutine of the client, one after the
// other; one that takes long delays the next connection, but never the reading of frames or the answering of heartbeats.
// Hooks of operations are called by the goroutine that calls the client, and so by many at the same time.
type Hook any

// ConnectionInfo is what the hooks of the connection are told. Fields that do not apply are zero.
type ConnectionInfo struct {
	Endpoint string        // host:port
	Err      error         // why the connection ended, or could not be made
	Attempt  int           // which attempt in a row follows, from 1
	Delay    time.Duration // until that attempt
}

// ConnectedHook is told of a connection that is authenticated, identified and ready.
type ConnectedHook interface{ OnConnected(ConnectionInfo) }

// DisconnectedHook is told that a connection that was ready has ended, with Err.
type DisconnectedHook interface{ OnDisconnected(ConnectionInfo) }

// ReconnectingHook is told, after each connection or attempt that failed with Err, that Attempt follows after Delay.
type ReconnectingHook interface{ OnReconnecting(ConnectionInfo) }

// AuthenticationFailedHook is told that the server refused the client's credentials. The client tries again, but calls
// that wait for a connection fail at once.
type AuthenticationFailedHook interface{ OnAuthenticationFailed(ConnectionInfo) }

// ClosedHook is told, last of all, that the client is closed for good: by Close, or because MaxReconnects was reached.
type ClosedHook interface{ OnClosed(ConnectionInfo) }

// OperationInfo is what the hooks of operations are told. Fields that do not apply, or are not known yet, are zero.
//
// An operation is a request that the server answers once. A method that needs several, such as ReadStream, which reads
// page by page, makes as many operations.
type OperationInfo struct {
	Command  string        // as the protocol names the request, such as WriteEvents
	Stream   string        // that it is about
	Group    string        // of persistent subscriptions that it is about
	Endpoint string        // host:port of the node that was asked last
	Sent     int           // bytes of the requests, all attempts together, without what frames them
	Received int           // bytes of the reply, likewise
	Retries  int           // attempts that followed the first
	Delay    time.Duration // until the retry that follows; 0 for as soon as there is a connection
	Duration time.Duration // from the start, waiting for a connection included
	Err      error         // how it ended, or why it is tried again
}

// OperationStartedHook is told that an operation begins. The operation goes on with the context that it returns, which
// must be derived from the one it is given; the hooks that follow get that, too.
type OperationStartedHook interface {
	OnOperationStarted(context.Context, OperationInfo) context.Context
}

// RetryHook is told that an attempt failed with Err and that another follows after Delay. That includes the attempts to
// subscribe.
type RetryHook interface {
	OnRetry(context.Context, OperationInfo)
}

// OperationEndedHook is told that an operation ended.
type OperationEndedHook interface {
	OnOperationEnded(context.Context, OperationInfo)
}

// hookSet holds the hooks of a client by what they want to know.
type hookSet struct {
	connected    []ConnectedHook
	disconnected []DisconnectedHook
	reconnecting []ReconnectingHook
	authFailed   []AuthenticationFailedHook
	closed       []ClosedHook

	operationStarted []OperationStartedHook
	retry            []RetryHook
	operationEnded   []OperationEndedHook
}

// sortHooks sorts hooks by what they want to know. It returns the index of the first that wants nothing, or -1.
func sortHooks(hooks []Hook) (s hookSet, useless int) {
	useless = -1
	for i, h := range hooks {
		found := [...]bool{
			collect(h, &s.connected), collect(h, &s.disconnected), collect(h, &s.reconnecting),
			collect(h, &s.authFailed), collect(h, &s.closed),
			collect(h, &s.operationStarted), collect(h, &s.retry), collect(h, &s.operationEnded),
		}
		if useless < 0 && found == [len(found)]bool{} {
			useless = i
		}
	}
	return s, useless
}

// collect adds a hook to those of one interface, if it implements that.
func collect[H any](hook Hook, to *[]H) bool {
	h, ok := hook.(H)
	if ok {
		*to = append(*to, h)
	}
	return ok
}
