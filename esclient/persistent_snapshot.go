package esclient

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A group that is deleted and created again has the same name, and knows no ack. The server's messages to subscribers
// do not show the difference. So after a lost connection or a drop, a subscription compares the data that the server
// has written about the group, as far as the user may read it.

// snapshot is the state of a group at one time.
type snapshot struct {
	complete bool  // the server has answered all reads, if only with a refusal
	position int64 // the end of the log; -1 if unknown
	stream   streamSnapshot
	config   configSnapshot
	deleted  deletedSnapshot
	// unanswered means that the server has not answered since. Events up to doubted were in doubt before that.
	unanswered bool
	doubted    int64
	parked     map[int64]bool // those of the requested numbers that are in the parked stream
}

// streamSnapshot is the group's stream.
type streamSnapshot struct {
	known  bool
	last   int64 // the number of its last event; -1 for none
	anchor anchorState
}

// anchorState is the state of the latest event that came from the group.
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
	before  bool          // the event before that is known, too
	had     bool          // the group is in that one
}

// deletedSnapshot is the metadata of the stream that has the group's checkpoint. The server adds an event to it when
// the group is deleted, and another one with the first checkpoint of the group that was created again.
type deletedSnapshot struct {
	known  bool
	number int64 // of its last event; -1 for none
	is     bool  // that event deletes the stream
}

// knownStream is the known state of a group's stream.
type knownStream struct {
	last   int64 // the highest known number; -1 for none
	number int64 // number and id of the latest event that came from the group; -1 for none
	id     uuid.UUID
}

// groupState is the result of a comparison.
type groupState int

const (
	groupUnknown groupState = iota
	groupSame
	groupCreatedAgain // it was created again
	groupLogOlder     // the log is a different one, or an older state of it
)

// fill takes values that are missing now from an earlier snapshot of the same group.
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

// compareSnapshots compares two snapshots of a group. last is the highest known number of its stream, and position the
// farthest known end of the log.
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
	case config == groupLogOlder, config == groupCreatedAgain:
		return config
	case deleted == groupCreatedAgain:
		return deleted
	case config == groupSame, deleted == groupSame, now.position >= 0 && now.position == position:
		return groupSame // in the last case the log did not grow
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
		return groupCreatedAgain
	case more == 1, more == 2 && now.before:
		return groupSame
	}
	return groupUnknown // of several changes, only the last two are visible
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
	return groupCreatedAgain
}

// seeStream looks for an event by number and id in a page that begins with that number. On some servers a soft-deleted
// stream looks as if it never existed.
func seeStream(number int64, id uuid.UUID, last int64, events []Event) streamSnapshot {
	s := streamSnapshot{known: last >= 0, last: last}
	if len(events) == 0 || number < 0 || events[0].Original().Number != number {
		return s // the stream was truncated or soft-deleted, or is shorter
	}
	if s.anchor = anchorThere; events[0].Original().ID != id {
		s.anchor = anchorOther
	}
	return s
}

// seeParked returns the numbers in the group's stream that the entries of the parked stream are about. If an event was
// replayed and parked again, the entry has the number of the entry before, and names another event.
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
