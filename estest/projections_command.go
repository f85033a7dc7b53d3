package estest

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
	pr.run()
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
		pr.run()
	}
	return true
}

// rest stops a projection that runs at a checkpoint, if it can write one.
func (pr *projection) rest() {
	if pr.status != statusRunning || pr.writeCheckpoint() {
		pr.reason = ""
		pr.halt(statusStopped)
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

// progress is how much of the log a projection has seen, in percent.
func (pr *projection) progress() float64 {
	if log := pr.core.log; pr.next < len(log) {
		return 100 * float64(log[pr.next].prepare) / float64(pr.core.lastCommit)
	}
	return 100
}
