package esclient

import "time"

const (
	// processingGuess is the assumed time for an event until one was settled.
	processingGuess = 750 * time.Millisecond
	// growAfter is how many events must be settled before the window may grow: to grow, the client subscribes again,
	// and the server counts a retry of the events in flight.
	growAfter = 32
	// maxMargin is how long before its message timeout an event is given back at the latest, or half of the timeout if
	// that is less.
	maxMargin = 5 * time.Second
	// maxRest is the longest time that a subscriber stays away from the group if it cannot settle any event.
	maxRest = 5 * time.Second
	// leastTimeout is the shortest message timeout that is assumed if it is not known.
	leastTimeout = 500 * time.Millisecond
	// serverTick is how often the server looks for events that have timed out.
	serverTick = time.Second
)

// pushLimit limits how many events the server pushes, so that the consumer begins with each of them before the group's
// message timeout, which runs from the push on. It needs the timeout, and a consumer that says when it begins with an
// event.
type pushLimit struct {
	timeout time.Duration // of the group; 0 if it is unknown or practically never
	told    bool          // the timeout is known, and not learnt
	workers int           // how many events the consumer processes at a time; 0 if it does not say when it begins
	most    int           // the largest window
	window  int           // how many events the server may have pushed
	slowest time.Duration // the longest processing time of late
	settled int           // since the window was changed
	futile  int           // how often events were given back since the consumer last settled one

	interested bool // in the timeout, although the consumer does not say when it begins
}

func newPushLimit(o *PersistentOptions) pushLimit {
	p := pushLimit{workers: o.Concurrency, most: o.InFlight, window: o.InFlight, slowest: processingGuess}
	if o.MessageTimeout > 0 {
		p.interested = true
		p.hear(o.MessageTimeout)
	}
	p.window = p.fitting()
	return p
}

// hear sets the message timeout as the options or the server give it. 0 is ignored, since its meaning depends on the
// server's version.
func (p *pushLimit) hear(d time.Duration) {
	switch p.told = d > 0; {
	case !p.told, !p.interested && p.workers == 0: // it is learnt from events that time out
	case d >= MaxMessageTimeout:
		p.timeout = 0
	default:
		p.timeout = d
	}
}

// needsTimes reports whether the times of pushes and beginnings matter, or may matter later. They do not in a group
// that certainly has no timeout.
func (p *pushLimit) needsTimes() bool { return p.timeout > 0 || !p.told || p.window < p.most }

// limits reports whether the pace of the consumer limits the pushes.
func (p *pushLimit) limits() bool { return p.timeout > 0 && p.workers > 0 }

// fitting returns the window with which the last event waits for a quarter of the timeout.
func (p *pushLimit) fitting() int {
	if !p.limits() {
		return p.most
	}
	ahead := min(int64(p.timeout/(4*max(p.slowest, time.Microsecond))), int64(p.most))
	return int(min(int64(p.workers)*(1+ahead), int64(p.most)))
}

// patience is how long an event may wait for the consumer.
func (p *pushLimit) patience() time.Duration { return p.timeout - min(p.timeout/2, maxMargin) }

// tooLate reports whether an event that has waited should be given back instead of begun with. While the consumer
// processes other events, these would be given back as well, so the event stays as long as there is time.
func (p *pushLimit) tooLate(waited time.Duration, working int) bool {
	return waited >= p.patience() || working == 0 && waited > p.timeout/4 && waited+p.slowest*3/2 > p.timeout
}

// took notes that the consumer settled an event after the given time.
func (p *pushLimit) took(d time.Duration) {
	p.futile = 0
	p.settled++
	p.slowest = max(d, p.slowest-p.slowest/16)
}

// mayGrow reports whether a larger window is worth a new subscription.
func (p *pushLimit) mayGrow() bool {
	return p.settled >= growAfter && p.window < p.most && p.fitting() >= min(2*p.window, p.most)
}

func (p *pushLimit) grow() { p.window, p.settled = p.fitting(), 0 }

// shrink follows a wait that was too long. Events that the consumer processes keep their places. It returns how long to
// stay away from the group, unless the consumer settles an event before.
func (p *pushLimit) shrink(working int) (rest time.Duration) {
	p.settled = 0
	switch {
	case working >= p.workers:
		p.window = working
	default:
		p.window = max(working+1, min(p.fitting(), p.window/2))
	}
	p.window = min(max(p.window, 1), p.most)
	if p.futile > 0 {
		rest = min(p.patience()<<min(p.futile-1, 10), maxRest)
	}
	p.futile++
	return rest
}

// learn takes an event that comes again the given time after its push as one that has timed out.
func (p *pushLimit) learn(after time.Duration) {
	if !p.told && after < MaxMessageTimeout {
		d := max(after-serverTick, after/2, leastTimeout)
		if p.timeout == 0 || d < p.timeout {
			p.timeout = d
		}
	}
}

// doubt notes that the group's settings may have been changed.
func (p *pushLimit) doubt() { p.told = false }
