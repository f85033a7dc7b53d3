package estest

import (
	"fmt"
	"strconv"
)

// emit writes what a projection makes of an event, unless an earlier run has written it. It reports whether the
// projection may go on: it is faulted if the stream is deleted, or if something else has written to it.
func (pr *projection) emit(cause *record, e *emission) bool {
	s := pr.log.streamFor(e.stream)
	last := s.at(s.last())
	if last == nil || last != s.emitted || s.emitter != pr || last.commit < pr.resumed {
		if proceed := pr.enter(s, last, cause); !proceed {
			return pr.status == statusRunning
		}
	}
	extra := e.extra + `,"$causedBy":"` + cause.id.String() + `"`
	extra += pr.projector.correlationOf(cause)
	s.emitter = pr
	s.emitted = pr.log.systemWrite(s.name, e.typ, false, []byte(e.data), pr.metadata(cause.position(), extra))
	return true
}

// enter looks at the last event of a stream to which the projection has not written since it was started, or not as
// the last one. It reports whether the projection is to write there what it makes of cause; if it must not, it is
// faulted.
func (pr *projection) enter(s *stream, last, cause *record) (write bool) {
	if s.hardDeleted() {
		pr.fault("Stream : " + s.name + " is deleted. Cannot emit events to it")
		return false
	}
	switch earlier := last == nil || last.commit < pr.resumed; {
	case last == nil && s.softDeleted():
		pr.openStream(s, 0)
	case last == nil:
		pr.openStream(s, max(s.meta.truncateBefore, 0))
	case earlier && s.softDeleted():
		pr.openStream(s, last.number+1)
	default:
		t, ok := parseTag(last.metadata)
		switch {
		case !ok:
			pr.fault("The '" + s.name + "' stream managed by projection " + pr.name +
				" has been written to from the outside.")
			return false
		case t.id != pr.id:
			pr.fault("Multiple projections emitting to the same stream detected.  Stream: '" + s.name + "'.")
			return false
		case !earlier:
		case pr.state.Epoch > t.version:
			pr.openStream(s, last.number+1)
		case !t.at.before(cause.position()):
			return false // it is there
		}
	}
	return true
}

// openStream writes the metadata of a stream before the first event that the projection writes there: every user may
// read it. What is before first is hidden.
func (pr *projection) openStream(s *stream, first int64) {
	truncate := ""
	if first > 0 {
		truncate = `"$tb":` + strconv.FormatInt(first, 10) + ","
	}
	data := "{" + truncate + `"$acl":{"$r":"$all","$mr":"$all"}}`
	pr.log.systemAppend("$$"+s.name, metadataType, true, []byte(data), nil)
}

// metadata is that of what a projection writes about a place in the log.
func (pr *projection) metadata(at position, extra string) []byte {
	return []byte(`{"$v":"` + pr.version + `",` + at.members() + extra + "}")
}

// members are those of a position in JSON.
func (p position) members() string {
	return `"$c":` + strconv.FormatInt(p.commit, 10) + `,"$p":` + strconv.FormatInt(p.prepare, 10)
}

// String is a position as statistics tell it.
func (p position) String() string {
	return "C:" + strconv.FormatInt(p.commit, 10) + "/P:" + strconv.FormatInt(p.prepare, 10)
}

const (
	projectionCheckpointType = "$ProjectionCheckpoint"
	partitionCheckpointType  = "$Checkpoint"

	// projectionCheckpointMetadata is that of a stream of checkpoints.
	projectionCheckpointMetadata = `{"$maxCount":2,"$acl":{"$r":"$admins","$w":"$admins","$d":"$admins",` +
		`"$mr":"$all","$mw":"$admins"}}`
)

func (pr *projection) checkpointStream() string { return projectionStream + pr.name + "-checkpoint" }

// loadCheckpoint returns where the last checkpoint of the projection is. Those from before a reset do not count.
func (pr *projection) loadCheckpoint() position {
	s := pr.log.stream(pr.checkpointStream())
	if s == nil || s.hardDeleted() || s.softDeleted() {
		return zeroPosition
	}
	if r := s.at(s.last()); r != nil && r.typ == projectionCheckpointType {
		if t, ok := parseTag(r.metadata); ok && t.id == pr.id && t.version >= pr.state.Epoch {
			return t.at
		}
	}
	return zeroPosition
}

// mark writes a checkpoint at the last event that the projection saw.
func (pr *projection) mark() {
	pr.unmarked = 0
	if pr.writeCheckpoint() {
		pr.noteCheckpoint()
	}
}

// writeCheckpoint reports whether the projection goes on.
func (pr *projection) writeCheckpoint() bool {
	if !pr.checkpoint.before(pr.at) {
		return true
	}
	s := pr.log.streamFor(pr.checkpointStream())
	if s.hardDeleted() {
		pr.fault("Checkpoint stream `" + s.name + "` has been written to from the outside")
		return false
	}
	if s.last() < 0 {
		pr.log.systemAppend("$$"+s.name, metadataType, true, []byte(projectionCheckpointMetadata), nil)
	}
	pr.log.systemWrite(s.name, projectionCheckpointType, true, []byte("[]"), pr.metadata(pr.at, ""))
	pr.checkpoint = pr.at
	return true
}

// noteCheckpoint tells in $et how far the index by event type is complete.
func (pr *projection) noteCheckpoint() {
	if pr.name != byEventType {
		return
	}
	s := pr.log.streamFor(typeCheckpoints)
	if s.hardDeleted() {
		pr.fault("Stream : " + s.name + " is deleted. Cannot emit events to it")
		return
	}
	last := s.at(s.last())
	if last == nil || s.softDeleted() || writtenBy(last) < pr.state.Epoch {
		pr.openStream(s, s.last()+1)
	}
	data := "{" + pr.checkpoint.members() + "}"
	pr.log.systemWrite(s.name, partitionCheckpointType, true, []byte(data), pr.metadata(pr.checkpoint, ""))
}

// writtenBy is the version of the projection that has written an event.
func writtenBy(r *record) int64 {
	t, _ := parseTag(r.metadata)
	return t.version
}

// tagVersion is what the metadata of everything that a projection writes says of the projection.
func (s *projectionState) tagVersion(id int64) string {
	subsystem := s.SubsystemVersion
	if subsystem == 0 {
		subsystem = 3
	}
	return fmt.Sprintf("%d:%d:%d:%d", id, s.Epoch, s.Version, subsystem)
}
