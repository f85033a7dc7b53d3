package esclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Defaults of the buffer of a subscription: how many pushed events wait in it for the consumer, and how many bytes.
const (
	DefaultBufferSize  = 10_000
	DefaultBufferBytes = 16 << 20
)

// Subscription delivers the events of a stream, or of all streams, in order. It reads the events that are there, and
// then the server pushes the others. [Client.SubscribeVolatile] and [Client.SubscribeCatchUp] make one.
//
// A subscription asks the server for something only when Next needs it. Next begins such work in a goroutine. The work,
// for example the read of a page, goes on when the context of Next ends, and the next call of Next waits for it. Stop
// ends it. One goroutine at a time may call Next or All. Any goroutine may call the other methods, at any time.
type Subscription struct {
	c             *Client
	stream        string
	resolveLinks  bool
	pageSize      pageSize
	bufferSize    int
	bufferBytes   int
	fillGaps      bool
	mayFilterHere bool // the client filters if the server cannot
	logPolicy     logPolicy
	start         Start // of a catch-up subscription

	ctx    context.Context // ends with Stop, and with the client
	cancel context.CancelCauseFunc
	report reporter

	progress progress
	unread   unread

	// The goroutine that calls Next owns these, or the step if there is one.
	step      *step // nil for none
	cursor    cursor
	page      []Event  // events that were read and not delivered
	looked    Position // the end of the page; UnknownPosition if the page has all of its events
	filter    *Filter  // the server's filter; nil for none
	picksHere *matcher // the client's filter; nil for none
	atEnd     bool     // the reads have reached the end
	lastRead  bool     // the reads have reached the event with which the feed begins
	skips     bool     // the events before the confirmation of the next feed are not delivered
	last      int64    // the number of the stream's last event, by the latest page
	known     mark     // identifies the log
	told      bool     // the start was compared with the end of the stream

	mu       sync.Mutex
	feed     atomic.Pointer[feed] // nil while reading; changes with mu held
	draining bool
	finished error       // why the subscription has ended; nil while it lasts
	over     atomic.Bool // finished is set
	live     liveness

	drained chan struct{} // closed by Drain
	closed  chan struct{}
}

func (c *Client) newSubscription(
	ctx context.Context, stream string, resolveLinks bool, filter *Filter, bufferSize, bufferBytes int,
) (*Subscription, error) {
	if err := validateName("stream", stream); err != nil {
		return nil, err
	}
	filter, err := filter.ready(stream)
	if err != nil {
		return nil, err
	}
	for _, b := range []struct {
		argument string
		v        *int
		def      int
	}{
		{"BufferSize", &bufferSize, c.cfg.SubscriptionBufferSize},
		{"BufferBytes", &bufferBytes, c.cfg.SubscriptionBufferBytes},
	} {
		if *b.v == 0 {
			*b.v = b.def
		}
		if *b.v < 1 {
			return nil, &ArgumentError{Argument: b.argument, Reason: fmt.Sprintf("%d is negative", *b.v)}
		}
	}
	creds, err := credentialsFrom(ctx)
	if err != nil {
		return nil, err
	}
	s := &Subscription{
		c: c, stream: stream, resolveLinks: resolveLinks, filter: filter,
		picksHere: filter.besideServer(), looked: UnknownPosition,
		bufferSize: bufferSize, bufferBytes: bufferBytes,
		cursor: cursor{all: stream == AllStream, number: -1, passed: UnknownPosition},
		report: reporter{c: c, hooks: &c.hooks, stream: stream},
		live:   newLiveness(), drained: make(chan struct{}), closed: make(chan struct{}),
	}
	s.report.subscription = s
	s.progress.init(s.cursor.all)
	s.setPageSize(c.cfg.CatchUpPageSize)
	base := WithRequireLeader(c.ctx, c.requireLeader(ctx))
	if creds != nil {
		base = WithCredentials(base, Credentials(*creds))
	}
	s.ctx, s.cancel = context.WithCancelCause(base)
	return s, nil
}

// Next waits for the next event. It returns the error of ctx when ctx ends. The caller may call it again then. It
// returns [ErrSubscriptionStopped] after Stop and, when all events are delivered, after Drain. Any other error is
// final, and Err returns it from then on: [ErrStreamDeleted], [ErrAccessDenied], [ErrSlowConsumer], [ErrLogWentBack],
// [ErrClosed], or a [*FrameTooLargeError] for an event that is larger than Config.MaxFrameSize.
//
// The end of ctx only ends the wait. So a caller may give Next little time, over and over: the work that Next has begun
// goes on.
func (s *Subscription) Next(ctx context.Context) (*Event, error) {
	for {
		if s.step != nil {
			if err := s.await(ctx); err != nil {
				return nil, err
			}
		}
		s.progress.publish(&s.cursor)
		if s.over.Load() {
			return nil, s.Err()
		}
		e := s.buffered()
		s.unread.publish(s.page, s.last)
		if e != nil {
			if e.Unresolved {
				s.report.unresolved(e)
			}
			if s.report.wantsDelivered() {
				s.report.delivered(e, s.lastKnown())
			}
			s.progress.deliver(&s.cursor)
			return e, nil
		}
		if err := s.advance(ctx); err != nil {
			return nil, err
		}
	}
}

// All calls Next until it fails. An error ends the loop, with a nil event. [ErrSubscriptionStopped] ends the loop
// without an error.
func (s *Subscription) All(ctx context.Context) iter.Seq2[*Event, error] { return all(ctx, s) }

// buffered takes the next event that the subscription has, and skips events that it has delivered before. It returns
// nil for none.
func (s *Subscription) buffered() *Event {
	for len(s.page) > 0 {
		e := &s.page[0]
		if s.page = s.page[1:]; s.cursor.advance(e) {
			s.known.set(e)
			return e
		}
	}
	if s.looked != UnknownPosition {
		s.cursor.pass(s.looked)
		s.looked = UnknownPosition
		s.progress.publish(&s.cursor)
	}
	f := s.feed.Load()
	if f == nil || !s.lastRead {
		return nil
	}
	for e := f.queue.pop(); e != nil; e = f.queue.pop() {
		if s.cursor.advance(e) {
			if s.cursor.tombstone() {
				return nil
			}
			s.cursor.next = e.Position
			s.known.set(e)
			return e
		}
	}
	if p := f.queue.passed(); p != UnknownPosition && s.cursor.pass(p) {
		s.cursor.next = p
		s.progress.publish(&s.cursor)
	}
	return nil
}

// advance begins the step that is needed for another event, or waits for an event. Its error is that of ctx, or the end
// of the subscription.
func (s *Subscription) advance(ctx context.Context) error {
	f := s.feed.Load()
	switch {
	case s.cursor.tombstone():
		return s.finish(ErrStreamDeleted)
	case s.isDraining() && (f == nil || f.err() != nil):
		return s.finish(ErrSubscriptionStopped)
	case f == nil && s.atEnd:
		s.begin(s.open)
		return nil
	case f == nil || !s.lastRead:
		s.begin(s.read)
		return nil
	case f.err() != nil:
		return s.replace(f.err())
	}
	if s.live.set(true) {
		s.report.caughtUp()
	}
	select {
	case <-f.queue.wake:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return s.finish(s.ended())
	}
}

// open subscribes at the server. The events between the last read and the confirmation must still be read. If the
// confirmation comes from a node that the subscription must leave, open returns without a feed, and the caller opens
// again.
func (s *Subscription) open(ctx context.Context) error {
	f, err := s.c.openFeed(ctx, s.stream, s.resolveLinks, s.filter, s.picksHere, s.bufferSize, s.bufferBytes)
	if err != nil {
		again, err := s.filterInClient(err)
		if again {
			return s.open(ctx)
		}
		return err
	}
	if keep, err := s.check(ctx, f); !keep {
		f.close(ErrSubscriptionStopped)
		return err
	}
	s.lastRead = s.skips || !s.fillGaps || s.cursor.reaches(f)
	if s.skips {
		s.cursor.skipTo(f)
		s.skips = false
	}
	s.mu.Lock()
	if s.finished != nil || s.draining {
		f.close(ErrSubscriptionStopped)
	}
	s.feed.Store(f)
	if s.finished == nil {
		s.report.confirmed(f.handle.Conn().Endpoint())
	}
	s.mu.Unlock()
	s.report.subscribed()
	return nil
}

// check checks a confirmation. It reports whether the subscription keeps the feed.
func (s *Subscription) check(ctx context.Context, f *feed) (keep bool, err error) {
	if !s.cursor.all && f.last == esproto.DeletedStream {
		return false, ErrStreamDeleted
	}
	if f.handle.Conn() != s.known.conn || !s.known.any && (s.cursor.all || f.last >= 0) {
		same, err := s.verify(ctx)
		// With fillGaps there are events to read first.
		if err != nil || !same && s.fillGaps || f.handle.Conn() != s.known.conn {
			return false, err
		}
	}
	if !s.cursor.all {
		s.tellIfBehind(s.cursor.number > f.last, f.last)
	}
	return true, nil
}

// replace reacts to the end of a feed, after its queue is empty.
func (s *Subscription) replace(reason error) error {
	s.report.dropped(reason)
	if s.live.set(false) {
		s.report.fellBehind(reason)
	}
	overflow := errors.Is(reason, ErrSlowConsumer)
	if !replaces(reason) && !(overflow && s.fillGaps) {
		return s.finish(explained(reason))
	}
	if f := s.feed.Load(); overflow {
		s.pageSize.expect(f.pushed, int(f.weight))
	}
	s.mu.Lock()
	s.feed.Store(nil)
	s.mu.Unlock()
	s.atEnd, s.lastRead = !s.fillGaps, false
	return nil
}

// Stop ends the subscription at once. Next returns [ErrSubscriptionStopped], also if it waits or if events are in the
// buffer. Stop does not wait for the server.
func (s *Subscription) Stop() { _ = s.finish(ErrSubscriptionStopped) }

// Drain ends the subscription after the events that it has received. The client unsubscribes at the server. Next
// delivers the received events, and then returns [ErrSubscriptionStopped].
func (s *Subscription) Drain() {
	s.mu.Lock()
	if !s.draining {
		s.draining = true
		close(s.drained)
	}
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
		s.report.ended(reason)
	}
	return reason
}

// Closed returns a channel that is closed when the subscription has ended. Then Err returns the reason.
func (s *Subscription) Closed() <-chan struct{} { return s.closed }

// Err returns why the subscription has ended, which is [ErrSubscriptionStopped] after Stop and Drain. It returns nil
// while the subscription lasts.
func (s *Subscription) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finished
}

// CaughtUp returns a channel that is closed while the subscription has caught up: Next has delivered all events that
// were there, and waits for others. A subscription that fell behind catches up again. Call CaughtUp again to wait for
// that. The end of the subscription changes nothing, so wait for Closed, too:
//
//	for {
//		select {
//		case <-s.CaughtUp():
//		case <-s.Closed():
//			return
//		}
//		… // all events have been delivered
//		select {
//		case <-s.FellBehind():
//		case <-s.Closed():
//			return
//		}
//	}
func (s *Subscription) CaughtUp() <-chan struct{} { return s.live.wait(true) }

// FellBehind returns a channel that is closed while the subscription has not caught up. So it is at first, and again
// when Next has delivered the received events and finds that the connection was lost, that the server has dropped the
// subscription, or that the buffer has overflowed.
func (s *Subscription) FellBehind() <-chan struct{} { return s.live.wait(false) }

// lastKnown returns the highest event number of the stream that the server has sent.
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
