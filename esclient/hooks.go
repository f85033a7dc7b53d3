package esclient

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Hook is told what happens in a client, for metrics, traces and logs. It implements any of the interfaces below; a
// Hook that implements none is refused by Config.Validate. What no Hook wants to know costs nothing.
//
// No lock is held when a hook is called, and it may use the client in every way, Close included. Hooks of the
// connection are called by a goroutine of the client, one after the other and in the order of what happened. Neither
// connecting nor anything else waits for them: one that takes long hears late of what follows, and if hundreds of
// notices wait for it, not of the oldest attempts and connections. Hooks of operations and subscriptions are called by
// the goroutine that uses the client, and so by many at the same time; only what happens to a persistent subscription
// unasked is told by a goroutine of the client.
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
// that wait for a connection fail at once. Where it was connected before, a refusal that lasts for less than a second
// is not told of: a server that begins with an empty database knows no users at first.
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

// SubscriptionInfo is what the hooks of subscriptions are told. Fields that do not apply are zero.
type SubscriptionInfo struct {
	Stream   string // that was subscribed to
	Group    string // of a persistent subscription
	Endpoint string // host:port of the node that it is on, or was on last
	// Event is the one that was delivered, acked, nacked or parked, or a link that leads to none. It belongs to the
	// consumer.
	Event *Event
	// Lag is how many events of the stream are known to lie behind a delivered one. Servers do not tell of every event
	// before it is delivered, so there may be more. It is -1 in AllStream, where events have no numbers.
	Lag    int64
	Action NackAction // of a nacked event
	Err    error      // why the subscription was dropped, fell behind or ended, or an event was left out
}

// SubscribedHook is told that the server has confirmed a subscription: at first, and each time after it was dropped.
type SubscribedHook interface{ OnSubscribed(SubscriptionInfo) }

// DeliveredHook is told of an event that Next is about to return.
type DeliveredHook interface{ OnDelivered(SubscriptionInfo) }

// AckedHook is told of an event that was acked by the consumer.
type AckedHook interface{ OnAcked(SubscriptionInfo) }

// NackedHook is told of an event that was nacked by the consumer, with what is to be done with it.
type NackedHook interface{ OnNacked(SubscriptionInfo) }

// ParkedHook is told, after NackedHook, of an event that was nacked with NackPark. Events that the server parks on its
// own, after MaxRetryCount, it keeps to itself; esadmin.Client.Group tells their number.
type ParkedHook interface{ OnParked(SubscriptionInfo) }

// DroppedHook is told that a subscription that the server had confirmed has ended there, with Err: a
// *SubscriptionDroppedError, a *ConnectionError, a *FrameTooLargeError or ErrSlowConsumer, or ErrMessageTimeout where
// the client has ended it to give events back. Where that is not the end of it, it will subscribe anew.
type DroppedHook interface{ OnDropped(SubscriptionInfo) }

// UnresolvedHook is told, before DeliveredHook, of a link that leads to no event; see Event.Unresolved.
type UnresolvedHook interface{ OnUnresolved(SubscriptionInfo) }

// LeftOutHook is told of an event that was pushed to a persistent subscription and does not reach the consumer, as Err
// says. ErrMessageTimeout means that Event has waited for the consumer for too long, and ErrSlowConsumer that there was
// no room for it: it was given back to the server, which delivers it again. A *FrameTooLargeError means that an event,
// which is not known, is larger than Config.MaxFrameSize: the server delivers it again after its message timeout, and
// parks it after MaxRetryCount.
type LeftOutHook interface{ OnLeftOut(SubscriptionInfo) }

// SlowConsumerHook is told, once of each persistent subscription, that the consumer takes longer than the group's
// message timeout allows for what is in flight: Err is a *SlowConsumerError.
type SlowConsumerHook interface{ OnSlowConsumer(SubscriptionInfo) }

// CaughtUpHook is told that a Subscription has delivered all that was there; see Subscription.CaughtUp.
type CaughtUpHook interface{ OnCaughtUp(SubscriptionInfo) }

// FellBehindHook is told that a Subscription which had caught up does not receive events as they come any more, for
// Err; see Subscription.FellBehind.
type FellBehindHook interface{ OnFellBehind(SubscriptionInfo) }

// LogWentBackHook is told that the server has come back with an older or an empty log, and that a Subscription goes on
// with what is new, or starts over: Err is a *LogWentBackError. One that ends with it is told by SubscriptionEndedHook.
type LogWentBackHook interface{ OnLogWentBack(SubscriptionInfo) }

// StartBehindEndHook is told that a catch-up subscription begins behind the end of its stream, as Err says: nothing
// comes until the stream gets there. Where a checkpoint is kept, it may be one of another server.
type StartBehindEndHook interface{ OnStartBehindEnd(SubscriptionInfo) }

// SubscriptionEndedHook is told, last of all, that a subscription has ended, with what its method Err returns.
type SubscriptionEndedHook interface{ OnSubscriptionEnded(SubscriptionInfo) }

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

	subscribed []SubscribedHook
	delivered  []DeliveredHook
	acked      []AckedHook
	nacked     []NackedHook
	parked     []ParkedHook
	dropped    []DroppedHook
	unresolved []UnresolvedHook
	leftOut    []LeftOutHook
	slow       []SlowConsumerHook
	caughtUp   []CaughtUpHook
	fellBehind []FellBehindHook
	wentBack   []LogWentBackHook
	behindEnd  []StartBehindEndHook
	ended      []SubscriptionEndedHook
}

// sortHooks sorts hooks by what they want to know. It returns the index of the first that wants nothing, or -1.
func sortHooks(hooks []Hook) (s hookSet, useless int) {
	useless = -1
	for i, h := range hooks {
		found := [...]bool{
			collect(h, &s.connected), collect(h, &s.disconnected), collect(h, &s.reconnecting),
			collect(h, &s.authFailed), collect(h, &s.closed),
			collect(h, &s.operationStarted), collect(h, &s.retry), collect(h, &s.operationEnded),
			collect(h, &s.subscribed), collect(h, &s.delivered), collect(h, &s.acked), collect(h, &s.nacked),
			collect(h, &s.parked), collect(h, &s.dropped), collect(h, &s.unresolved), collect(h, &s.leftOut),
			collect(h, &s.slow), collect(h, &s.caughtUp),
			collect(h, &s.fellBehind), collect(h, &s.wentBack), collect(h, &s.behindEnd), collect(h, &s.ended),
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

// hooksWith returns the client's hooks and, behind them, those that are told of one subscription alone.
func (c *Client) hooksWith(argument string, own []Hook) (*hookSet, error) {
	if len(own) == 0 {
		return &c.hooks, nil
	}
	if _, useless := sortHooks(own); useless >= 0 {
		return nil, &ArgumentError{
			Argument: argument, Reason: fmt.Sprintf("%T implements none of the interfaces of hooks", own[useless]),
		}
	}
	hooks, _ := sortHooks(slices.Concat(c.cfg.Hooks, own))
	return &hooks, nil
}
