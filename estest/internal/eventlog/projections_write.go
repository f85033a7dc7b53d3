package eventlog

import (
	"fmt"
	"strconv"
)

// emit writes what a projection makes of an event, unless an earlier run has written it. It reports whether the
// projection may go on: it is faulted if the stream is deleted, or if something else has written to it.
func (pr *Projection) emit(cause *Record, e *emission) bool {
	s := pr.log.streamFor(e.stream)
	last := s.At(s.Last())
	if last == nil || last != s.emitted || s.emitter != pr || last.Commit < pr.resumed {
		if proceed := pr.enter(s, last, cause); !proceed {
			return pr.status == statusRunning
		}
	}
	extra := e.extra + `,"$causedBy":"` + cause.ID.String() + `"`
	extra += pr.projector.correlationOf(cause)
	s.emitter = pr
	s.emitted = pr.log.SystemWrite(s.Name, e.typ, false, []byte(e.data), pr.metadata(cause.Position(), extra))
	return true
}

// enter looks at the last event of a stream to which the projection has not written since it was started, or not as
// the last one. It reports whether the projection is to write there what it makes of cause; if it must not, it is
// faulted.
func (pr *Projection) enter(s *Stream, last, cause *Record) (write bool) {
	if s.HardDeleted() {
		pr.fault("Stream : " + s.Name + " is deleted. Cannot emit events to it")
		return false
	}
	switch earlier := last == nil || last.Commit < pr.resumed; {
	case last == nil && s.SoftDeleted():
		pr.openStream(s, 0)
	case last == nil:
		pr.openStream(s, max(s.meta.truncateBefore, 0))
	case earlier && s.SoftDeleted():
		pr.openStream(s, last.Number+1)
	default:
		t, ok := parseTag(last.Metadata)
		switch {
		case !ok:
			pr.fault("The '" + s.Name + "' stream managed by projection " + pr.Name +
				" has been written to from the outside.")
			return false
		case t.id != pr.id:
			pr.fault("Multiple projections emitting to the same stream detected.  Stream: '" + s.Name + "'.")
			return false
		case !earlier:
		case pr.State.Epoch > t.version:
			pr.openStream(s, last.Number+1)
		case !t.at.before(cause.Position()):
			return false // it is there
		}
	}
	return true
}

// openStream writes the metadata of a stream before the first event that the projection writes there: every user may
// read it. What is before first is hidden.
func (pr *Projection) openStream(s *Stream, first int64) {
	truncate := ""
	if first > 0 {
		truncate = `"$tb":` + strconv.FormatInt(first, 10) + ","
	}
	data := "{" + truncate + `"$acl":{"$r":"$all","$mr":"$all"}}`
	pr.log.SystemAppend("$$"+s.Name, MetadataType, true, []byte(data), nil)
}

// metadata is that of what a projection writes about a place in the log.
func (pr *Projection) metadata(at Position, extra string) []byte {
	return []byte(`{"$v":"` + pr.version + `",` + at.members() + extra + "}")
}

// members are those of a position in JSON.
func (p Position) members() string {
	return `"$c":` + strconv.FormatInt(p.Commit, 10) + `,"$p":` + strconv.FormatInt(p.Prepare, 10)
}

// String is a position as statistics tell it.
func (p Position) String() string {
	return "C:" + strconv.FormatInt(p.Commit, 10) + "/P:" + strconv.FormatInt(p.Prepare, 10)
}

const (
	projectionCheckpointType = "$ProjectionCheckpoint"
	partitionCheckpointType  = "$Checkpoint"

	// projectionCheckpointMetadata is that of a stream of checkpoints.
	projectionCheckpointMetadata = `{"$maxCount":2,"$acl":{"$r":"$admins","$w":"$admins","$d":"$admins",` +
		`"$mr":"$all","$mw":"$admins"}}`
)

func (pr *Projection) checkpointStream() string { return ProjectionStream + pr.Name + "-checkpoint" }

// loadCheckpoint returns where the last checkpoint of the projection is. Those from before a reset do not count.
func (pr *Projection) loadCheckpoint() Position {
	s := pr.log.Stream(pr.checkpointStream())
	if s == nil || s.HardDeleted() || s.SoftDeleted() {
		return zeroPosition
	}
	if r := s.At(s.Last()); r != nil && r.Type == projectionCheckpointType {
		if t, ok := parseTag(r.Metadata); ok && t.id == pr.id && t.version >= pr.State.Epoch {
			return t.at
		}
	}
	return zeroPosition
}

// mark writes a checkpoint at the last event that the projection saw.
func (pr *Projection) mark() {
	pr.unmarked = 0
	if pr.writeCheckpoint() {
		pr.noteCheckpoint()
	}
}

// writeCheckpoint reports whether the projection goes on.
func (pr *Projection) writeCheckpoint() bool {
	if !pr.checkpoint.before(pr.at) {
		return true
	}
	s := pr.log.streamFor(pr.checkpointStream())
	if s.HardDeleted() {
		pr.fault("Checkpoint stream `" + s.Name + "` has been written to from the outside")
		return false
	}
	if s.Last() < 0 {
		pr.log.SystemAppend("$$"+s.Name, MetadataType, true, []byte(projectionCheckpointMetadata), nil)
	}
	pr.log.SystemWrite(s.Name, projectionCheckpointType, true, []byte("[]"), pr.metadata(pr.at, ""))
	pr.checkpoint = pr.at
	return true
}

// noteCheckpoint tells in $et how far the index by event type is complete.
func (pr *Projection) noteCheckpoint() {
	if pr.Name != byEventType {
		return
	}
	s := pr.log.streamFor(typeCheckpoints)
	if s.HardDeleted() {
		pr.fault("Stream : " + s.Name + " is deleted. Cannot emit events to it")
		return
	}
	last := s.At(s.Last())
	if last == nil || s.SoftDeleted() || writtenBy(last) < pr.State.Epoch {
		pr.openStream(s, s.Last()+1)
	}
	data := "{" + pr.checkpoint.members() + "}"
	pr.log.SystemWrite(s.Name, partitionCheckpointType, true, []byte(data), pr.metadata(pr.checkpoint, ""))
}

// writtenBy is the version of the projection that has written an event.
func writtenBy(r *Record) int64 {
	t, _ := parseTag(r.Metadata)
	return t.version
}

// tagVersion is what the metadata of everything that a projection writes says of the projection.
func (s *ProjectionState) tagVersion(id int64) string {
	subsystem := s.SubsystemVersion
	if subsystem == 0 {
		subsystem = 3
	}
	return fmt.Sprintf("%d:%d:%d:%d", id, s.Epoch, s.Version, subsystem)
}
