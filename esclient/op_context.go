package esclient

import (
	"context"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

type credentialsKey struct{}

// WithCredentials returns a context whose calls act for the given user instead of the user of the connection. A
// subscription that is made with it keeps the credentials.
func WithCredentials(ctx context.Context, c Credentials) context.Context {
	return context.WithValue(ctx, credentialsKey{}, &c)
}

// CredentialsFromContext returns the credentials that WithCredentials has put into a context; false if there are none.
func CredentialsFromContext(ctx context.Context) (c Credentials, ok bool) {
	if c, _ := ctx.Value(credentialsKey{}).(*Credentials); c != nil {
		return *c, true
	}
	return Credentials{}, false
}

// credentialsFrom validates the credentials of a context and returns them for a request; nil if it has none.
func credentialsFrom(ctx context.Context) (*esproto.Credentials, error) {
	c, _ := ctx.Value(credentialsKey{}).(*Credentials)
	if c == nil {
		return nil, nil
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return (*esproto.Credentials)(c), nil
}

type leaderKey struct{}

// WithRequireLeader returns a context that decides, instead of Config.AllowFollower, whether only the leader of the
// cluster answers its calls. If the leader is required and the client is connected to another node, the client connects
// to the leader. On another node reads may lag behind, and the node forwards writes. A subscription that is made with
// the context keeps to it. Persistent subscriptions always need the leader.
func WithRequireLeader(ctx context.Context, require bool) context.Context {
	return context.WithValue(ctx, leaderKey{}, require)
}

// requireLeader returns whether a call needs the leader, by its context or else by the configuration.
func (c *Client) requireLeader(ctx context.Context) bool {
	if require, ok := ctx.Value(leaderKey{}).(bool); ok {
		return require
	}
	return !c.cfg.AllowFollower
}

type unsentKey struct{}

// WhileUnsent returns a context whose calls also end with unsent, as long as the server cannot have changed anything
// for them: while they wait for a connection, or before they ask a server again that was not ready. A call that was
// sent waits for its reply until ctx ends. Use it to shut down and still learn the outcome of the calls that are under
// way. A call that can be sent at once is sent, even if unsent has ended.
func WhileUnsent(ctx, unsent context.Context) context.Context {
	return context.WithValue(ctx, unsentKey{}, unsent)
}

// whileUnsent returns a context that ends with ctx and with the second context of WhileUnsent. The caller must call
// stop.
func whileUnsent(ctx context.Context) (both context.Context, stop func()) {
	unsent, _ := ctx.Value(unsentKey{}).(context.Context)
	if unsent == nil {
		return ctx, func() {}
	}
	both, cancel := context.WithCancelCause(ctx)
	release := context.AfterFunc(unsent, func() { cancel(context.Cause(unsent)) })
	return both, func() {
		release()
		cancel(nil)
	}
}
