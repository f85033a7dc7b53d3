package esclient

import (
	"sync"
	"sync/atomic"
)

// progress is the progress of a subscription, for any goroutine to read. The goroutine that calls Next writes it.
type progress struct {
	all bool // the stream is AllStream

	// Event numbers of a stream, without a lock; -1 before any.
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

// publish notes that all events up to the cursor are processed.
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

// deliver notes that the event at the cursor is being delivered.
func (p *progress) deliver(c *cursor) {
	if !p.all {
		p.deliveredNumber.Store(c.number)
		return
	}
	p.mu.Lock()
	p.delivered = c.passed
	p.mu.Unlock()
}

// Checkpoint returns how far the consumer has got. Next has delivered all events up to there and has been called again,
// so that the consumer has processed them. Events that the filter does not pick and events that are deleted count as
// processed. Another subscription that begins at the Checkpoint's Start goes on from there. Checkpoint is zero before
// the first event of a subscription that began at the beginning, and after the log went back; see
// CatchUpOptions.StartOver.
//
// With a filter Checkpoint also moves while Next waits, about every Filter.CheckpointInterval events that the server
// has looked at. So it is useful to save it by a timer.
func (s *Subscription) Checkpoint() Checkpoint {
	p := &s.progress
	if !p.all {
		return checkpointOfNumber(p.dealtNumber.Load())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return checkpointOfPosition(p.dealt)
}

// Delivered returns how far Next has delivered. It is ahead of Checkpoint by the event that Next has returned last,
// until Next is called again. Only a consumer that has processed this event may save it.
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
