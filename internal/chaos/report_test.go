package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// The ways in which a promise can be broken.
const (
	lost          = "reported written, and not in the log"
	phantom       = "reported not written, and in the log"
	doubled       = "written twice, which no server that forgot its id explains"
	torn          = "messages of one append that are apart"
	missed        = "never handed out"
	again         = "handed out again after the ack"
	disordered    = "out of order"
	leftover      = "subscribers in a group without a client"
	endedEarly    = "subscriptions that ended by themselves"
	refused       = "Subscribe or Publish calls that failed for no reason"
	parkedUnasked = "parked without a request"
	stuckOpen     = "subscriptions to a deleted stream that did not end"
	unlisted      = "PublishErrors whose lists are not the messages of the call"
	unheard       = "acks and nacks that the server has not heard of"
	unparked      = "to be parked, and neither parked nor acked"
	passed        = "handed out although a checkpoint behind them was saved"
	beyond        = "checkpoints beyond a message that was not settled"
	forgotten     = "checkpoints before one that was saved already"
	unsaved       = "checkpoints that were not saved, with no fault left"
	unfenced      = "names of checkpoints that two processes used"
	idle          = "writers, groups and readers that did nothing"
)

var broken = []string{
	lost, phantom, doubled, torn, missed, again, disordered, leftover, endedEarly, refused,
	parkedUnasked, stuckOpen, unlisted, unheard, unparked,
	passed, beyond, forgotten, unsaved, unfenced, idle,
}

// report counts the results and keeps the first examples of broken promises.
type report struct {
	started time.Time

	mu       sync.Mutex
	counts   map[string]int
	examples map[string][]string
	history  []string // the latest faults
}

const (
	keepExamples = 5
	keepHistory  = 12
)

func newReport() *report {
	return &report{started: time.Now(), counts: make(map[string]int), examples: make(map[string][]string)}
}

func (r *report) count(what string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what] += n
}

// fault notes a fault, for the examples that follow.
func (r *report) fault(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts["faults"]++
	r.counts["fault: "+name]++
	r.history = append(r.history, fmt.Sprintf("%v %s", r.since(time.Now()), name))
	if len(r.history) > keepHistory {
		r.history = r.history[1:]
	}
}

// since returns the time of the round at some moment.
func (r *report) since(moment time.Time) time.Duration {
	return moment.Sub(r.started).Round(time.Millisecond)
}

// breach records a broken promise.
func (r *report) breach(what, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[what]++
	if len(r.examples[what]) < keepExamples {
		r.examples[what] = append(r.examples[what], fmt.Sprintf("at %v: %s; faults before: %s",
			r.since(time.Now()), fmt.Sprintf(format, args...), strings.Join(r.history, ", ")))
	}
}

// breaches counts the broken promises.
func (r *report) breaches() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, what := range broken {
		n += r.counts[what]
	}
	return n
}

// add adds the counts of another report.
func (r *report) add(other *report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for what, n := range other.counts {
		r.counts[what] += n
	}
}

// String returns the report as a table, broken promises first.
func (r *report) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, what := range broken {
		fmt.Fprintf(&b, "\n%-56s %9d", what, r.counts[what])
		for _, e := range r.examples[what] {
			fmt.Fprintf(&b, "\n    %s", e)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(r.counts)) {
		if !slices.Contains(broken, what) {
			fmt.Fprintf(&b, "\n%-56s %9d", what, r.counts[what])
		}
	}
	return b.String()
}
