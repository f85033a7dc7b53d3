package estest

import (
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// enable starts a projection; it makes up for what was written while it was disabled. As the other commands, it reports
// whether the projection's state could be written.
func (pr *projection) enable() bool {
	if pr.state.Enabled && pr.status == statusRunning {
		return true
	}
	pr.state.Enabled = true
	if !pr.save() {
		return false
	}
	pr.begin()
	return true
}

// disable stops a projection at a checkpoint.
func (pr *projection) disable() bool {
	pr.rest()
	pr.state.Enabled = false
	return pr.save()
}

// abort stops a projection without a checkpoint.
func (pr *projection) abort() bool {
	pr.halt(statusAborted)
	pr.state.Enabled = false
	return pr.save()
}

// reset has a projection begin anew: what it has written is hidden, and written again.
func (pr *projection) reset() bool {
	pr.rest()
	pr.state.Epoch = pr.state.Version + 1
	if !pr.save() {
		return false
	}
	if pr.state.Enabled {
		pr.begin()
	}
	return true
}

// update gives a projection another source.
func (pr *projection) update(query string, emit *bool) bool {
	pr.rest()
	pr.state.Query = query
	if emit != nil {
		pr.state.EmitEnabled = *emit
	}
	if !pr.save() {
		return false
	}
	if pr.state.Enabled {
		pr.begin()
	}
	return true
}

// add registers a projection that this server keeps and does not run, as servers do that run system projections only.
// It returns nil, and writes nothing, if that cannot be done: a stream is deleted, or another node leads by now.
func (p *projector) add(name string, state projectionState) *projection {
	pr := &projection{projector: p, log: p.log, name: name, status: statusStopped, at: zeroPosition,
		checkpoint: zeroPosition, state: state}
	if !p.running || !pr.canRegister() {
		return nil
	}
	if state.Mode != modeTransient {
		r := p.log.systemWrite(registrationStream, projectionCreated, false, []byte(name), nil)
		pr.id = r.number
		pr.save()
	}
	p.list = append(p.list, pr)
	return pr
}

// canRegister reports whether the log can take that a projection is there, or is there no more: neither the stream of
// registrations nor that of its state is deleted. A transient one is not in the log.
func (pr *projection) canRegister() bool {
	return pr.state.Mode == modeTransient ||
		!pr.log.hardDeleted(registrationStream) && !pr.log.hardDeleted(projectionStream+pr.name)
}

// remove deletes a projection that does not run, and its checkpoints if that is wanted.
func (pr *projection) remove(checkpoints bool) bool {
	p, l := pr.projector, pr.log
	if !pr.canRegister() {
		return false
	}
	if pr.state.Mode != modeTransient {
		pr.state.Enabled, pr.state.Deleted = false, true
		pr.save()
		if checkpoints {
			l.delete(system, pr.checkpointStream(), esproto.ExpectAny, false)
		}
		l.systemWrite(registrationStream, projectionDeleted, false, []byte(pr.name), nil)
	}
	p.list = slices.DeleteFunc(p.list, func(o *projection) bool { return o == pr })
	return true
}

// hasStopped reports whether a projection may be deleted or get other settings.
func (pr *projection) hasStopped() bool {
	return pr.status == statusStopped || pr.status == statusFaulted
}

// rest stops a projection that runs at a checkpoint, if it can write one.
func (pr *projection) rest() {
	if pr.status != statusRunning || pr.writeCheckpoint() {
		pr.reason = ""
		pr.halt(statusStopped)
	}
}

// isStandard reports whether a projection is one of those that servers bring with them.
func (pr *projection) isStandard() bool { return pr.standard != nil }

// projectionRun is how far a projection is.
type projectionRun struct {
	status     string        // what it does, in the words of the server
	reason     string        // of a fault
	busy       time.Duration // how long it has computed
	seen       int           // events since it was started
	at         position      // of the last event that it saw
	checkpoint position      // of its last checkpoint
	progress   float64       // how much of the log it has seen, in percent
}

// run returns how far a projection is.
func (pr *projection) run() projectionRun {
	return projectionRun{
		status: pr.statusText(), reason: pr.reason, busy: pr.busy, seen: pr.seen, at: pr.at,
		checkpoint: pr.checkpoint, progress: pr.progress(),
	}
}

// statusText is what a projection does as statistics tell it.
func (pr *projection) statusText() string {
	switch {
	case pr.status == statusAborted:
		return string(statusAborted) + "/" + string(statusStopped)
	case pr.status != statusRunning && pr.state.Enabled:
		return string(pr.status) + " (Enabled)"
	}
	return string(pr.status)
}

func (pr *projection) progress() float64 {
	if log := pr.log.records; pr.next < len(log) {
		return 100 * float64(log[pr.next].prepare) / float64(pr.log.lastCommit)
	}
	return 100
}
