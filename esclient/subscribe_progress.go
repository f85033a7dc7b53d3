package esclient

import (
	"sync"
	"sync/atomic"
)

// progress is how far a subscription has got, for any goroutine to read. The goroutine that calls Next writes it.
type progress struct {
	all bool // the stream is AllStream

	// Of a stream: event numbers, which take no lock; -1 before any.
	dealtNumber, deliveredNumber atomic.Int64

	mu               sync.Mutex
	dealt, delivered Position // of AllStream; UnknownPosition before any
}

func (p *progress) init(all bool) {
	p.all = all
	p.dealtNumber.Store(-1)
	p.deliveredNumber.Store(-1)
	p.dealt, p.delivered = UnknownPosition, UnknownPosition
}

// publish tells that everything up to the cursor is dealt with.
func (p *progress) publish(c *cursor) {
	if !p.all {
		p.deliveredNumber.Store(c.number)
		p.dealtNumber.Store(c.number)
		return
	}
	p.mu.Lock()
	p.dealt, p.delivered = c.passed, c.passed
	p.mu.Unlock()
}

// deliver tells that the event at the cursor is being delivered.
func (p *progress) deliver(c *cursor) {
	if !p.all {
		p.deliveredNumber.Store(c.number)
		return
	}
	p.mu.Lock()
	p.delivered = c.passed
	p.mu.Unlock()
}

// Checkpoint returns how far the subscription has got: all events up to there were delivered and, since Next was called
// again, dealt with; or they do not pass the filter, or are not in the stream any more. Another subscription that
// begins at its Start goes on from there. It is zero before the first event of a subscription that began at the
// beginning, and after the log went back; see CatchUpOptions.StartOver.
//
// With a filter that picks few events it moves on nevertheless, while Next waits: about every Filter.CheckpointInterval
// events that the server has looked at. So it is worth keeping by a timer.
func (s *Subscription) Checkpoint() Checkpoint {
	p := &s.progress
	if !p.all {
		return checkpointOfNumber(p.dealtNumber.Load())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return checkpointOfPosition(p.dealt)
}

// Delivered returns how far Next has delivered: what Checkpoint returns and, if Next has returned an event and was not
// called again, that event. Only a consumer that has dealt with the event may keep it.
func (s *Subscription) Delivered() Checkpoint {
	p := &s.progress
	if !p.all {
		return checkpointOfNumber(p.deliveredNumber.Load())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return checkpointOfPosition(p.delivered)
}

func checkpointOfNumber(n int64) Checkpoint {
	if n < 0 {
		return Checkpoint{}
	}
	return CheckpointAtNumber(n)
}

func checkpointOfPosition(p Position) Checkpoint {
	if p == UnknownPosition {
		return Checkpoint{}
	}
	return CheckpointAtPosition(p)
}
