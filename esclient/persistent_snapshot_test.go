package esclient

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
)

func TestWhatASightOfAGroupTells(t *testing.T) {
	t.Parallel()
	first, other := uuid.New(), uuid.New()
	denied := &sight{position: 100, stream: streamSight{known: true, last: 9, anchor: anchorThere}}
	then := &sight{
		position: 100, stream: streamSight{known: true, last: 9},
		config: configSight{known: true, number: 4, id: first}, deleted: deletedSight{known: true, number: -1},
	}
	now := func(change func(s *sight)) *sight {
		s := &sight{
			position: 200, stream: streamSight{known: true, last: 12, anchor: anchorThere},
			config:  configSight{known: true, number: 4, id: first, has: true, before: true, had: true},
			deleted: deletedSight{known: true, number: -1},
		}
		change(s)
		return s
	}
	for what, tt := range map[string]struct {
		then *sight
		now  *sight
		want verdict
	}{
		"no group was changed":  {then, now(func(*sight) {}), verdictSame},
		"the stream is shorter": {then, now(func(s *sight) { s.stream.last = 8 }), verdictOlder},
		"the log is shorter":    {then, now(func(s *sight) { s.position = 99 }), verdictOlder},
		"another event has the number": {then, now(func(s *sight) { s.stream.anchor = anchorOther }),
			verdictOlder},
		"the event is gone": {then, now(func(s *sight) { s.stream.anchor = anchorUnknown }), verdictSame},
		"another configuration has the number": {then, now(func(s *sight) { s.config.id = other }),
			verdictOlder},
		"the configuration is shorter": {then, now(func(s *sight) { s.config.number = -1 }), verdictOlder},
		"a group was changed":          {then, now(func(s *sight) { s.config.number = 5 }), verdictSame},
		"two groups were changed":      {then, now(func(s *sight) { s.config.number = 6 }), verdictSame},
		"it was deleted": {then, now(func(s *sight) {
			s.config.number, s.config.has = 5, false
		}), verdictAnew},
		"it was deleted and made": {then, now(func(s *sight) {
			s.config.number, s.config.had = 6, false
		}), verdictAnew},
		"it had been deleted before": {then, now(func(s *sight) {
			s.config.number, s.config.had = 5, false
		}), verdictSame},
		"many groups were changed, and it was not deleted": {then, now(func(s *sight) {
			s.config.number = 9
		}), verdictSame},
		"many groups were changed, and it was deleted": {then, now(func(s *sight) {
			s.config.number, s.deleted = 9, deletedSight{known: true, number: 0, is: true}
		}), verdictAnew},
		"many groups were changed, and what else there is cannot be read": {then, now(func(s *sight) {
			s.config.number, s.deleted = 9, deletedSight{}
		}), verdictUnknown},
		"nothing can be read, and something was written": {denied, now(func(s *sight) {
			s.config, s.deleted = configSight{}, deletedSight{}
		}), verdictUnknown},
		"nothing can be read, and nothing was written": {denied, denied, verdictSame},
		"it was never seen, and something was written": {nil, now(func(*sight) {}), verdictUnknown},
		"it was never seen, and nothing was written":   {nil, denied, verdictSame},
	} {
		assert.Equal(t, tt.want, judge(tt.then, tt.now, 9, 100), what)
	}
}

func TestTheFirstCheckpointOfAGroupIsNoDeletion(t *testing.T) {
	t.Parallel()
	deleted, revived := deletedSight{known: true, number: 2, is: true}, deletedSight{known: true, number: 3}
	again := deletedSight{known: true, number: 3, is: true}
	assert.Equal(t, verdictSame, judgeDeleted(&deleted, &revived))
	assert.Equal(t, verdictAnew, judgeDeleted(&deleted, &again))
	assert.Equal(t, verdictAnew, judgeDeleted(&revived, &deletedSight{known: true, number: 4, is: true}))
	assert.Equal(t, verdictAnew, judgeDeleted(&deleted, &deletedSight{known: true, number: 5}))
	assert.Equal(t, verdictSame, judgeDeleted(&revived, &revived))
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
