package esclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
)

// DefaultBufferSize is how many pushed events a subscription holds for its consumer where nothing else is said.
const DefaultBufferSize = 10_000

// Subscription delivers the events of a stream, or of all streams, in order: those that are there by reading, then
// those that come as the server pushes them. SubscribeVolatile and SubscribeCatchUp make one.
//
// It has no goroutine of its own: Next does the work. Next and All must be called by one goroutine at a time; the other
// methods may be called at any time by any.
type Subscription struct {
	c            *Client
	stream       string
	resolveLinks bool
	filter       *Filter // nil for none
	pageSize     pageSize
	bufferSize   int
	fillGaps     bool
	creds        *Credentials

	ctx    context.Context // ends with Stop
	cancel context.CancelCauseFunc
	cursor cursor

	witness witness

	// Of the goroutine that calls Next.
	page     []Event // read and not delivered yet
	atEnd    bool    // reading has reached the end
	lastRead bool    // ... of what was there when the feed was confirmed: what follows is in the feed
	last     int64   // the number of the stream's last event, by the latest page

	mu       sync.Mutex
	feed     atomic.Pointer[feed] // nil while reading; changes with mu held
	draining bool
	finished error       // what Next returns from now on
	over     atomic.Bool // it is set
	passed   Position
	live     liveness

	closed chan struct{}
}

func (c *Client) newSubscription(
	ctx context.Context, stream string, resolveLinks bool, filter *Filter, bufferSize int,
) (*Subscription, error) {
	if err := validateName("stream", stream); err != nil {
		return nil, err
	}
	filter, err := filter.ready(stream)
	if err != nil {
		return nil, err
	}
	if bufferSize == 0 {
		bufferSize = c.cfg.SubscriptionBufferSize
	}
	if bufferSize < 1 {
		return nil, &ArgumentError{Argument: "BufferSize", Reason: fmt.Sprintf("%d is negative", bufferSize)}
	}
	creds, err := credentialsFrom(ctx)
	if err != nil {
		return nil, err
	}
	s := &Subscription{
		c: c, stream: stream, resolveLinks: resolveLinks, filter: filter, creds: creds,
		bufferSize: bufferSize, pageSize: c.newPageSize(c.cfg.CatchUpPageSize),
		cursor:  cursor{all: stream == AllStream, number: -1, passed: UnknownPosition},
		passed:  UnknownPosition,
		witness: witness{c: c, stream: stream},
		live:    newLiveness(), closed: make(chan struct{}),
	}
	base := WithRequireLeader(context.Background(), c.requireLeader(ctx))
	if creds != nil {
		base = WithCredentials(base, *creds)
	}
	s.ctx, s.cancel = context.WithCancelCause(base)
	return s, nil
}

// Next waits for the next event. It returns the context's error when ctx ends, after which it may be called again, and
// ErrSubscriptionStopped after Stop and, once everything is delivered, after Drain. Any other error is final and is
// what Err returns from then on: ErrStreamDeleted, ErrAccessDenied, ErrSlowConsumer, ErrClosed, or for an event that is
// larger than Config.MaxFrameSize a *FrameTooLargeError.
func (s *Subscription) Next(ctx context.Context) (*Event, error) {
	for {
		s.publish()
		if s.over.Load() {
			return nil, s.Err()
		}
		if e := s.buffered(); e != nil {
			if s.witness.wantsDelivered() {
				s.witness.delivered(e, s.lastKnown())
			}
			return e, nil
		}
		err := s.advance(ctx)
		switch {
		case err == nil, s.Err() != nil:
		case ctx.Err() != nil:
			return nil, err
		case !resumable(err):
			return nil, s.finish(err)
		default:
			s.rest(ctx)
		}
	}
}

// rest keeps a server that cannot serve the subscription for now from being asked all the time.
func (s *Subscription) rest(ctx context.Context) {
	ctx, cancel := s.merged(ctx)
	defer cancel()
	_ = pause(ctx, s.c.cfg.ReconnectDelay) // if that ends early, the next step says why
}

// resumable reports whether a subscription should go on trying after a call has given up.
func resumable(err error) bool {
	return SafeToRetry(err) && !errors.Is(err, ErrNotAuthenticated) && !errors.Is(err, ErrNotEventStore)
}

// All calls Next until it fails. An error ends the loop, with a nil event; ErrSubscriptionStopped ends it silently.
func (s *Subscription) All(ctx context.Context) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		for {
			e, err := s.Next(ctx)
			if errors.Is(err, ErrSubscriptionStopped) {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// buffered takes the next event that is at hand, skipping those that were delivered before.
func (s *Subscription) buffered() *Event {
	for len(s.page) > 0 {
		e := &s.page[0]
		if s.page = s.page[1:]; s.cursor.advance(e) {
			return e
		}
	}
	f := s.feed.Load()
	if f == nil || !s.lastRead {
		return nil
	}
	for e := f.queue.pop(); e != nil; e = f.queue.pop() {
		if s.cursor.advance(e) {
			s.cursor.next = e.Position
			return e
		}
	}
	if p := f.queue.passed(); p != UnknownPosition && s.cursor.pass(p) {
		s.cursor.next = p
		s.publish()
	}
	return nil
}

// Checkpoint returns how far in AllStream the subscription has got: up to that position, all events were delivered and,
// since Next was called again, dealt with, or they do not pass the filter. Given to AfterPosition, it has another
// subscription go on from there. It is UnknownPosition before the first event, and for a single stream.
//
// With a filter that picks few events it moves on nevertheless, while Next waits: about every Filter.CheckpointInterval
// events that the server has looked at. So it is worth keeping by a timer.
func (s *Subscription) Checkpoint() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.passed
}

// publish lets Checkpoint know how far Next has got.
func (s *Subscription) publish() {
	if !s.cursor.all {
		return
	}
	s.mu.Lock()
	s.passed = s.cursor.passed
	s.mu.Unlock()
}

// advance does what has to be done before there can be another event: read a page, subscribe, or wait.
func (s *Subscription) advance(ctx context.Context) error {
	f := s.feed.Load()
	switch {
	case s.isDraining() && (f == nil || f.err() != nil):
		return ErrSubscriptionStopped
	case f == nil && s.atEnd:
		return s.open(ctx)
	case f == nil || !s.lastRead:
		return s.read(ctx)
	case f.err() != nil:
		return s.replace(f.err())
	}
	if s.live.set(true) {
		s.witness.caughtUp()
	}
	select {
	case <-f.queue.wake:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// merged returns a context that ends with ctx and with the subscription, and has the subscription's credentials.
func (s *Subscription) merged(ctx context.Context) (context.Context, context.CancelFunc) {
	merged, cancel := context.WithCancelCause(s.ctx)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return merged, func() {
		stop()
		cancel(context.Canceled)
	}
}

// open subscribes at the server. What was written since the last read and before the confirmation must still be read.
func (s *Subscription) open(ctx context.Context) error {
	ctx, cancel := s.merged(ctx)
	defer cancel()
	f, err := s.c.openFeed(ctx, s.stream, s.resolveLinks, s.filter, s.bufferSize)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.finished != nil || s.draining {
		f.close(ErrSubscriptionStopped)
	}
	s.feed.Store(f)
	s.lastRead = !s.fillGaps || s.cursor.reaches(f)
	if s.finished == nil {
		s.witness.confirmed(f.handle.Conn().Endpoint())
	}
	s.mu.Unlock()
	s.witness.subscribed()
	return nil
}

// replace follows the end of a feed, once its queue is empty.
func (s *Subscription) replace(reason error) error {
	s.witness.dropped(reason)
	if s.live.set(false) {
		s.witness.fellBehind(reason)
	}
	overflow := errors.Is(reason, ErrSlowConsumer)
	if !transient(reason) && !(overflow && s.fillGaps) {
		return s.finish(readOnlyNode(reason))
	}
	if s.cursor.tombstone() {
		return ErrStreamDeleted
	}
	s.mu.Lock()
	s.feed.Store(nil)
	s.mu.Unlock()
	s.atEnd, s.lastRead = !s.fillGaps, false
	return nil
}

// Stop ends the subscription at once: Next returns ErrSubscriptionStopped, also where it waits, and nothing more is
// delivered. It does not wait for the server.
func (s *Subscription) Stop() { s.finish(ErrSubscriptionStopped) }

// Drain ends the subscription gently: the server is told to push no more, and Next goes on to deliver what has been
// received, and then returns ErrSubscriptionStopped.
func (s *Subscription) Drain() {
	s.mu.Lock()
	s.draining = true
	f := s.feed.Load()
	s.mu.Unlock()
	if f != nil {
		f.close(ErrSubscriptionStopped)
	}
}

func (s *Subscription) finish(reason error) error {
	s.mu.Lock()
	f := s.feed.Load()
	first := s.finished == nil
	if first {
		s.finished = reason
		s.over.Store(true)
	}
	reason = s.finished
	s.mu.Unlock()
	if first {
		s.cancel(reason)
		if f != nil {
			f.close(reason)
		}
		close(s.closed)
		s.witness.ended(reason)
	}
	return reason
}

// Closed is closed when the subscription has ended; Err then tells why.
func (s *Subscription) Closed() <-chan struct{} { return s.closed }

// Err returns why the subscription has ended, ErrSubscriptionStopped after Stop and Drain, or nil while it lasts.
func (s *Subscription) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finished
}

// CaughtUp returns a channel that is closed as soon as the subscription has caught up: Next has delivered all that was
// there and begins to wait for what comes. It is closed already where that is so now. A subscription that fell behind
// catches up again; call CaughtUp anew to wait for that. A subscription that ends stays as it is, so wait for Closed,
// too:
//
//	for {
//		select {
//		case <-s.CaughtUp():
//		case <-s.Closed():
//			return
//		}
//		… // what has been delivered is all there is
//		select {
//		case <-s.FellBehind():
//		case <-s.Closed():
//			return
//		}
//	}
func (s *Subscription) CaughtUp() <-chan struct{} { return s.live.wait(true) }

// FellBehind returns a channel that is closed while the subscription has not caught up: at first, and again when Next
// finds, behind the last event that was received, that the connection was lost, the server dropped the subscription, or
// the buffer overflowed.
func (s *Subscription) FellBehind() <-chan struct{} { return s.live.wait(false) }

// lastKnown returns the highest number of an event that the server has told of.
func (s *Subscription) lastKnown() int64 {
	f := s.feed.Load()
	if f == nil {
		return newestNumber(s.last)
	}
	return newestNumber(s.last, f.last, f.queue.newestNumber())
}

func (s *Subscription) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}
