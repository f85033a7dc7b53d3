package esclient

import (
	"context"
	"errors"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// CatchUpOptions are the options of [Client.SubscribeCatchUp]. The zero value delivers everything from the beginning.
type CatchUpOptions struct {
	// Start is where to begin. The zero Start is [FromStart].
	Start Start
	// ResolveLinks delivers the targets of link events instead of the links; see Event.Link. Servers up to 5.0 do not
	// resolve a link that they read if the user may not read its target: that one is Event.Unresolved. In all other
	// cases servers ignore the rights to targets.
	ResolveLinks bool
	// PageSize is how many events the client reads at a time, 1 to [MaxPageSize]. 0 means Config.CatchUpPageSize. The
	// client asks for fewer if the events are large; see ReadOptions.PageSize.
	PageSize int
	// Filter, if not nil, picks the events of [AllStream] to deliver.
	Filter *Filter
	// FilterInClient makes the client apply the Filter if the server cannot, since it is older than 20.6. All events of
	// AllStream then cross the network. Checkpoints move as with a server that filters, and pages end as without a
	// filter. A regular expression that Go cannot compile is [ErrNotSupported] then.
	FilterInClient bool
	// BufferSize is how many pushed events wait for the consumer at most. 0 means Config.SubscriptionBufferSize. When
	// the buffer overflows, the subscription reads until it has caught up again.
	BufferSize int
	// BufferBytes is about how many bytes of pushed events wait at most. 0 means Config.SubscriptionBufferBytes. It
	// also limits a page, as far as the size of earlier events tells. A single event may be larger.
	BufferBytes int
	// Known, if not zero, is an event that an earlier subscription to the stream has delivered: the Event.KnownIn that
	// the caller has stored together with a checkpoint. If the log has another event at that place, or ends before it,
	// then the log was replaced, and the subscription ends with [ErrLogWentBack], which Ready or Next return; but see
	// StartOver. Without Known, a start means nothing more than its number or position: another log that has grown
	// beyond it is not recognised. An event that was removed from its stream tells nothing.
	Known KnownEvent
	// StartOver makes the subscription begin again, instead of ending with [ErrLogWentBack]. It begins with the first
	// event of the stream. After [FromEnd] it begins with the events that were created, by the server's clock, after
	// the last event that it knew. The client logs this and calls [LogWentBackHook].
	StartOver bool
	// Hooks are called for this subscription alone, after those of Config.Hooks.
	Hooks []Hook
}

// SubscribeCatchUp delivers the events of a stream, which need not exist yet, or of [AllStream]: first the existing
// events, then new ones. It delivers every event once, also across lost connections. The caller keeps the checkpoint:
// save [Subscription.Checkpoint], and begin at its Start the next time. Save the last event's [Event.KnownIn] as well,
// and give it back as CatchUpOptions.Known: without it, another log that is longer is not recognised.
//
// With [FromEnd] the server has confirmed the subscription when this method returns. Otherwise the client asks the
// server nothing before Ready or Next, which then return the server's refusal. The end of ctx ends this method and not
// the subscription.
//
// A start behind the end of the stream is valid: the subscription waits until the stream gets there. The client logs
// this and calls [StartBehindEndHook]. If the log goes back, the subscription ends with [ErrLogWentBack], since earlier
// numbers and positions may belong to other events from then on; but see CatchUpOptions.StartOver.
func (c *Client) SubscribeCatchUp(ctx context.Context, stream string, opts CatchUpOptions) (*Subscription, error) {
	if err := opts.Start.validate("Start", stream); err != nil {
		return nil, err
	}
	if err := opts.Known.validate("CatchUpOptions.Known", stream); err != nil {
		return nil, err
	}
	if opts.PageSize == 0 {
		opts.PageSize = c.cfg.CatchUpPageSize
	}
	if err := validatePageSize("CatchUpOptions.PageSize", &opts.PageSize); err != nil {
		return nil, err
	}
	hooks, err := c.hooksWith("CatchUpOptions.Hooks", opts.Hooks)
	if err != nil {
		return nil, err
	}
	s, err := c.newSubscription(ctx, stream, opts.ResolveLinks, opts.Filter, opts.BufferSize, opts.BufferBytes)
	if err != nil {
		return nil, err
	}
	s.report.hooks = hooks
	s.fillGaps, s.mayFilterHere = true, opts.FilterInClient
	s.known.know(opts.Known)
	s.setPageSize(opts.PageSize)
	fromEnd := opts.Start.kind == startEnd
	switch {
	case opts.StartOver && fromEnd:
		s.logPolicy = goOn
	case opts.StartOver:
		s.logPolicy = startOver
	}
	if fromEnd {
		return s.openLive(ctx)
	}
	s.start = opts.Start
	s.cursor.start(s.start)
	s.progress.publish(&s.cursor)
	return s, nil
}

// Ready reads the first page of a catch-up subscription. It returns the server's refusal, such as [ErrStreamDeleted],
// [ErrAccessDenied] or [ErrNotSupported]. An error, also that of ctx, ends the subscription. The goroutine that calls
// Next may call Ready before. Ready does nothing if the subscription has begun.
func (s *Subscription) Ready(ctx context.Context) error {
	if s.step != nil || s.atEnd || len(s.page) > 0 || s.feed.Load() != nil || s.over.Load() {
		return s.Err()
	}
	return s.first(ctx, s.read, func() bool { return true })
}

// setPageSize sets how many events a page has. The first pages have fewer, until the size of the events is known.
func (s *Subscription) setPageSize(n int) {
	s.pageSize = s.c.newPageSize(n)
	s.pageSize.now = min(n, firstPage)
	s.pageSize.room = min(s.pageSize.room, s.bufferBytes)
}

// firstPage is how many events the first pages of a subscription have.
const firstPage = 64

// indexLag is the pause after a read that does not have all confirmed events yet: the index of servers up to 5.0 may
// lag behind. After indexPatience such reads, the missing events count as deleted or truncated.
const (
	indexLag      = time.Millisecond
	indexPatience = 50
)

// read reads a page. At the end it notes whether the feed, if there is one, goes on from here.
func (s *Subscription) read(ctx context.Context) error {
	for lag := 0; ; lag++ {
		end, err := s.readPage(ctx)
		if err != nil {
			return err
		}
		if !end {
			return nil
		}
		f := s.feed.Load()
		if f == nil {
			s.atEnd = true
			return nil
		}
		if len(s.page) > 0 || s.cursor.reaches(f) || lag == indexPatience {
			s.lastRead = len(s.page) == 0 || s.reachedBy(f)
			return nil
		}
		if err := sleep(ctx, indexLag); err != nil {
			return err
		}
	}
}

// reachedBy reports whether the current page ends at the beginning of f.
func (s *Subscription) reachedBy(f *feed) bool {
	after := s.cursor
	for i := range s.page {
		after.advance(&s.page[i])
	}
	return after.reaches(f)
}

// readPage reads a page into s.page. end reports whether no event followed it.
func (s *Subscription) readPage(ctx context.Context) (end bool, err error) {
	if s.cursor.all {
		return s.readResolving(ctx, s.readAllPage)
	}
	return s.readResolving(ctx, s.readStreamPage)
}

func (s *Subscription) readStreamPage(ctx context.Context, resolveLinks bool) (end bool, err error) {
	op := s.c.newReadStream(ctx, s.stream, s.cursor.number+1, s.pageSize, resolveLinks)
	conn, err := s.c.readOn(ctx, op)
	missing := errors.Is(err, ErrStreamNotFound) // the stream may be created, or created again, later
	if err != nil && !missing {
		s.pageSize = op.size
		return false, op.failed(err)
	}
	if same, err := s.sameLog(ctx, conn); !same || missing {
		return missing && same, err
	}
	page, err := op.page()
	s.pageSize = op.size
	if err != nil {
		return false, op.failed(err)
	}
	s.last = page.LastEventNumber
	if s.page = page.Events; len(s.page) == 0 && !page.EndOfStream {
		s.cursor.number = page.Next.number - 1 // events between were truncated
	}
	return page.EndOfStream, nil
}

func (s *Subscription) readAllPage(ctx context.Context, resolveLinks bool) (end bool, err error) {
	op := s.c.newReadAll(ctx, s.cursor.next, s.pageSize, resolveLinks)
	op.filter, op.here = s.filter, s.picksHere
	conn, err := s.c.readOn(ctx, op)
	if err != nil && !errors.Is(err, ErrServer) {
		s.pageSize = op.size
		again, err := s.filterInClient(op.failed(err))
		if again {
			return s.readAllPage(ctx, resolveLinks)
		}
		return false, err
	}
	// If the server refuses a position, it may belong to another log.
	if same, other := s.sameLog(ctx, conn); !same {
		return false, other
	}
	if err != nil {
		return false, op.failed(err)
	}
	page, err := op.page()
	s.pageSize = op.size
	if err != nil {
		return false, op.failed(err)
	}
	s.page, s.cursor.next = page.Events, page.Next.position
	if s.picksHere != nil {
		s.looked = op.looked
	}
	// An event can have such a position only inside a transaction, and then its prepare position is not 0.
	if len(page.Events) == 0 && s.cursor.next.Prepare == 0 && s.cursor.next.Commit > 0 {
		s.cursor.pass(s.cursor.next)
	}
	return page.EndOfStream, nil
}

// readOn reads a page, and returns the connection that it used.
func (c *Client) readOn(ctx context.Context, op pageOp) (*engine.Conn, error) {
	var page pageRead
	page.start(ctx, c, op)
	err := page.finish()
	return page.conn, err
}
