package esclient

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A group that is deleted and made anew has the same name, and knows of no ack. Nothing that the server says to its
// subscribers tells the two apart, so that a subscription which lost its connection, or was dropped, looks at what the
// server has written about the group, as far as the user may read it.

// snapshot is what can be seen of a group at one time.
type snapshot struct {
	complete bool  // the server has answered everything, be it that the user may not see
	position int64 // where the log ends; -1 if that is not known
	stream   streamSnapshot
	config   configSnapshot
	deleted  deletedSnapshot
	// unanswered is true where the server did not answer since, when what is up to doubted was in doubt already.
	unanswered bool
	doubted    int64
	parked     map[int64]bool // the numbers of events that are in the parked stream, of those that were asked for
}

// streamSnapshot is the group's stream.
type streamSnapshot struct {
	known  bool
	last   int64 // the number of its last event; -1 for none
	anchor anchorState
}

// anchorState is what became of the latest event that came from the group.
type anchorState int

const (
	anchorUnknown anchorState = iota
	anchorThere
	anchorOther // another event has its number
)

// configSnapshot is the end of the server's configuration of groups.
type configSnapshot struct {
	known   bool
	number  int64 // of its last event; -1 for none
	id      uuid.UUID
	has     bool          // the group is in the last event
	timeout time.Duration // its message timeout
	before  bool          // the event before that can be seen, too
	had     bool          // the group is in that one
}

// deletedSnapshot is the metadata of the stream that has the group's checkpoint. The server adds an event to them when
// the group is deleted, and another one with the first checkpoint of the group that is made anew.
type deletedSnapshot struct {
	known  bool
	number int64 // of its last event; -1 for none
	is     bool  // that event deletes
}

// knownStream is what a subscription knows of its group's stream.
type knownStream struct {
	last   int64 // the number of the last event that it is known to have had; -1 for none
	number int64 // of the latest event that came from the group, and its id; -1 for none
	id     uuid.UUID
}

// groupState tells whether a group is the same as before.
type groupState int

const (
	groupUnknown groupState = iota
	groupSame
	groupMadeAnew // it was made anew
	groupLogOlder // the log is another one, or an older state of it
)

// fill takes what cannot be seen now from an earlier snapshot of the same group.
func (s *snapshot) fill(earlier *snapshot) {
	if earlier == nil {
		return
	}
	if !s.config.known {
		s.config = earlier.config
	}
	if !s.deleted.known {
		s.deleted = earlier.deleted
	}
}

// compareSnapshots compares two snapshots of a group. last is the highest number that its stream is known to have had,
// and position the farthest end of the log.
func compareSnapshots(then, now *snapshot, last, position int64) groupState {
	switch {
	case now.stream.anchor == anchorOther, now.stream.known && now.stream.last < last,
		now.position >= 0 && now.position < position:
		return groupLogOlder
	}
	config, deleted := groupUnknown, groupUnknown
	if then != nil {
		config, deleted = compareConfigs(&then.config, &now.config), compareDeleted(&then.deleted, &now.deleted)
	}
	switch {
	case config == groupLogOlder, config == groupMadeAnew:
		return config
	case deleted == groupMadeAnew:
		return deleted
	case config == groupSame, deleted == groupSame, now.position >= 0 && now.position == position:
		return groupSame // in the last case nothing was written
	}
	return groupUnknown
}

func compareConfigs(then, now *configSnapshot) groupState {
	if !then.known || !now.known {
		return groupUnknown
	}
	switch more := now.number - then.number; {
	case more < 0, more == 0 && now.id != then.id:
		return groupLogOlder
	case more == 0:
		return groupSame
	case !now.has, more >= 2 && now.before && !now.had:
		return groupMadeAnew
	case more == 1, more == 2 && now.before:
		return groupSame
	}
	return groupUnknown // of the events between, only the last two can be seen
}

func compareDeleted(then, now *deletedSnapshot) groupState {
	if !then.known || !now.known {
		return groupUnknown
	}
	switch more := now.number - then.number; {
	case more == 0, more == 1 && then.is && !now.is:
		return groupSame
	case more < 0:
		return groupUnknown
	}
	return groupMadeAnew
}

// seeStream looks for the event of a number and an id in what was read from that number on. A stream that was
// soft-deleted looks at some servers as if it had never been.
func seeStream(number int64, id uuid.UUID, last int64, events []Event) streamSnapshot {
	s := streamSnapshot{known: last >= 0, last: last}
	if len(events) == 0 || number < 0 || events[0].Original().Number != number {
		return s // it was truncated, or the stream is shorter, or soft-deleted
	}
	if s.anchor = anchorThere; events[0].Original().ID != id {
		s.anchor = anchorOther
	}
	return s
}

// seeParked returns which numbers of a group's stream entries of the parked stream are about. One that was replayed and
// parked again has the number of the entry before, and names another event.
func seeParked(entries []Event, stream string) map[int64]bool {
	numbers := make(map[int64]bool, len(entries))
	for i := range entries {
		e := &entries[i]
		number := parkedEvent(e).Number
		target, _ := strings.CutPrefix(string(e.Original().Data), fmt.Sprintf("%d@", number))
		if target == stream || !strings.HasSuffix(target, "@"+stream) {
			numbers[number] = true
		}
	}
	return numbers
}

func checkpointStream(stream, group string) string {
	return "$persistentsubscription-" + stream + "::" + group + "-checkpoint"
}
