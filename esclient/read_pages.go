package esclient

import (
	"context"
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// pageRequest is what the reads of pages have in common.
type pageRequest struct {
	size          pageSize
	left          int64 // how many events are wanted, or everything
	received      int   // bytes of the latest page
	backward      bool
	alone         bool // in $all: the event at which a read backward begins, which is read forward
	resolveLinks  bool
	requireLeader bool
}

// everything is more than there can be.
const everything = int64(1<<63 - 1)

// limit bounds the read to n events; 0 is no bound.
func (r *pageRequest) limit(n int64) {
	if n > 0 {
		r.left = n
	}
}

// count is how many events to ask for.
func (r *pageRequest) count() int32 {
	if r.alone {
		return 1
	}
	return int32(min(int64(r.size.now), r.left))
}

// shrink implements shrinkable.
func (r *pageRequest) shrink() (smaller bool) { return r.size.shrink(int(r.count())) }

// take notes that n events were read, and reports whether more are wanted.
func (r *pageRequest) take(n int) (more bool) {
	if r.left != everything {
		r.left -= int64(n)
	}
	return r.left > 0
}

// shrinkable is an operation that can ask for a smaller reply: the read of a page, of a stream or of [AllStream].
type shrinkable interface {
	// shrink has the next attempt ask for less, after the reply to the one before was too large. It returns false if
	// the operation cannot ask for less.
	shrink() (smaller bool)
}

// pageOp is a read that goes on from page to page: of a stream or of $all.
type pageOp interface {
	engine.Operation
	shrinkable
	// turn makes events of the reply and turns to the page that follows; more is false if none is wanted.
	turn() (events []Event, more bool, err error)
	// failed says what was being read.
	failed(err error) error
}

// readPages reads from page to page. Each is asked for when the consumer has come back from the first event of the page
// before: whoever wants only one event makes the server read no second page. No goroutine takes part: a page that
// arrives early waits in op.
func (c *Client) readPages(ctx context.Context, op pageOp, yield func(*Event) bool) error {
	var page pageRead
	defer func() { page.abandon() }()
	for {
		if page.op == nil {
			page.start(ctx, c, op)
		}
		if err := page.finish(); err != nil {
			return op.failed(err)
		}
		events, more, err := op.turn()
		if err != nil {
			return op.failed(err)
		}
		for i := range events {
			if !yield(&events[i]) {
				return nil
			}
			if i == 0 && more {
				page.start(ctx, c, op)
				page.begin(page.ctx, page.op)
			}
		}
		if !more {
			return nil
		}
	}
}

// doPage reads a single page.
func (c *Client) doPage(ctx context.Context, op pageOp) error {
	var page pageRead
	page.start(ctx, c, op)
	return page.finish()
}

// pageRead is the read of one page, which may be begun before the page is needed.
type pageRead struct {
	attempts
	ctx context.Context  // what hooks have made of the caller's
	op  engine.Operation // what hooks have made of it; nil when it has ended
}

func (r *pageRead) start(ctx context.Context, c *Client, op pageOp) {
	r.attempts = attempts{c: c, repetition: reading, shrinks: op}
	r.ctx, r.op = r.observe(ctx, op)
}

func (r *pageRead) finish() error {
	op := r.op
	r.op = nil
	return r.tellEnd(r.ctx, r.perform(r.ctx, op))
}

// abandon ends a read whose page nobody wants any more.
func (r *pageRead) abandon() {
	if r.op == nil {
		return
	}
	r.begun.Cancel()
	_ = r.tellEnd(r.ctx, context.Canceled)
}

// accept refuses a page with more events than were asked for, before memory is taken for them: an empty one has two
// bytes on the wire.
func (r *pageRequest) accept(p *esproto.PageView) error {
	if asked := int(r.count()); p.Len > asked {
		return fmt.Errorf("%w: a page of %d events, asked for were %d", esproto.ErrMalformed, p.Len, asked)
	}
	return nil
}

// pageEvents decodes the events of a page. They alias it.
func pageEvents(p *esproto.PageView, positions, resolved bool) ([]Event, error) {
	events := make([]Event, 0, p.Len)
	var v esproto.EventView
	for {
		more, err := p.NextEvent(&v)
		if err != nil || !more {
			return events, err
		}
		pos := UnknownPosition
		if positions {
			pos = Position{Commit: v.CommitPosition, Prepare: v.PreparePosition}
		}
		events = events[:len(events)+1]
		e := &events[len(events)-1]
		if e.fill(&v, pos); resolved {
			e.markUnresolved()
		}
	}
}
