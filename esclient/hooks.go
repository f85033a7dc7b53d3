package esclient

import "time"

// Hook is told what happens in a client. It implements any of the interfaces below; a Hook that implements none is
// refused by Config.Validate. Hooks are called one after the other, by a goroutine of the client and with no lock held;
// one that takes long delays what comes next, but never the reading of frames or the answering of heartbeats.
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

func usable(h Hook) bool {
	switch h.(type) {
	case ConnectedHook, DisconnectedHook, ReconnectingHook, AuthenticationFailedHook, ClosedHook:
		return true
	}
	return false
}

// each calls f with those hooks that implement H.
func each[H any](hooks []Hook, f func(H)) {
	for _, h := range hooks {
		if h, ok := h.(H); ok {
			f(h)
		}
	}
}
