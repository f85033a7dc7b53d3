package esclient

import (
	"context"
	"errors"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// CatchUpOptions say what SubscribeCatchUp delivers. The zero value delivers everything from the beginning.
type CatchUpOptions struct {
	// Start is where to begin; the zero Start is FromStart.
	Start Start
	// ResolveLinks delivers the targets of link events instead of the links; see Event.Link.
	ResolveLinks bool
	// PageSize is how many events are read at a time, 1 to MaxPageSize; 0 means Config.CatchUpPageSize. Of large events
	// fewer are asked for; see ReadOptions.PageSize.
	PageSize int
	// Filter, if not nil, has only the events of AllStream delivered that it picks.
	Filter *Filter
	// BufferSize is how many pushed events are held for the consumer; 0 means Config.SubscriptionBufferSize. When it
	// overflows, the subscription goes back to reading until it has caught up again.
	BufferSize int
}

// SubscribeCatchUp delivers the events of a stream, which need not exist yet, or of AllStream: first those that are
// there, then those that come. Nothing is left out and nothing comes twice, also across lost connections. Checkpoints
// are the caller's: keep the number, or in AllStream the position, of Event.Original of the last event dealt with, and
// give it to AfterNumber or AfterPosition the next time.
//
// ctx serves to make the subscription; its end does not end it. No word is exchanged with the server before Next,
// except that FromEnd has the subscription live when this method returns.
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
	s, err := c.newSubscription(ctx, stream, opts.ResolveLinks, opts.Filter, opts.BufferSize)
	if err != nil {
		return nil, err
	}
	s.fillGaps, s.pageSize = true, c.newPageSize(opts.PageSize)
	if opts.Start.kind == startEnd {
		return s, s.openLive(ctx)
	}
	s.cursor.start(opts.Start)
	s.publish()
	return s, nil
}

// cursor is how far a subscription has got.
type cursor struct {
	all      bool
	number   int64    // of the last event of the stream that was delivered or is not wanted; -1 for none
	position Position // likewise in $all
	any      bool     // position is set; before that everything in $all is wanted
	next     Position // where to read $all on
	passed   Position // in $all, of the last event that was delivered or looked at; UnknownPosition before any
}

func (c *cursor) start(s Start) {
	switch s.kind {
	case startNumber:
		if c.number = s.number; s.included {
			c.number--
		}
	case startPosition:
		c.next = s.position
		c.any = true
		if c.position = s.position; s.included {
			c.position.Prepare--
		} else {
			c.passed = s.position
		}
	}
}

// advance moves behind e. It returns false if e lies at or before the cursor: it was delivered already.
func (c *cursor) advance(e *Event) bool {
	if c.all {
		if c.any && e.Position.Compare(c.position) <= 0 {
			return false
		}
		c.position, c.passed, c.any = e.Position, e.Position, true
		return true
	}
	n := e.Original().Number
	if n <= c.number {
		return false
	}
	c.number = n
	return true
}

// pass moves to where the server has looked at everything, in $all. It returns false if the cursor is there already.
func (c *cursor) pass(p Position) bool {
	if c.any && p.Compare(c.position) <= 0 {
		return false
	}
	c.position, c.passed, c.any = p, p, true
	return true
}

// skipTo moves to the end of what there was when f was confirmed.
func (c *cursor) skipTo(f *feed) {
	if c.all {
		c.position, c.any = Position{Commit: f.position, Prepare: f.position}, true
		if c.next, c.passed = c.position, c.position; f.position < 0 {
			c.next, c.passed = StartPosition, UnknownPosition // the log is empty
		}
		return
	}
	c.number = f.last
}

// reaches reports whether nothing that came before the confirmation of f is missing.
func (c *cursor) reaches(f *feed) bool {
	if c.all {
		return c.next.Compare(Position{Commit: f.position, Prepare: f.position}) > 0
	}
	return c.number >= f.last
}

// tombstone reports whether the last event was the one that ends a stream for good.
func (c *cursor) tombstone() bool { return !c.all && c.number == esproto.DeletedStream }

// indexLag is the pause after a read that did not yet see what the confirmation announced: the index of servers up to
// 5.0 may lag behind. After indexPatience such reads the missing events are taken for deleted or truncated ones.
const (
	indexLag      = time.Millisecond
	indexPatience = 50
)

// read reads a page. At the end it notes whether the feed, if there is one, takes over from here.
func (s *Subscription) read(ctx context.Context) error {
	ctx, cancel := s.merged(ctx)
	defer cancel()
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
		if err := pause(ctx, indexLag); err != nil {
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

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Subscription) readPage(ctx context.Context) (end bool, err error) {
	if s.cursor.all {
		return s.readAllPage(ctx)
	}
	if s.cursor.tombstone() {
		return false, ErrStreamDeleted
	}
	op := s.c.newReadStream(ctx, s.stream, s.cursor.number+1, s.pageSize, s.resolveLinks)
	page, err := s.c.readStreamPage(ctx, op)
	s.pageSize = op.size
	if errors.Is(err, ErrStreamNotFound) {
		return true, nil // it may come, or come back
	}
	if err != nil {
		return false, err
	}
	s.last = page.LastEventNumber
	if s.page = page.Events; len(s.page) == 0 && !page.EndOfStream {
		s.cursor.number = page.Next.number - 1 // what lies between is truncated
	}
	return page.EndOfStream, nil
}

func (s *Subscription) readAllPage(ctx context.Context) (end bool, err error) {
	op := s.c.newReadAll(ctx, s.cursor.next, s.pageSize, s.resolveLinks)
	op.filter = s.filter
	page, err := s.c.readAllPage(ctx, op)
	s.pageSize = op.size
	if err != nil {
		return false, err
	}
	s.page, s.cursor.next = page.Events, page.Next.position
	// An event lies at such a position only within a transaction, which has prepare positions of its own.
	if len(page.Events) == 0 && s.cursor.next.Prepare == 0 && s.cursor.next.Commit > 0 {
		s.cursor.pass(s.cursor.next)
	}
	return page.EndOfStream, nil
}
