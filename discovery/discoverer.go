package discovery

import "context"

// Discoverer finds the node to connect to. Static, DNS and Gossip implement it. Its methods may be called by several
// goroutines at once, and one Discoverer may serve several clients.
type Discoverer interface {
	// Next makes one attempt to find the node to dial now. It ends when ctx does, and otherwise after at most the
	// implementation's own timeouts. It starts nothing that goes on after it has returned.
	//
	// The errors of this package's implementations are of type *Error, for which errors.Is(err, ErrNoNode) holds;
	// where ctx ended the attempt they also wrap its cause. None of them is final: the caller waits a little, but at
	// least Error.RetryAfter, and calls Next again.
	Next(ctx context.Context) (Target, error)

	// Report says what became of dialing endpoint, whether Next named it or another node did: err is nil if the
	// connection was made and is ready for use, and otherwise the reason why that failed, be it the dial, the TLS
	// handshake, or the server's silence after it. The end of a connection that had been ready is not reported. An
	// error that wraps context.Canceled is ignored, since it tells about the caller and not about the node. One with a
	// method Transient() bool that returns true is about a node that answers and cannot serve yet: Gossip holds it off,
	// but not for longer each time.
	Report(endpoint Endpoint, err error)
}

// Target is a node to dial.
type Target struct {
	// Endpoint is the address of the node's TCP API.
	Endpoint Endpoint
	// ServerName, where not empty, is the name that the node's certificate is to be verified for, because Endpoint
	// holds an address that the name led to. Otherwise it is Endpoint's host.
	ServerName string
	// State is what gossip says of the node; it is empty if nobody was asked.
	State State
	// InstanceID is the Guid of the node's process, from gossip; empty if nobody was asked.
	InstanceID string
}

// Leader says whether the node is known to be the leader of its cluster. A single node is its own leader.
func (t Target) Leader() bool { return t.State == StateLeader }
