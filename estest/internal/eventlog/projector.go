package eventlog

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Projector runs the projections of a server that leads. It remembers only the progress of each projection. All else is
// in the log, so the next leader continues from there. The lock of the log guards a Projector. A server without
// projections has a nil Projector.
type Projector struct {
	log     *Log
	ready   func() bool   // whether it may write
	tell    func()        // called when a projection gets on
	list    []*Projection // in the order of their registration
	running bool          // has read its state from the log, and may write
	held    bool
	enabled bool          // this process has enabled the standard projections
	wake    chan struct{} // has something when there may be something to do
	left    int           // records in the log after the last step
	checked *Record       // the last one whose JSON was looked at
	valid   bool          // result of the check

	emitting    *Record // the last one of which a projection made something
	correlation string  // $correlationId of that event
}

// NewProjector returns a projector that does not run. It asks ready whether it may write at the moment, and calls tell
// when a projection gets on; both are called with the lock of the log held.
func NewProjector(l *Log, ready func() bool, tell func()) *Projector {
	return &Projector{log: l, ready: ready, tell: tell, wake: make(chan struct{}, 1)}
}

// Running reports whether the projections run: they do on the leader.
func (p *Projector) Running() bool { return p.running }

// All returns the projections in the order of their registration.
func (p *Projector) All() []*Projection { return p.list }

// Wake returns a channel that has a value when Step may have something to do.
func (p *Projector) Wake() <-chan struct{} { return p.wake }

// Hold stops all writes of the projections, or resumes them.
func (p *Projector) Hold(held bool) {
	p.held = held
	p.Signal()
}

// Observe observes the log.
func (p *Projector) Observe(made Commit) {
	if made.Stream != nil {
		p.Signal()
	}
}

// Signal wakes the projections, if this node runs any.
func (p *Projector) Signal() {
	if p == nil || !p.running {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Start runs the projections from the state in the log. It writes the projections first that the log lacks.
func (p *Projector) Start() {
	if p == nil {
		return
	}
	p.running = true
	p.list = nil
	p.register()
	for _, pr := range p.list {
		if !p.enabled && pr.standard != nil && !pr.State.Enabled {
			pr.State.Enabled = true
			pr.Save()
		}
		if pr.State.Enabled {
			pr.begin()
		}
	}
	p.enabled = true
	p.Signal()
}

// Stop stops the projections at their present position.
func (p *Projector) Stop() {
	if p == nil {
		return
	}
	p.running, p.list = false, nil
}

// Forget is Stop at the end of a process.
func (p *Projector) Forget() {
	if p == nil {
		return
	}
	p.Stop()
	p.enabled = false
}

// BetweenSteps is the pause from one Step to the next while other writers are active. A step is short, too, so that
// they do not wait long for the lock.
const BetweenSteps = 300 * time.Microsecond

const recordsAStep = 8

// Step makes each projection process the next records. It reports whether there are more, and whether another writer
// wrote since the last step.
// written since the last step.
func (p *Projector) Step() (more, busy bool) {
	if p.held || !p.running || !p.ready() {
		return false, false
	}
	busy = p.log.records.Len() != p.left
	defer func() { p.left = p.log.records.Len() }()
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

// CaughtUp reports whether the projections have processed every event before a place in the log.
func (p *Projector) CaughtUp(end int64) bool {
	return p.running && !slices.ContainsFunc(p.list, func(pr *Projection) bool { return pr.isBehind(end) })
}

func (pr *Projection) isBehind(end int64) bool {
	if pr.status != statusRunning {
		return false
	}
	for _, r := range pr.log.records.From(pr.next) {
		if r.Commit >= end {
			return false
		}
		if pr.sees(r) {
			return true
		}
	}
	return false
}

// Find returns the projection of a name; nil without one.
func (p *Projector) Find(name string) *Projection {
	for _, pr := range p.list {
		if pr.Name == name {
			return pr
		}
	}
	return nil
}

// isValid reports whether projections may see an event.
func (p *Projector) isValid(r *Record) bool {
	if !r.JSON || !p.log.facts.HidesInvalidJSON {
		return true
	}
	if p.checked != r {
		p.checked, p.valid = r, json.Valid(r.Data())
	}
	return p.valid
}

// correlationOf returns the member for the correlation id of an event, for the metadata of emitted events. It is empty
// if the event has none. Several projections ask for the same event in a row.
func (p *Projector) correlationOf(r *Record) string {
	if p.emitting != r {
		p.emitting, p.correlation = r, ""
		if !r.JSON {
			return ""
		}
		if id := stringMember(r.Metadata(), correlationMember); id != "" {
			p.correlation = `,"` + correlationMember + `":` + quoted(id)
		}
	}
	return p.correlation
}

// projectionStatus is the status of a projection, in the words of the server.
type projectionStatus string

const (
	statusRunning projectionStatus = "Running"
	statusStopped projectionStatus = "Stopped"
	statusAborted projectionStatus = "Aborted"
	statusFaulted projectionStatus = "Faulted"
)

// Projection is a registered projection.
type Projection struct {
	projector *Projector
	log       *Log
	Name      string
	id        int64               // the number of its registration
	standard  *standardProjection // nil for one that this server cannot run
	settings  projectionSettings
	State     ProjectionState // as it stands in the log

	status     projectionStatus
	reason     string   // of a fault
	next       int      // index in the log of its next record
	at         Position // of the last event that it saw
	checkpoint Position // of its last checkpoint
	resumed    int64    // end of the log when it was started
	seen       int      // events since it was started
	unmarked   int      // events since its last checkpoint
	skippedAt  int64    // start of a run of records that it ignores; -1 before the first event
	busy       time.Duration
	version    string // version in the metadata of its events
}

// zeroPosition is the start position of a projection.
var zeroPosition = Position{0, -1}

// begin starts a projection behind its last checkpoint. It recognises the events that it has written since then.
func (pr *Projection) begin() {
	if pr.standard == nil {
		pr.status = statusStopped
		return
	}
	l := pr.log
	var problem string
	if pr.settings, problem = pr.standard.source(pr.State.Query); problem != "" {
		pr.fault(problem)
		return
	}
	pr.status, pr.reason, pr.version = statusRunning, "", pr.State.tagVersion(pr.id)
	pr.checkpoint = pr.loadCheckpoint()
	pr.at, pr.seen, pr.unmarked, pr.skippedAt, pr.busy = pr.checkpoint, 0, 0, -1, 0
	pr.next, pr.resumed = l.IndexFrom(Position{pr.at.Commit, pr.at.Prepare + 1}), l.end
	pr.noteCheckpoint()
	pr.projector.Signal()
}

// halt stops a projection that runs.
func (pr *Projection) halt(status projectionStatus) {
	pr.status = status
	pr.projector.tell() // no call waits for it any more
}

func (pr *Projection) fault(reason string) {
	pr.log.logger.Warn("a projection faulted", "projection", pr.Name, "reason", reason)
	pr.reason = reason
	pr.halt(statusFaulted)
}

// advance looks at the next record. It reports whether there was one.
func (pr *Projection) advance() bool {
	if pr.status != statusRunning || pr.next >= pr.log.records.Len() {
		return false
	}
	r := pr.log.records.At(pr.next)
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

// sees reports whether a projection processes an event.
func (pr *Projection) sees(r *Record) bool {
	name := r.Stream.Name
	if strings.HasPrefix(name, "$") && (!isMetastream(name) || strings.HasPrefix(name[2:], "$")) {
		return false
	}
	return (pr.standard.links || r.Type != LinkType) && pr.projector.isValid(r)
}

// process writes the event that the projection makes of r, if it makes one.
func (pr *Projection) process(r *Record) {
	if e, ok := pr.standard.emit(&pr.settings, r); ok && !pr.emit(r, &e) {
		return
	}
	pr.at, pr.skippedAt = r.Position(), r.Prepare
	pr.seen++
	pr.unmarked++
	if most := pr.State.CheckpointHandledThreshold; most > 0 && pr.unmarked >= most {
		pr.mark()
	}
}

// pass counts an event that the projection does not process. After many of them it writes a checkpoint.
func (pr *Projection) pass(r *Record) {
	if pr.skippedAt < 0 {
		pr.skippedAt = r.Prepare
	}
	most := pr.State.CheckpointUnhandledBytesThreshold
	if most > 0 && r.Prepare-pr.skippedAt > most && pr.checkpoint.before(pr.at) {
		pr.skippedAt = r.Prepare
		pr.mark()
	}
}
