package esclient

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
)

func TestCompareSnapshots(t *testing.T) {
	t.Parallel()
	first, other := uuid.New(), uuid.New()
	denied := &snapshot{position: 100, stream: streamSnapshot{known: true, last: 9, anchor: anchorThere}}
	then := &snapshot{
		position: 100, stream: streamSnapshot{known: true, last: 9},
		config: configSnapshot{known: true, number: 4, id: first}, deleted: deletedSnapshot{known: true, number: -1},
	}
	now := func(change func(s *snapshot)) *snapshot {
		s := &snapshot{
			position: 200, stream: streamSnapshot{known: true, last: 12, anchor: anchorThere},
			config:  configSnapshot{known: true, number: 4, id: first, has: true, before: true, had: true},
			deleted: deletedSnapshot{known: true, number: -1},
		}
		change(s)
		return s
	}
	for what, tt := range map[string]struct {
		then *snapshot
		now  *snapshot
		want groupState
	}{
		"no group was changed":  {then, now(func(*snapshot) {}), groupSame},
		"the stream is shorter": {then, now(func(s *snapshot) { s.stream.last = 8 }), groupLogOlder},
		"the log is shorter":    {then, now(func(s *snapshot) { s.position = 99 }), groupLogOlder},
		"another event has the number": {then, now(func(s *snapshot) { s.stream.anchor = anchorOther }),
			groupLogOlder},
		"the event is gone": {then, now(func(s *snapshot) { s.stream.anchor = anchorUnknown }), groupSame},
		"another configuration has the number": {then, now(func(s *snapshot) { s.config.id = other }),
			groupLogOlder},
		"the configuration is shorter": {then, now(func(s *snapshot) { s.config.number = -1 }), groupLogOlder},
		"a group was changed":          {then, now(func(s *snapshot) { s.config.number = 5 }), groupSame},
		"two groups were changed":      {then, now(func(s *snapshot) { s.config.number = 6 }), groupSame},
		"it was deleted": {then, now(func(s *snapshot) {
			s.config.number, s.config.has = 5, false
		}), groupCreatedAgain},
		"it was deleted and made": {then, now(func(s *snapshot) {
			s.config.number, s.config.had = 6, false
		}), groupCreatedAgain},
		"it had been deleted before": {then, now(func(s *snapshot) {
			s.config.number, s.config.had = 5, false
		}), groupSame},
		"many groups were changed, and it was not deleted": {then, now(func(s *snapshot) {
			s.config.number = 9
		}), groupSame},
		"many groups were changed, and it was deleted": {then, now(func(s *snapshot) {
			s.config.number, s.deleted = 9, deletedSnapshot{known: true, number: 0, is: true}
		}), groupCreatedAgain},
		"many groups were changed, and what else there is cannot be read": {then, now(func(s *snapshot) {
			s.config.number, s.deleted = 9, deletedSnapshot{}
		}), groupUnknown},
		"nothing can be read, and something was written": {denied, now(func(s *snapshot) {
			s.config, s.deleted = configSnapshot{}, deletedSnapshot{}
		}), groupUnknown},
		"nothing can be read, and nothing was written": {denied, denied, groupSame},
		"it was never seen, and something was written": {nil, now(func(*snapshot) {}), groupUnknown},
		"it was never seen, and nothing was written":   {nil, denied, groupSame},
	} {
		assert.Equal(t, tt.want, compareSnapshots(tt.then, tt.now, 9, 100), what)
	}
}

func TestTheFirstCheckpointOfAGroupIsNoDeletion(t *testing.T) {
	t.Parallel()
	deleted, revived := deletedSnapshot{known: true, number: 2, is: true}, deletedSnapshot{known: true, number: 3}
	again := deletedSnapshot{known: true, number: 3, is: true}
	assert.Equal(t, groupSame, compareDeleted(&deleted, &revived))
	assert.Equal(t, groupCreatedAgain, compareDeleted(&deleted, &again))
	assert.Equal(t, groupCreatedAgain, compareDeleted(&revived, &deletedSnapshot{known: true, number: 4, is: true}))
	assert.Equal(t, groupCreatedAgain, compareDeleted(&deleted, &deletedSnapshot{known: true, number: 5}))
	assert.Equal(t, groupSame, compareDeleted(&revived, &revived))
}

func TestWhichEventsAreParked(t *testing.T) {
	t.Parallel()
	entry := func(target string, number int64) Event {
		return Event{
			Stream: testParked, Type: "$>", Data: []byte(target),
			Metadata: fmt.Appendf(nil, `{"reason":"x","subscriptionEventNumber":%d}`, number),
		}
	}
	got := seeParked([]Event{
		entry("3@orders", 3),
		entry("7@targets", 4), // by a link
		entry("5@orders", 0),  // entry 0 of the parked stream was replayed, and parked again
	}, testStream)
	assert.Equal(t, map[int64]bool{3: true, 4: true}, got)
}
