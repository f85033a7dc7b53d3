package esclient

import "context"

// VolatileOptions say how SubscribeVolatile delivers.
type VolatileOptions struct {
	// ResolveLinks delivers the targets of link events instead of the links; see Event.Link.
	ResolveLinks bool
	// FillGaps reads back, in order and without duplicates, what was written while the connection was gone, or did
	// not fit the buffer. Without it such events are lost, and a full buffer ends the subscription with
	// ErrSlowConsumer.
	FillGaps bool
	// Filter, if not nil, has only the events of AllStream delivered that it picks.
	Filter *Filter
	// BufferSize is how many pushed events are held for the consumer; 0 means Config.SubscriptionBufferSize.
	BufferSize int
}

// SubscribeVolatile delivers the events that are written to a stream, which need not exist yet, or to AllStream, from
// now on. It is live when this method returns. ctx serves to make the subscription; its end does not end it.
func (c *Client) SubscribeVolatile(ctx context.Context, stream string, opts VolatileOptions) (*Subscription, error) {
	s, err := c.newSubscription(ctx, stream, opts.ResolveLinks, opts.Filter, opts.BufferSize)
	if err != nil {
		return nil, err
	}
	s.fillGaps = opts.FillGaps
	return s, s.openLive(ctx)
}

// openLive subscribes before anything is read: what was there before is not wanted.
func (s *Subscription) openLive(ctx context.Context) error {
	s.atEnd = true
	if err := s.open(ctx); err != nil {
		err = &OperationError{Operation: "subscribe to", Stream: s.stream, Err: err}
		return s.finish(err)
	}
	s.cursor.skipTo(s.feed.Load())
	s.publish()
	s.lastRead = true
	return nil
}
