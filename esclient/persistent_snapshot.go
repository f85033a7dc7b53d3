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

// sight is what can be seen of a group at one time.
type sight struct {
	complete bool  // the server has answered everything, be it that the user may not see
	position int64 // where the log ends; -1 if that is not known
	stream   streamSight
	config   configSight
	deleted  deletedSight
	// unanswered is true where the server did not answer since, when what is up to doubted was in doubt already.
	unanswered bool
	doubted    int64
	parked     map[int64]bool // the numbers of events that are in the parked stream, of those that were asked for
}

// streamSight is the group's stream.
type streamSight struct {
	known  bool
	last   int64 // the number of its last event; -1 for none
	anchor anchorSight
}

// anchorSight is what became of the latest event that came from the group.
type anchorSight int

const (
	anchorUnknown anchorSight = iota
	anchorThere
	anchorOther // another event has its number
)

// configSight is the end of the server's configuration of groups.
type configSight struct {
	known   bool
	number  int64 // of its last event; -1 for none
	id      uuid.UUID
	has     bool          // the group is in the last event
	timeout time.Duration // its message timeout
	before  bool          // the event before that can be seen, too
	had     bool          // the group is in that one
}

// deletedSight is the metadata of the stream that has the group's checkpoint: deleting the group adds an event to it,
// as does the first checkpoint of the group that is made anew.
type deletedSight struct {
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

// verdict says whether a group is the one that it was.
type verdict int

const (
	verdictUnknown verdict = iota
	verdictSame
	verdictAnew  // it was made anew
	verdictOlder // the log is another one, or an older state of it
)

// fill takes what cannot be seen now from an earlier sight of the same group.
func (s *sight) fill(earlier *sight) {
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

// judge compares two sights of a group. last is the highest number that its stream is known to have had, and position
// the farthest end of the log.
func judge(then, now *sight, last, position int64) verdict {
	switch {
	case now.stream.anchor == anchorOther, now.stream.known && now.stream.last < last,
		now.position >= 0 && now.position < position:
		return verdictOlder
	}
	config, deleted := verdictUnknown, verdictUnknown
	if then != nil {
		config, deleted = judgeConfig(&then.config, &now.config), judgeDeleted(&then.deleted, &now.deleted)
	}
	switch {
	case config == verdictOlder, config == verdictAnew:
		return config
	case deleted == verdictAnew:
		return deleted
	case config == verdictSame, deleted == verdictSame, now.position >= 0 && now.position == position:
		return verdictSame // in the last case nothing was written
	}
	return verdictUnknown
}

func judgeConfig(then, now *configSight) verdict {
	if !then.known || !now.known {
		return verdictUnknown
	}
	switch more := now.number - then.number; {
	case more < 0, more == 0 && now.id != then.id:
		return verdictOlder
	case more == 0:
		return verdictSame
	case !now.has, more >= 2 && now.before && !now.had:
		return verdictAnew
	case more == 1, more == 2 && now.before:
		return verdictSame
	}
	return verdictUnknown // of the events between, only the last two can be seen
}

func judgeDeleted(then, now *deletedSight) verdict {
	if !then.known || !now.known {
		return verdictUnknown
	}
	switch more := now.number - then.number; {
	case more == 0, more == 1 && then.is && !now.is:
		return verdictSame
	case more < 0:
		return verdictUnknown
	}
	return verdictAnew
}

// seeStream looks for the event of a number and an id in what was read from that number on. A stream that was
// soft-deleted looks at some servers as if it had never been.
func seeStream(number int64, id uuid.UUID, last int64, events []Event) streamSight {
	s := streamSight{known: last >= 0, last: last}
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
