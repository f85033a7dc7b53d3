package esclient

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Hook is called for events in a client, for metrics, traces and logs. It implements any of the interfaces below.
// Config.Validate refuses a Hook that implements none. An interface that no Hook implements costs nothing.
//
// No lock is held during a call, and a hook may use the client in every way, Close included. One goroutine of the
// client calls the hooks of the connection, in order. Neither the connection nor a call waits for them. If a hook takes
// long, its next calls come late, and if hundreds of them wait, the oldest are left out. The goroutine that uses the
// client calls the hooks of operations and subscriptions, so that many may run at the same time. A goroutine of the
// client calls the hooks for changes that the consumer of a persistent subscription does not cause.
type Hook any

// ConnectionInfo is the argument of the hooks of the connection. Fields that do not apply are zero.
type ConnectionInfo struct {
	Endpoint string        // host:port
	Err      error         // why the connection ended, or could not be made
	Attempt  int           // which attempt in a row follows, from 1
	Delay    time.Duration // until that attempt
}

// ConnectedHook is called when a connection is authenticated, identified and ready.
type ConnectedHook interface{ OnConnected(ConnectionInfo) }

// DisconnectedHook is called when a connection that was ready has ended, with the reason in Err.
type DisconnectedHook interface{ OnDisconnected(ConnectionInfo) }

// ReconnectingHook is called after each connection, or attempt to connect, that failed with Err. Attempt follows after
// Delay.
type ReconnectingHook interface{ OnReconnecting(ConnectionInfo) }

// AuthenticationFailedHook is called when the server has refused the client's credentials. The client tries again, but
// calls that wait for a connection fail at once. If the client was connected before, the hook is not called for the
// first second of a refusal: a server that begins with an empty database has no users at first.
type AuthenticationFailedHook interface{ OnAuthenticationFailed(ConnectionInfo) }

// ClosedHook is the last of the hooks of the connection. It is called when the client is closed for ever: by Close, or
// after Config.MaxReconnects failed attempts.
type ClosedHook interface{ OnClosed(ConnectionInfo) }

// OperationInfo is the argument of the hooks of operations. Fields that do not apply, or are not known yet, are zero.
//
// An operation is a request that the server answers once. A method that needs several, such as ReadStream, which reads
// page by page, makes as many operations.
type OperationInfo struct {
	Command  string        // as the protocol names the request, such as WriteEvents
	Stream   string        // that it is about
	Group    string        // of persistent subscriptions that it is about
	Endpoint string        // host:port of the node that was asked last
	Sent     int           // bytes of the payloads of the requests, all attempts together
	Received int           // bytes of the reply, likewise
	Retries  int           // attempts that followed the first
	Delay    time.Duration // until the retry that follows; 0 for as soon as there is a connection
	Duration time.Duration // from the start, waiting for a connection included
	Err      error         // how it ended, or why it is tried again
}

// OperationStartedHook is called when an operation begins. The operation goes on with the context that the hook
// returns, which must be derived from its argument. The hooks after it get that context.
type OperationStartedHook interface {
	OnOperationStarted(context.Context, OperationInfo) context.Context
}

// RetryHook is called when an attempt has failed with Err and another one follows after Delay. Attempts to subscribe
// are included.
type RetryHook interface {
	OnRetry(context.Context, OperationInfo)
}

// OperationEndedHook is called when an operation has ended.
type OperationEndedHook interface {
	OnOperationEnded(context.Context, OperationInfo)
}

// SubscriptionInfo is the argument of the hooks of subscriptions. Fields that do not apply are zero.
type SubscriptionInfo struct {
	// Subscription is the one that the hook is called for. A hook may tell subscriptions apart by it, and may keep it
	// until it is closed, to ask for its Backlog at any time.
	Subscription AnySubscription

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

// SubscribedHook is called when the server has confirmed a subscription: at first, and each time that it resumes.
type SubscribedHook interface{ OnSubscribed(SubscriptionInfo) }

// DeliveredHook is called with each event that Next returns, before it does.
type DeliveredHook interface{ OnDelivered(SubscriptionInfo) }

// AckedHook is called with each event that the consumer has acked.
type AckedHook interface{ OnAcked(SubscriptionInfo) }

// NackedHook is called with each event that the consumer has nacked, and the action.
type NackedHook interface{ OnNacked(SubscriptionInfo) }

// ParkedHook is called, after NackedHook, with each event that the consumer has nacked with [NackPark]. Servers do not
// tell which events they park by themselves, after MaxRetryCount; esadmin.Client.Group returns their number.
type ParkedHook interface{ OnParked(SubscriptionInfo) }

// DroppedHook is called when a subscription that the server had confirmed has ended there, with Err: a
// [*SubscriptionDroppedError], a [*ConnectionError], a [*FrameTooLargeError] or [ErrSlowConsumer], or
// [ErrMessageTimeout] if the client has ended it to give events back. The subscription then resumes if it can.
type DroppedHook interface{ OnDropped(SubscriptionInfo) }

// UnresolvedHook is called, before DeliveredHook, with each link that leads to no event; see Event.Unresolved.
type UnresolvedHook interface{ OnUnresolved(SubscriptionInfo) }

// LeftOutHook is called with each event that the server has pushed to a persistent subscription and that the consumer
// does not get. Err is [ErrMessageTimeout] if Event has waited for the consumer for too long, and [ErrSlowConsumer] if
// there was no room for it. Such an event was given back to the server, which delivers it again. Err is a
// [*FrameTooLargeError] if an event, which is not known, is larger than Config.MaxFrameSize. The server delivers it
// again after its message timeout, and parks it after MaxRetryCount.
type LeftOutHook interface{ OnLeftOut(SubscriptionInfo) }

// SlowConsumerHook is called once for each persistent subscription whose consumer is too slow: the group's message
// timeout is too short for the events in flight. Err is a [*SlowConsumerError].
type SlowConsumerHook interface{ OnSlowConsumer(SubscriptionInfo) }

// CaughtUpHook is called when a Subscription has caught up; see [Subscription.CaughtUp].
type CaughtUpHook interface{ OnCaughtUp(SubscriptionInfo) }

// FellBehindHook is called when a Subscription that had caught up has fallen behind, because of Err; see
// [Subscription.FellBehind].
type FellBehindHook interface{ OnFellBehind(SubscriptionInfo) }

// LogWentBackHook is called when the server has come back with another log, and a Subscription goes on
// with new events or begins anew. Err is a [*LogWentBackError]. If the subscription ends with that error,
// SubscriptionEndedHook is called instead.
type LogWentBackHook interface{ OnLogWentBack(SubscriptionInfo) }

// StartBehindEndHook is called when a catch-up subscription begins behind the end of its stream, with the positions in
// Err. The subscription waits until the stream gets there. If the start is a saved checkpoint, it may be one of another
// server.
type StartBehindEndHook interface{ OnStartBehindEnd(SubscriptionInfo) }

// SubscriptionEndedHook is the last of the hooks of a subscription. It is called when a subscription has ended that the
// server has served: it has confirmed the subscription, or a catch-up subscription has read. Err is the result of its
// method Err.
type SubscriptionEndedHook interface{ OnSubscriptionEnded(SubscriptionInfo) }

// hookSet holds the hooks of a client by interface.
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

// sortHooks sorts hooks by interface. It returns the index of the first hook that implements none, or -1.
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

// AddConnectionHook adds a hook to an existing Client, for packages that borrow the Client. The hook must implement one
// of [ConnectedHook], [DisconnectedHook], [ReconnectingHook], [AuthenticationFailedHook] and [ClosedHook]; only these
// are called, after the hooks of the configuration. A hook that was added twice is called twice. AddConnectionHook
// returns an [*ArgumentError] for another hook. It may be called by hooks.
//
// remove ends this. It does not wait, because a hook may call it: one call may still be running when it returns. It may
// be called more than once, also after Close.
func (c *Client) AddConnectionHook(hook Hook) (remove func(), err error) {
	hooks, _ := sortHooks([]Hook{hook})
	calls := callsOf(&hooks)
	if !slices.ContainsFunc(calls.byKind[:], func(of []func(ConnectionInfo)) bool { return len(of) > 0 }) {
		return nil, &ArgumentError{
			Argument: "hook", Reason: fmt.Sprintf("%T implements none of the hooks of the connection", hook),
		}
	}
	c.told.add(calls)
	return func() { c.told.remove(calls) }, nil
}

// hooksWith returns the client's hooks, and after them the hooks of one subscription.
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
