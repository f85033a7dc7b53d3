package esclient

import "context"

// VolatileOptions are the options of [Client.SubscribeVolatile].
type VolatileOptions struct {
	// ResolveLinks delivers the targets of link events instead of the links; see Event.Link.
	ResolveLinks bool
	// FillGaps makes the client read, in order and without duplicates, the events that were written while the
	// connection was lost, or that the buffer could not hold. Otherwise the subscription misses these events, and ends
	// with [ErrSlowConsumer] when the buffer is full. If the log goes back, the client reads the events that were
	// created, by the server's clock, after the last event that it knew.
	FillGaps bool
	// Filter, if not nil, picks the events of [AllStream] to deliver.
	Filter *Filter
	// FilterInClient makes the client apply the Filter if the server cannot; see CatchUpOptions.FilterInClient.
	FilterInClient bool
	// BufferSize is how many pushed events wait for the consumer at most. 0 means Config.SubscriptionBufferSize.
	BufferSize int
	// BufferBytes is about how many bytes of pushed events wait at most. 0 means Config.SubscriptionBufferBytes. A
	// single event may be larger.
	BufferBytes int
	// Hooks are called for this subscription alone, after those of Config.Hooks.
	Hooks []Hook
}

// SubscribeVolatile delivers the events that are written from now on to a stream, which need not exist yet, or to
// [AllStream]. The server has confirmed the subscription when this method returns. If the call needs the leader, the
// leader has. The error is that of ctx or the server's refusal: [ErrStreamDeleted], [ErrAccessDenied],
// [ErrNotSupported]. The end of ctx ends this method and not the subscription.
//
// The subscription goes on, with new events only, if the log goes back: the server comes back with an older or an empty
// log, or a cluster loses a leader with events that no other node has. The client logs this and calls
// [LogWentBackHook].
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

// openLive subscribes before it reads: it does not deliver events before the confirmation.
func (s *Subscription) openLive(ctx context.Context) (*Subscription, error) {
	s.atEnd, s.skips = true, true
	if err := s.first(ctx, s.open, func() bool { return s.feed.Load() != nil }); err != nil {
		return nil, err
	}
	return s, nil
}
