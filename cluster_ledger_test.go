package eventstore_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// post is one message: the n-th of a publisher.
type post struct{ publisher, n int }

func (p post) payload() string { return fmt.Sprintf("%d %d", p.publisher, p.n) }

func parsePost(payload []byte) (p post, err error) {
	_, err = fmt.Sscanf(string(payload), "%d %d", &p.publisher, &p.n)
	return p, err
}

// ledger records the results of publishers and the messages of consumers.
type ledger struct {
	mu         sync.Mutex
	published  int           // Publish calls
	unknown    map[post]int  // calls that ended with ErrOutcomeUnknown
	unwritten  int           // calls that failed otherwise: nothing was written
	confirmed  map[post]bool // Publish returned nil
	groups     []*groupLedger
	elections  int
	since      []time.Time // of each publisher: of the election after which it has not confirmed anything yet
	recoveries []time.Duration
}

// groupLedger records the messages that the consumers of one group received.
type groupLedger struct {
	name      string
	consumers int
	consumed  int
	again     int              // deliveries of an event that was delivered before
	numbers   map[post][]int64 // the events that each message was written as
	last      map[int]int      // of each publisher, the highest message so far
	reordered int              // messages that came for the first time, but behind a later one of the same publisher
}

func newLedger(publishers int, consumers []int) *ledger {
	l := &ledger{unknown: make(map[post]int), confirmed: make(map[post]bool), since: make([]time.Time, publishers)}
	for i, n := range consumers {
		l.groups = append(l.groups, &groupLedger{
			name: fmt.Sprintf("group-%d", i), consumers: n, numbers: make(map[post][]int64), last: make(map[int]int),
		})
	}
	return l
}

// confirm records that a message is written.
func (l *ledger) confirm(p post) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published++
	l.confirmed[p] = true
	if since := l.since[p.publisher]; !since.IsZero() {
		l.recoveries = append(l.recoveries, now.Sub(since))
		l.since[p.publisher] = time.Time{}
	}
}

// fail records a Publish call that returned an error.
func (l *ledger) fail(p post, unknown bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.published++
	if unknown {
		l.unknown[p]++
	} else {
		l.unwritten++
	}
}

// elected records that the cluster has a new leader: from now on each publisher recovers.
func (l *ledger) elected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.elections++
	for i := range l.since {
		l.since[i] = time.Now()
	}
}

// consume records that a consumer of a group received a message, as event number of the stream.
func (l *ledger) consume(g *groupLedger, p post, number int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g.consumed++
	known := g.numbers[p]
	if slices.Contains(known, number) {
		g.again++
		return
	}
	g.numbers[p] = append(known, number)
	if last, ok := g.last[p.publisher]; len(known) == 0 && ok && p.n < last {
		g.reordered++
	} else {
		g.last[p.publisher] = max(last, p.n)
	}
}

// missing counts confirmed messages that a group has not consumed.
func (l *ledger) missing() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.groups {
		for p := range l.confirmed {
			if len(g.numbers[p]) == 0 {
				n++
			}
		}
	}
	return n
}

// summary has the results of a ledger.
type summary struct {
	published, confirmed, unknown, unwritten int

	consumed  int
	again     int // delivered more than once, because an ack was lost
	twice     int // written more than once, because it was published again after an unknown outcome
	unasked   int // written more than once although the outcome was never unknown
	phantoms  int // consumed although each Publish call returned that it was not written
	lost      int
	reordered int // in groups of one consumer

	elections int
	p50, p99  time.Duration
}

func (l *ledger) summary() summary {
	lost := l.missing()
	l.mu.Lock()
	defer l.mu.Unlock()
	v := summary{
		published: l.published, confirmed: len(l.confirmed), unwritten: l.unwritten, lost: lost, elections: l.elections,
	}
	for _, n := range l.unknown {
		v.unknown += n
	}
	for _, g := range l.groups {
		v.consumed += g.consumed
		v.again += g.again
		if g.consumers == 1 {
			v.reordered += g.reordered
		}
		for p, numbers := range g.numbers {
			switch maybe := l.unknown[p] > 0; {
			case len(numbers) > 1 && maybe:
				v.twice++
			case len(numbers) > 1:
				v.unasked++
			case !maybe && !l.confirmed[p]:
				v.phantoms++
			}
		}
	}
	v.p50, v.p99 = percentile(l.recoveries, 50), percentile(l.recoveries, 99)
	return v
}

func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(d), cmp.Compare)
	return sorted[(len(sorted)-1)*p/100]
}

// String formats the summary as a table.
func (v summary) String() string {
	var b strings.Builder
	for _, row := range []struct {
		name  string
		value any
	}{
		{"Publish calls", v.published},
		{"confirmed", v.confirmed}, {"outcome unknown", v.unknown}, {"not written", v.unwritten},
		{"consumed, by all groups", v.consumed},
		{"duplicates: ack lost", v.again}, {"duplicates: written twice", v.twice},
		{"duplicates: without a reason", v.unasked}, {"never written, and yet consumed", v.phantoms}, {"lost", v.lost},
		{"reordered", v.reordered}, {"elections", v.elections},
		{"recovery p50", v.p50.Round(time.Millisecond)}, {"recovery p99", v.p99.Round(time.Millisecond)},
	} {
		fmt.Fprintf(&b, "\n%-32s %12v", row.name, row.value)
	}
	return b.String()
}
