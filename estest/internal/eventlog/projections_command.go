package eventlog

import (
	"slices"
	"time"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// Enable starts a projection, which then reads everything that was written since it stopped. Like the other commands,
// it reports whether it could write the state of the projection.
func (pr *Projection) Enable() bool {
	if pr.State.Enabled && pr.status == statusRunning {
		return true
	}
	pr.State.Enabled = true
	if !pr.Save() {
		return false
	}
	pr.begin()
	return true
}

// Disable stops a projection at a checkpoint.
func (pr *Projection) Disable() bool {
	pr.rest()
	pr.State.Enabled = false
	return pr.Save()
}

// Abort stops a projection without a checkpoint.
func (pr *Projection) Abort() bool {
	pr.halt(statusAborted)
	pr.State.Enabled = false
	return pr.Save()
}

// Reset starts a projection at the beginning of the log. The events that it wrote before are hidden.
func (pr *Projection) Reset() bool {
	pr.rest()
	pr.State.Epoch = pr.State.Version + 1
	if !pr.Save() {
		return false
	}
	if pr.State.Enabled {
		pr.begin()
	}
	return true
}

// Update gives a projection another source.
func (pr *Projection) Update(query string, emit *bool) bool {
	pr.rest()
	pr.State.Query = query
	if emit != nil {
		pr.State.EmitEnabled = *emit
	}
	if !pr.Save() {
		return false
	}
	if pr.State.Enabled {
		pr.begin()
	}
	return true
}

// Add registers a projection that the server keeps and does not run. It returns nil and writes nothing if a stream of
// the projection is deleted, or if another node leads by now.
func (p *Projector) Add(name string, state ProjectionState) *Projection {
	pr := &Projection{projector: p, log: p.log, Name: name, status: statusStopped, at: zeroPosition,
		checkpoint: zeroPosition, State: state}
	if !p.running || !pr.canRegister() {
		return nil
	}
	if state.Mode != ModeTransient {
		r := p.log.SystemWrite(registrationStream, projectionCreated, false, []byte(name), nil)
		pr.id = r.Number
		pr.Save()
	}
	p.list = append(p.list, pr)
	return pr
}

// canRegister reports whether the log can register or remove the projection: neither the stream of registrations nor
// the stream of its state is deleted. A transient projection is not in the log.
func (pr *Projection) canRegister() bool {
	return pr.State.Mode == ModeTransient ||
		!pr.log.HardDeleted(registrationStream) && !pr.log.HardDeleted(ProjectionStream+pr.Name)
}

// Remove deletes a projection that does not run. It deletes the checkpoints if asked to.
func (pr *Projection) Remove(checkpoints bool) bool {
	p, l := pr.projector, pr.log
	if !pr.canRegister() {
		return false
	}
	if pr.State.Mode != ModeTransient {
		pr.State.Enabled, pr.State.Deleted = false, true
		pr.Save()
		if checkpoints {
			l.Delete(System, pr.checkpointStream(), esproto.ExpectAny, false)
		}
		l.SystemWrite(registrationStream, projectionDeleted, false, []byte(pr.Name), nil)
	}
	p.list = slices.DeleteFunc(p.list, func(o *Projection) bool { return o == pr })
	return true
}

// HasStopped reports whether a projection may be deleted or get other settings.
func (pr *Projection) HasStopped() bool {
	return pr.status == statusStopped || pr.status == statusFaulted
}

// rest stops a projection that runs, at a checkpoint if it can write one.
func (pr *Projection) rest() {
	if pr.status != statusRunning || pr.writeCheckpoint() {
		pr.reason = ""
		pr.halt(statusStopped)
	}
}

// IsStandard reports whether the projection is one that every server has.
func (pr *Projection) IsStandard() bool { return pr.standard != nil }

// ProjectionRun is the progress of a projection.
type ProjectionRun struct {
	Status     string        // its status, in the words of the server
	Reason     string        // of a fault
	Busy       time.Duration // how long it has computed
	Seen       int           // events since it was started
	At         Position      // of the last event that it saw
	Checkpoint Position      // of its last checkpoint
	Progress   float64       // how much of the log it has seen, in percent
}

// Run returns the progress of a projection.
func (pr *Projection) Run() ProjectionRun {
	return ProjectionRun{
		Status: pr.statusText(), Reason: pr.reason, Busy: pr.busy, Seen: pr.seen, At: pr.at,
		Checkpoint: pr.checkpoint, Progress: pr.progress(),
	}
}

// statusText returns the status in the words of the server's statistics.
func (pr *Projection) statusText() string {
	switch {
	case pr.status == statusAborted:
		return string(statusAborted) + "/" + string(statusStopped)
	case pr.status != statusRunning && pr.State.Enabled:
		return string(pr.status) + " (Enabled)"
	}
	return string(pr.status)
}

func (pr *Projection) progress() float64 {
	if log := &pr.log.records; pr.next < log.Len() {
		return 100 * float64(log.At(pr.next).Prepare) / float64(pr.log.lastCommit)
	}
	return 100
}
