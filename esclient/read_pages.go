package esclient

import (
	"context"
	"fmt"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/engine"
)

// pageRequest is the common part of page reads.
type pageRequest struct {
	size          pageSize
	left          int64 // how many events to read, or everything
	received      int   // bytes of the latest page
	backward      bool
	alone         bool // in $all: reads the first event of a read backward, which is read forward
	resolveLinks  bool
	requireLeader bool
}

// everything is more than any stream can have.
const everything = int64(1<<63 - 1)

// limit limits the read to n events; 0 is no limit.
func (r *pageRequest) limit(n int64) {
	if n > 0 {
		r.left = n
	}
}

// count returns how many events to request.
func (r *pageRequest) count() int32 {
	if r.alone {
		return 1
	}
	return int32(min(int64(r.size.now), r.left))
}

// shrink implements shrinkable.
func (r *pageRequest) shrink() (smaller bool) { return r.size.shrink(int(r.count())) }

// take notes that n events were read, and reports whether to read more.
func (r *pageRequest) take(n int) (more bool) {
	if r.left != everything {
		r.left -= int64(n)
	}
	return r.left > 0
}

// shrinkable is an operation that can request a smaller reply: the read of a page, of a stream or of [AllStream].
type shrinkable interface {
	// shrink makes the next attempt request less, after a reply that was too large. It returns false if that is not
	// possible.
	shrink() (smaller bool)
}

// pageOp is a read of several pages, of a stream or of $all.
type pageOp interface {
	engine.Operation
	shrinkable
	// turn decodes the events of the reply and turns to the next page; more is false if there is nothing more to read.
	turn() (events []Event, more bool, err error)
	// failed adds the read to an error.
	failed(err error) error
}

// readPages reads pages. It requests the next page when the consumer comes back from the first event of a page, so a
// caller that wants one event causes no second request. It uses no goroutine: a page that arrives early waits in op.
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

// pageRead is the read of one page, which may begin before the page is needed.
type pageRead struct {
	attempts
	ctx context.Context  // the caller's, as changed by hooks
	op  engine.Operation // as wrapped for hooks; nil when it has ended
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

// abandon ends a read whose page is not needed any more.
func (r *pageRead) abandon() {
	if r.op == nil {
		return
	}
	r.begun.Cancel()
	_ = r.tellEnd(r.ctx, context.Canceled)
}

// accept refuses a page with more events than requested, before allocating memory for them: an empty event has two
// bytes in the frame.
func (r *pageRequest) accept(p *esproto.PageView) error {
	if asked := int(r.count()); p.Len > asked {
		return fmt.Errorf("%w: a page of %d events, %d were requested", esproto.ErrMalformed, p.Len, asked)
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
