package esclient

import "context"

// VolatileOptions say how SubscribeVolatile delivers.
type VolatileOptions struct {
	// ResolveLinks delivers the targets of link events instead of the links; see Event.Link.
	ResolveLinks bool
	// FillGaps reads back, in order and without duplicates, what was written while the connection was gone, or did
	// not fit the buffer. Without it such events are lost, and a full buffer ends the subscription with
	// ErrSlowConsumer. If the server comes back with an older or an empty log, it reads back what was created after the
	// last event that was known, by the server's clock.
	FillGaps bool
	// Filter, if not nil, has only the events of AllStream delivered that it picks.
	Filter *Filter
	// FilterInClient has the client apply the Filter if the server, one before 20.6, cannot; see
	// CatchUpOptions.FilterInClient.
	FilterInClient bool
	// BufferSize is how many pushed events are held for the consumer; 0 means Config.SubscriptionBufferSize.
	BufferSize int
	// BufferBytes is how many bytes of pushed events are held, about; 0 means Config.SubscriptionBufferBytes. A single
	// event may be larger.
	BufferBytes int
	// Hooks are told of this subscription alone, after those of Config.Hooks.
	Hooks []Hook
}

// SubscribeVolatile delivers the events that are written to a stream, which need not exist yet, or to AllStream, from
// now on. It is live when this method returns, on the leader where that is required, and what the server refuses is an
// error: ErrStreamDeleted, ErrAccessDenied, ErrNotSupported. ctx serves to make the subscription; its end does not end
// it.
//
// It goes on where the log goes back, too, because the server was given an older or an empty one, or a leader was lost
// with what no other node had: with what is new there. The log and LogWentBackHook are told.
func (c *Client) SubscribeVolatile(ctx context.Context, stream string, opts VolatileOptions) (*Subscription, error) {
	hooks, err := c.hooksWith("VolatileOptions.Hooks", opts.Hooks)
	if err != nil {
		return nil, err
	}
	s, err := c.newSubscription(ctx, stream, opts.ResolveLinks, opts.Filter, opts.BufferSize, opts.BufferBytes)
	if err != nil {
		return nil, err
	}
	s.report.hooks = hooks
	s.fillGaps, s.mayFilterHere, s.logPolicy = opts.FillGaps, opts.FilterInClient, goOn
	return s.openLive(ctx)
}

// openLive subscribes before anything is read: what was there before is not wanted.
func (s *Subscription) openLive(ctx context.Context) (*Subscription, error) {
	s.atEnd, s.skips = true, true
	if err := s.first(ctx, s.open, func() bool { return s.feed.Load() != nil }); err != nil {
		return nil, err
	}
	return s, nil
}
