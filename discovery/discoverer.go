package discovery

import "context"

// Discoverer finds the node to connect to. [Static], [DNS] and [Gossip] implement it. Its methods must be safe for
// concurrent use. Several clients may share a Discoverer.
type Discoverer interface {
	// Next makes one attempt to find the node to dial now. It ends with ctx, or after the implementation's own
	// timeouts. It leaves nothing running when it returns.
	//
	// The errors of this package's implementations are of type [*Error] and match [ErrNoNode]. If ctx ended the
	// attempt, they also wrap the cause. No error is final: the caller waits, at least for Error.RetryAfter, and calls
	// Next again.
	Next(ctx context.Context) (Target, error)

	// Report takes the result of dialing endpoint, which came from Next or from another node's redirect. err is nil if
	// the connection is ready for use. Otherwise it is the failure of the dial, of the TLS handshake, or of the
	// server's handshake. Callers do not report the end of a connection that was ready.
	//
	// Report ignores an error that wraps context.Canceled, because it is about the caller. An error with a method
	// Transient() bool that returns true is about a node that answers but cannot serve yet: [Gossip] holds the node
	// off, but not longer each time.
	Report(endpoint Endpoint, err error)
}

// Target is a node to dial.
type Target struct {
	// Endpoint is the node's TCP endpoint.
	Endpoint Endpoint
	// ServerName is the name for which to verify the node's certificate. It is set if Endpoint has an address to which
	// that name resolved. If it is empty, the name is Endpoint's host.
	ServerName string
	// State is the node's state in gossip; empty without gossip.
	State State
	// InstanceID is the Guid of the node's process in gossip; empty without gossip.
	InstanceID string
}

// Leader reports whether the node is known as the leader of its cluster. A single node is its own leader.
func (t Target) Leader() bool { return t.State == StateLeader }
