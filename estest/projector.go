package estest

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// projector runs the projections of a core, as far as that leads. It remembers how far each has come; all else stands
// in the log, so that whoever leads next goes on where the last one stopped. The lock of the core guards it.
type projector struct {
	log     *eventLog
	ready   func() bool   // whether the server lets it write
	tell    func()        // called when a projection gets on
	list    []*projection // in the order of their registration
	running bool          // it has what the log says, and may write
	held    bool
	enabled bool          // this process has enabled the standard projections
	wake    chan struct{} // has something when there may be something to do
	left    int           // records in the log after the last step
	checked *record       // the last one whose JSON was looked at
	valid   bool          // what came of that

	emitting    *record // the last one of which a projection made something
	correlation string  // what is said of its correlation there
}

func newProjector(l *eventLog, ready func() bool, tell func()) *projector {
	return &projector{log: l, ready: ready, tell: tell, wake: make(chan struct{}, 1)}
}

// Running reports whether the projections go on from what the log says: they do on the node that leads.
func (p *projector) Running() bool { return p.running }

// All returns the projections in the order of their registration.
func (p *projector) All() []*projection { return p.list }

// Wake returns a channel that has something when there may be something to do for Step.
func (p *projector) Wake() <-chan struct{} { return p.wake }

// Hold has the projections write nothing until they are not held any more.
func (p *projector) Hold(held bool) {
	p.held = held
	p.signal()
}

// observe observes the log.
func (p *projector) observe(made commit) {
	if made.stream != nil {
		p.signal()
	}
}

// signal has the projections look for something to do, if this node runs any.
func (p *projector) signal() {
	if p == nil || !p.running {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// start has the projections go on from what the log says. What the log lacks of them is written first.
func (p *projector) start() {
	if p == nil {
		return
	}
	p.running = true
	p.list = nil
	p.register()
	for _, pr := range p.list {
		if !p.enabled && pr.standard != nil && !pr.state.Enabled {
			pr.state.Enabled = true
			pr.save()
		}
		if pr.state.Enabled {
			pr.begin()
		}
	}
	p.enabled = true
	p.signal()
}

// stop ends the projections where they are.
func (p *projector) stop() {
	if p == nil {
		return
	}
	p.running, p.list = false, nil
}

// forget is stop where the process ends.
func (p *projector) forget() {
	if p == nil {
		return
	}
	p.stop()
	p.enabled = false
}

// A step is short, and comes a while after the last one where others write meanwhile, so that nobody waits long for the
// lock that it holds.
const (
	recordsAStep = 8
	betweenSteps = 300 * time.Microsecond
)

// step lets each projection look at the next records. It reports whether there are more, and whether others have
// written since the last step.
func (p *projector) step() (more, busy bool) {
	if p.held || !p.running || !p.ready() {
		return false, false
	}
	busy = len(p.log.records) != p.left
	defer func() { p.left = len(p.log.records) }()
	for range recordsAStep {
		more = false
		for _, pr := range p.list {
			more = pr.advance() || more
		}
		if !more {
			break
		}
	}
	p.tell()
	return more, busy
}

// caughtUp reports whether the projections have seen all that is for them before a place in the log.
func (p *projector) caughtUp(end int64) bool {
	return p.running && !slices.ContainsFunc(p.list, func(pr *projection) bool { return pr.isBehind(end) })
}

func (pr *projection) isBehind(end int64) bool {
	if pr.status != statusRunning {
		return false
	}
	for _, r := range pr.log.records[pr.next:] {
		if r.commit >= end {
			return false
		}
		if pr.sees(r) {
			return true
		}
	}
	return false
}

// find returns a projection by its name; nil if there is none.
func (p *projector) find(name string) *projection {
	for _, pr := range p.list {
		if pr.name == name {
			return pr
		}
	}
	return nil
}

// isValid reports whether projections may see an event.
func (p *projector) isValid(r *record) bool {
	if !r.json || !p.log.facts.HidesInvalidJSON {
		return true
	}
	if p.checked != r {
		p.checked, p.valid = r, json.Valid(r.data)
	}
	return p.valid
}

// correlationOf is the member that tells, in the metadata of what projections make of an event, to what that belongs;
// empty if the event does not say. Several projections ask for one event in a row.
func (p *projector) correlationOf(r *record) string {
	if p.emitting != r {
		p.emitting, p.correlation = r, ""
		if !r.json {
			return ""
		}
		if id := stringMember(r.metadata, correlationMember); id != "" {
			p.correlation = `,"` + correlationMember + `":` + quoted(id)
		}
	}
	return p.correlation
}

// projectionStatus is what a projection does, in the words of the server.
type projectionStatus string

const (
	statusRunning projectionStatus = "Running"
	statusStopped projectionStatus = "Stopped"
	statusAborted projectionStatus = "Aborted"
	statusFaulted projectionStatus = "Faulted"
)

// projection is one that is registered.
type projection struct {
	projector *projector
	log       *eventLog
	name      string
	id        int64               // the number of its registration
	standard  *standardProjection // nil for one that this server cannot run
	settings  projectionSettings
	state     projectionState // as it stands in the log

	status     projectionStatus
	reason     string   // of a fault
	next       int      // index in the log of what it looks at next
	at         position // of the last event that it saw
	checkpoint position // of its last checkpoint
	resumed    int64    // where the log ended when it was started
	seen       int      // events since it was started
	unmarked   int      // events since its last checkpoint
	skippedAt  int64    // where it began to pass over what it does not see; -1 if it has seen nothing yet
	busy       time.Duration
	version    string // in the metadata of what it writes
}

// zeroPosition is where a projection begins.
var zeroPosition = position{0, -1}

// begin starts a projection behind its last checkpoint. What it has written since then it recognises.
func (pr *projection) begin() {
	if pr.standard == nil {
		pr.status = statusStopped
		return
	}
	l := pr.log
	var problem string
	if pr.settings, problem = pr.standard.source(pr.state.Query); problem != "" {
		pr.fault(problem)
		return
	}
	pr.status, pr.reason, pr.version = statusRunning, "", pr.state.tagVersion(pr.id)
	pr.checkpoint = pr.loadCheckpoint()
	pr.at, pr.seen, pr.unmarked, pr.skippedAt, pr.busy = pr.checkpoint, 0, 0, -1, 0
	pr.next, pr.resumed = l.indexFrom(position{pr.at.commit, pr.at.prepare + 1}), l.end
	pr.noteCheckpoint()
	pr.projector.signal()
}

// halt stops a projection that runs.
func (pr *projection) halt(status projectionStatus) {
	pr.status = status
	pr.projector.tell() // nobody waits for it any more
}

func (pr *projection) fault(reason string) {
	pr.log.logger.Warn("a projection faulted", "projection", pr.name, "reason", reason)
	pr.reason = reason
	pr.halt(statusFaulted)
}

// advance looks at the next record. It reports whether there was one.
func (pr *projection) advance() bool {
	if pr.status != statusRunning || pr.next >= len(pr.log.records) {
		return false
	}
	r := pr.log.records[pr.next]
	pr.next++
	if pr.sees(r) {
		began := time.Now()
		pr.process(r)
		pr.busy += time.Since(began)
	} else {
		pr.pass(r)
	}
	return true
}

// sees reports whether an event is one for this projection.
func (pr *projection) sees(r *record) bool {
	name := r.stream.name
	if strings.HasPrefix(name, "$") && (!isMetastream(name) || strings.HasPrefix(name[2:], "$")) {
		return false
	}
	return (pr.standard.links || r.typ != linkType) && pr.projector.isValid(r)
}

// process writes what the projection makes of an event.
func (pr *projection) process(r *record) {
	if e, ok := pr.standard.emit(&pr.settings, r); ok && !pr.emit(r, &e) {
		return
	}
	pr.at, pr.skippedAt = r.position(), r.prepare
	pr.seen++
	pr.unmarked++
	if most := pr.state.CheckpointHandledThreshold; most > 0 && pr.unmarked >= most {
		pr.mark()
	}
}

// pass notes an event that the projection does not see. After many of them it writes a checkpoint.
func (pr *projection) pass(r *record) {
	if pr.skippedAt < 0 {
		pr.skippedAt = r.prepare
	}
	most := pr.state.CheckpointUnhandledBytesThreshold
	if most > 0 && r.prepare-pr.skippedAt > most && pr.checkpoint.before(pr.at) {
		pr.skippedAt = r.prepare
		pr.mark()
	}
}
