package esclient

import "time"

const (
	// paceGuess is what an event is taken to need until one was settled.
	paceGuess = 750 * time.Millisecond
	// paceSettled is how many events are settled before the window may grow: the server counts a retry of what it
	// pushes meanwhile.
	paceSettled = 32
	// maxMargin is how long before its message timeout an event is given back at the latest; half of the timeout if
	// that is less.
	maxMargin = 5 * time.Second
	// maxRest is how long a subscriber stays away from the group that gets on with nothing.
	maxRest = 5 * time.Second
	// leastTimeout is the shortest that a message timeout is taken for that nobody has told.
	leastTimeout = 500 * time.Millisecond
	// serverTick is how often the server looks for what has timed out.
	serverTick = time.Second
)

// pace has a subscriber of a group be pushed no more than its consumer gets round to before the group's message
// timeout, which runs from the push on. It has no meaning without a timeout, and sets no window for a consumer that
// does not say when it begins with an event.
type pace struct {
	timeout time.Duration // of the group; 0 if it is not known or practically never
	told    bool          // and not learnt
	workers int           // how many events the consumer works on at a time; 0 if it does not say when it begins
	most    int           // the largest window
	window  int           // how many events the server may have pushed
	slowest time.Duration // that an event took lately, from its beginning on
	settled int           // since the window was changed
	futile  int           // how often events were given back since the consumer got on

	interested bool // in being told, though the consumer does not say when it begins
}

func newPace(o *PersistentOptions) pace {
	p := pace{workers: o.Concurrency, most: o.InFlight, window: o.InFlight, slowest: paceGuess}
	if o.MessageTimeout > 0 {
		p.interested = true
		p.hear(o.MessageTimeout)
	}
	p.window = p.fitting()
	return p
}

// hear takes the message timeout as somebody tells it who knows; 0 means different things by the server's version.
func (p *pace) hear(d time.Duration) {
	switch p.told = d > 0; {
	case !p.told, !p.interested && p.workers == 0: // it is learnt where it is felt
	case d >= MaxMessageTimeout:
		p.timeout = 0
	default:
		p.timeout = d
	}
}

// needsTimes reports whether anything depends on when events were pushed and begun with, or may depend on it later. It
// does not in a group of which it was told that nothing times out.
func (p *pace) needsTimes() bool { return p.timeout > 0 || !p.told || p.window < p.most }

// limits reports whether the pace of the consumer says how much may be pushed.
func (p *pace) limits() bool { return p.timeout > 0 && p.workers > 0 }

// fitting is the window with which the last event waits for a quarter of the timeout.
func (p *pace) fitting() int {
	if !p.limits() {
		return p.most
	}
	ahead := min(int64(p.timeout/(4*max(p.slowest, time.Microsecond))), int64(p.most))
	return int(min(int64(p.workers)*(1+ahead), int64(p.most)))
}

// patience is how long an event may wait for the consumer.
func (p *pace) patience() time.Duration { return p.timeout - min(p.timeout/2, maxMargin) }

// tooLate reports whether an event that has waited should be given back instead of begun with. While the consumer works
// on others, those would be given back with it: then it is not, as long as there is time.
func (p *pace) tooLate(waited time.Duration, working int) bool {
	return waited >= p.patience() || working == 0 && waited > p.timeout/4 && waited+p.slowest*3/2 > p.timeout
}

// took notes that an event was settled, that long after the consumer had begun with it.
func (p *pace) took(d time.Duration) {
	p.futile = 0
	p.settled++
	p.slowest = max(d, p.slowest-p.slowest/16)
}

// mayGrow reports whether a larger window is worth that the server is asked for it.
func (p *pace) mayGrow() bool {
	return p.settled >= paceSettled && p.window < p.most && p.fitting() >= min(2*p.window, p.most)
}

func (p *pace) grow() { p.window, p.settled = p.fitting(), 0 }

// shrink follows a wait that was too long. The consumer works on some events, which keep their places. It returns how
// long to stay away from the group, unless the consumer gets on before.
func (p *pace) shrink(working int) (rest time.Duration) {
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

// learn takes an event that comes again that long after it was pushed for one that has timed out.
func (p *pace) learn(after time.Duration) {
	if !p.told && after < MaxMessageTimeout {
		d := max(after-serverTick, after/2, leastTimeout)
		if p.timeout == 0 || d < p.timeout {
			p.timeout = d
		}
	}
}

// doubt notes that the group's settings may have been changed.
func (p *pace) doubt() { p.told = false }
