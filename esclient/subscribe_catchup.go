package esclient

import (
	"context"
	"errors"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// CatchUpOptions say what SubscribeCatchUp delivers. The zero value delivers everything from the beginning.
type CatchUpOptions struct {
	// Start is where to begin; the zero Start is FromStart.
	Start Start
	// ResolveLinks delivers the targets of link events instead of the links; see Event.Link. A link whose target the
	// user may not read is Event.Unresolved when it is read from a server up to 5.0; otherwise servers do not look at
	// the rights on targets.
	ResolveLinks bool
	// PageSize is how many events are read at a time, 1 to MaxPageSize; 0 means Config.CatchUpPageSize. Of large events
	// fewer are asked for; see ReadOptions.PageSize.
	PageSize int
	// Filter, if not nil, has only the events of AllStream delivered that it picks.
	Filter *Filter
	// FilterInClient has the client apply the Filter if the server, one before 20.6, cannot. All events of AllStream
	// then cross the network. Checkpoints move as with a server that filters, and no page is looked at for longer than
	// its events take. A regular expression that Go cannot compile is ErrNotSupported then.
	FilterInClient bool
	// BufferSize is how many pushed events are held for the consumer; 0 means Config.SubscriptionBufferSize. When it
	// overflows, the subscription goes back to reading until it has caught up again.
	BufferSize int
	// BufferBytes is how many bytes of pushed events are held, about; 0 means Config.SubscriptionBufferBytes. A page,
	// too, is to take no more, as far as can be told from the events before. A single event may be larger.
	BufferBytes int
	// StartOver has the subscription begin anew where it would end with ErrLogWentBack: with the first event of the
	// stream or, after FromEnd, with what was created after the last event that was known, by the server's clock. The
	// log and LogWentBackHook are told.
	StartOver bool
	// Hooks are told of this subscription alone, after those of Config.Hooks.
	Hooks []Hook
}

// SubscribeCatchUp delivers the events of a stream, which need not exist yet, or of AllStream: first those that are
// there, then those that come. Nothing is left out and nothing comes twice, also across lost connections. Checkpoints
// are the caller's: keep Subscription.Checkpoint, and begin at its Start the next time.
//
// No word is exchanged with the server before Ready or Next, which tell what the server refuses, except that FromEnd
// has the subscription live when this method returns. ctx serves to make the subscription; its end does not end it.
//
// A start behind the end of the stream is not refused: nothing comes until the stream gets there, which the log and
// StartBehindEndHook are told. A log that goes back ends the subscription with ErrLogWentBack, since numbers and
// positions that were used before mean something else from then on; but see StartOver.
func (c *Client) SubscribeCatchUp(ctx context.Context, stream string, opts CatchUpOptions) (*Subscription, error) {
	if err := opts.Start.validate("Start", stream); err != nil {
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

// Ready reads the first page of a catch-up subscription, so that what the server refuses is known early: such as
// ErrStreamDeleted, ErrAccessDenied or ErrNotSupported. An error, also that of ctx, ends the subscription. It is for
// the goroutine that calls Next, before it does; for a subscription that has begun it does nothing.
func (s *Subscription) Ready(ctx context.Context) error {
	if s.step != nil || s.atEnd || len(s.page) > 0 || s.feed.Load() != nil || s.over.Load() {
		return s.Err()
	}
	return s.first(ctx, s.read, func() bool { return true })
}

// setPageSize sets how many events are to be read at a time. Until it is known how large they are, it is fewer.
func (s *Subscription) setPageSize(n int) {
	s.pageSize = s.c.newPageSize(n)
	s.pageSize.now = min(n, firstPage)
	s.pageSize.room = min(s.pageSize.room, s.bufferBytes)
}

// firstPage is how many events a subscription reads at first.
const firstPage = 64

// indexLag is the pause after a read that did not yet see what the confirmation announced: the index of servers up to
// 5.0 may lag behind. After indexPatience such reads the missing events are taken for deleted or truncated ones.
const (
	indexLag      = time.Millisecond
	indexPatience = 50
)

// read reads a page. At the end it notes whether the feed, if there is one, takes over from here.
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

// reachedBy reports whether the page at hand ends where f takes over.
func (s *Subscription) reachedBy(f *feed) bool {
	after := s.cursor
	for i := range s.page {
		after.advance(&s.page[i])
	}
	return after.reaches(f)
}

// readPage reads a page into s.page. end reports whether nothing followed it.
func (s *Subscription) readPage(ctx context.Context) (end bool, err error) {
	if s.cursor.all {
		return s.readResolving(ctx, s.readAllPage)
	}
	return s.readResolving(ctx, s.readStreamPage)
}

func (s *Subscription) readStreamPage(ctx context.Context, resolveLinks bool) (end bool, err error) {
	op := s.c.newReadStream(ctx, s.stream, s.cursor.number+1, s.pageSize, resolveLinks)
	conn, err := s.c.readOn(ctx, op)
	missing := errors.Is(err, ErrStreamNotFound) // it may come, or come back
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
		s.cursor.number = page.Next.number - 1 // what lies between is truncated
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
	// A position that the server cannot make sense of may be one of another log.
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
	// An event lies at such a position only within a transaction, which has prepare positions of its own.
	if len(page.Events) == 0 && s.cursor.next.Prepare == 0 && s.cursor.next.Commit > 0 {
		s.cursor.pass(s.cursor.next)
	}
	return page.EndOfStream, nil
}

// readOn reads a page, and tells on which connection.
func (c *Client) readOn(ctx context.Context, op pageOp) (*engine.Conn, error) {
	var page pageRead
	page.start(ctx, c, op)
	err := page.finish()
	return page.conn, err
}
