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
	// workAhead is how much work the server may push ahead, if the group has no message timeout. It covers a round trip
	// to the server. More would take events away from other subscribers.
	workAhead = 200 * time.Millisecond
)

// pushLimit limits how many events the server pushes, so that the consumer begins with each of them before the group's
// message timeout, which runs from the push on. It needs the timeout, and a consumer that says when it begins with an
// event. It also limits the bytes in flight, by the size of the events of late.
type pushLimit struct {
	timeout time.Duration // of the group; 0 if it is unknown or practically never
	told    bool          // the timeout is known, and not learnt
	workers int           // how many events the consumer processes at a time; 0 if it does not say when it begins
	most    int           // the largest window
	first   int           // the largest window of a new connection
	window  int           // how many events the server may have pushed
	filled  bool          // the server has pushed half of the window without an ack in between, so it may have more
	slowest time.Duration // the longest processing time of late
	settled int           // since the window was changed
	pace    time.Duration // the mean processing time of late; 0 if none is known
	bytes   int64         // the limit of all events in flight
	largest int64         // the largest event of late, in bytes
	futile  int           // how often events were given back since the consumer last settled one

	interested bool // in the timeout, although the consumer does not say when it begins
}

func newPushLimit(o *PersistentOptions) pushLimit {
	p := pushLimit{
		workers: o.Concurrency, most: o.InFlight, first: o.InFlight, bytes: int64(o.InFlightBytes),
		slowest: processingGuess,
	}
	if o.InFlightAtFirst > 0 {
		p.first = o.InFlightAtFirst
	}
	if o.MessageTimeout > 0 {
		p.interested = true
		p.hear(o.MessageTimeout)
	}
	p.window = min(p.fitting(), p.first)
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

// fitting returns the window with which the last event waits for a quarter of the timeout, or without a timeout for
// workAhead. Events of the latest sizes fit into it.
func (p *pushLimit) fitting() int {
	wait, each, most := workAhead, p.pace, p.room()
	if p.limits() {
		wait, each = p.timeout/4, p.slowest
	}
	ahead := min(int64(wait/max(each, time.Microsecond)), int64(most))
	return int(min(int64(max(p.workers, 1))*(1+ahead), int64(most)))
}

// room returns the window that events of the latest sizes fit into.
func (p *pushLimit) room() int {
	if p.largest == 0 {
		return p.most
	}
	return int(min(max(p.bytes/p.largest, 1), int64(p.most)))
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
	if p.pace == 0 {
		p.pace = d
	}
	p.pace += (d - p.pace) / 16
}

// sized notes the size of an event.
func (p *pushLimit) sized(bytes int64) { p.largest = max(bytes, p.largest-p.largest/64) }

// pushed notes how many events are in flight after a push.
func (p *pushLimit) pushed(inFlight int) { p.filled = p.filled || 2*inFlight >= p.window }

// mayGrow reports whether a larger window is worth a new subscription.
func (p *pushLimit) mayGrow() bool {
	more := p.limits() || p.filled
	return more && p.settled >= growAfter && p.window < p.most && p.fitting() >= min(2*p.window, p.most)
}

func (p *pushLimit) grow() { p.resize(p.fitting()) }

func (p *pushLimit) resize(window int) { p.window, p.settled, p.filled = window, 0, false }

// restart follows the end of a connection. A window that was large enough for small events can be too large for those
// that come next: with 10 MiB waiting to be sent, servers close the connection.
func (p *pushLimit) restart() { p.resize(min(p.window, p.first, p.room())) }

// overflows reports whether an event does not fit beside held ones of so many bytes. The events that the consumer works
// on, or a single one, always fit.
func (p *pushLimit) overflows(bytes int64, e *Event, working int) bool {
	return bytes > 0 && bytes+weight(e) > p.bytes && p.window > max(working, 1)
}

// narrow follows an overflow.
func (p *pushLimit) narrow(working int) { p.resize(max(working, 1, min(p.window/2, p.room()))) }

// shrink follows a wait that was too long. Events that the consumer processes keep their places. It returns how long to
// stay away from the group, unless the consumer settles an event before.
func (p *pushLimit) shrink(working int) (rest time.Duration) {
	p.settled, p.filled = 0, false
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
