package eventlog

import (
	"fmt"
	"strconv"
)

// emit writes an event that a projection makes of cause, unless an earlier run has written it. It reports whether the
// projection may go on. The projection faults if the stream is deleted, or if something else has written to it.
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

// enter looks at the last event of a stream if the projection has not written that since it was started. It reports
// whether the projection is to write the event that it makes of cause. The projection faults if it must not.
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
		t, ok := parseTag(last.Metadata())
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

// openStream writes the metadata of a stream before the projection writes its first event there. Every user may read
// the stream. The metadata hide the events before first.
func (pr *Projection) openStream(s *Stream, first int64) {
	truncate := ""
	if first > 0 {
		truncate = `"$tb":` + strconv.FormatInt(first, 10) + ","
	}
	data := "{" + truncate + `"$acl":{"$r":"$all","$mr":"$all"}}`
	pr.log.SystemAppend("$$"+s.Name, MetadataType, true, []byte(data), nil)
}

// metadata returns the metadata of an event that the projection writes about a place in the log.
func (pr *Projection) metadata(at Position, extra string) []byte {
	return []byte(`{"$v":"` + pr.version + `",` + at.members() + extra + "}")
}

const (
	projectionCheckpointType = "$ProjectionCheckpoint"
	partitionCheckpointType  = "$Checkpoint"

	// projectionCheckpointMetadata is that of a stream of checkpoints.
	projectionCheckpointMetadata = `{"$maxCount":2,"$acl":{"$r":"$admins","$w":"$admins","$d":"$admins",` +
		`"$mr":"$all","$mw":"$admins"}}`
)

func (pr *Projection) checkpointStream() string { return ProjectionStream + pr.Name + "-checkpoint" }

// loadCheckpoint returns the place of the last checkpoint of the projection. It ignores checkpoints from before a
// reset.
func (pr *Projection) loadCheckpoint() Position {
	s := pr.log.Stream(pr.checkpointStream())
	if s == nil || s.HardDeleted() || s.SoftDeleted() {
		return zeroPosition
	}
	if r := s.At(s.Last()); r != nil && r.Type == projectionCheckpointType {
		if t, ok := parseTag(r.Metadata()); ok && t.id == pr.id && t.version >= pr.State.Epoch {
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

// writeCheckpoint writes a checkpoint, if the projection is behind the last one. It reports whether the projection may
// go on.
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

// noteCheckpoint writes to $et how far the index by event type is complete.
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

// writtenBy returns the version of the projection that wrote an event.
func writtenBy(r *Record) int64 {
	t, _ := parseTag(r.Metadata())
	return t.version
}

// tagVersion returns the id and the versions of a projection, for the metadata of everything that it writes.
func (s *ProjectionState) tagVersion(id int64) string {
	subsystem := s.SubsystemVersion
	if subsystem == 0 {
		subsystem = 3
	}
	return fmt.Sprintf("%d:%d:%d:%d", id, s.Epoch, s.Version, subsystem)
}
