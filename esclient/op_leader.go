package esclient

import "context"

type leaderKey struct{}

// WithRequireLeader returns a context whose calls are answered by the leader of the cluster alone, or by any node,
// instead of as Config.AllowFollower says. Where the leader is required and the client is connected to another node, it
// connects to the leader; elsewhere reads may lag behind, and writes are forwarded. A subscription made with it keeps
// to it. Persistent subscriptions always need the leader.
func WithRequireLeader(ctx context.Context, require bool) context.Context {
	return context.WithValue(ctx, leaderKey{}, require)
}

// requireLeader returns what a context says, or else the configuration.
func (c *Client) requireLeader(ctx context.Context) bool {
	if require, ok := ctx.Value(leaderKey{}).(bool); ok {
		return require
	}
	return !c.cfg.AllowFollower
}
