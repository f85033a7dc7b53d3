package groups

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

func TestWhenACheckpointIsWritten(t *testing.T) {
	const short, long = 2 * time.Second, time.Minute
	for name, test := range map[string]struct {
		max, min int64
		after    time.Duration
		acked    []int64
		pass     time.Duration
		want     int64
	}{
		"at once behind the most":     {max: 5, min: 1000, acked: upTo(0, 4), want: 4},
		"below the most":              {max: 5, min: 1000, acked: upTo(0, 3), pass: long, want: -1},
		"in time behind the least":    {max: 1000, min: 5, after: short, acked: upTo(0, 4), pass: short, want: 4},
		"below the least":             {max: 1000, min: 5, after: short, acked: upTo(0, 3), pass: long, want: -1},
		"behind the least, at once":   {max: 1000, min: 5, after: short, acked: upTo(0, 4), want: -1},
		"without a time":              {max: 1000, min: 5, acked: upTo(0, 9), pass: long, want: -1},
		"below events without ack":    {max: 5, min: 1000, acked: append(upTo(0, 5), upTo(7, 19)...), want: 5},
		"not while the first is open": {max: 5, min: 1000, acked: upTo(1, 19), want: -1},
		"the last one that is acked":  {max: 5, min: 1000, acked: upTo(0, 19), want: 19},
	} {
		t.Run(name, func(t *testing.T) {
			bothFacts(t, func(t *testing.T, f Facts) {
				s := newSite(t, f)
				g := s.group(func(c *Settings) {
					c.CheckpointMax, c.CheckpointMin, c.CheckpointAfter = test.max, test.min, test.after
				})
				b := s.join(g, 100)
				s.write("s", 20)
				b.ack(test.acked...)
				s.pass(test.pass)
				assert.Equal(t, test.want, g.Counters().Checkpoint)
			})
		})
	}
}

// Checkpoints by the clock keep their interval.
func TestCheckpointsKeepTheirDistance(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		g := s.group(func(c *Settings) { c.CheckpointMin, c.CheckpointAfter = 1, 5*time.Second })
		b := s.join(g, 100)
		s.write("s", 10)
		var seen []int64
		for n := range int64(10) {
			b.ack(n)
			s.pass(time.Second)
			seen = append(seen, g.Counters().Checkpoint)
		}
		assert.Equal(t, []int64{0, 0, 0, 0, 0, 5, 5, 5, 5, 5}, seen)
	})
}

// The delivered events may be enough for an ack to check the checkpoint, while the acked events are only enough for a
// checkpoint by the clock.
func TestAnAckLeavesTheCheckpointToTheClock(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		g := s.group(func(c *Settings) { c.CheckpointMax, c.CheckpointMin = 20, 5 })
		b := s.join(g, 100)
		s.write("s", 30)
		s.pass(time.Minute)
		b.ack(upTo(0, 9)...)
		assert.EqualValues(t, -1, g.Counters().Checkpoint)
		s.pass(time.Second)
		assert.EqualValues(t, 9, g.Counters().Checkpoint)
	})
}

func TestWithoutAMajorityNoCheckpointIsWritten(t *testing.T) {
	s := newSite(t, newFacts)
	g := s.group(func(c *Settings) { c.CheckpointMax = 1 })
	b := s.join(g, 10)
	s.write("s", 2)
	s.minority = true
	b.ack(0)
	assert.EqualValues(t, -1, g.Counters().Checkpoint)
	s.minority = false
	b.ack(1)
	assert.EqualValues(t, 1, g.Counters().Checkpoint)
}

// Retries and parked events hold a checkpoint back until they are settled.
func TestARetriedEventHoldsTheCheckpointBack(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		g := s.group(func(c *Settings) { c.CheckpointMax = 1 })
		b := s.join(g, 3)
		s.write("s", 3)
		b.nak(nakRetry, "", 1)
		b.ack(0, 2)
		assert.EqualValues(t, 0, g.Counters().Checkpoint)
		b.nak(nakPark, "", 1)
		assert.EqualValues(t, 2, g.Counters().Checkpoint)
	})
}

func TestAGroupResumesBehindItsCheckpoint(t *testing.T) {
	for name, test := range map[string]struct {
		facts  Facts
		stored []string
	}{"a number": {oldFacts, []string{"4"}}, "a text": {newFacts, []string{`"4"`}}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.facts)
			g := s.group(func(c *Settings) { c.CheckpointMax = 5 })
			b := s.join(g, 10)
			s.write("s", 10)
			b.ack(0, 1, 2, 3, 4, 6)
			require.Equal(t, test.stored, s.read(checkpointOfG))
			require.Equal(t, checkpointType, s.records(checkpointOfG)[0].Type)

			s.set.Restart()
			again := s.set.Find("s", "g")
			require.NotSame(t, g, again)
			assert.Equal(t, g.Settings, again.Settings)
			assert.Zero(t, again.Counters().Clients)
			assert.Equal(t, "5 6 7 8 9", s.join(again, 10).next(), "6 was acked, but behind the checkpoint")
		})
	}
}

// From 21.10 on a group takes the first event that it reads for the one at its checkpoint, also if that is another one.
func TestAGroupResumesWhereItsStreamIsTruncated(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		want  string
	}{"first version": {oldFacts, "7 8 9"}, "last version": {newFacts, "8 9"}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.facts)
			b := s.join(s.group(func(c *Settings) { c.CheckpointMax = 5 }), 10)
			s.write("s", 10)
			b.ack(0, 1, 2, 3, 4)
			s.log.SystemAppend("$$s", eventlog.MetadataType, true, []byte(`{"$tb":7}`), nil)
			s.set.Restart()
			assert.Equal(t, test.want, s.join(s.set.Find("s", "g"), 10).next())
		})
	}
}

// The checkpoint below the first event that a group has delivered is none from 21.10 on.
func TestTheCheckpointBelowTheStart(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		want  int64
	}{"first version": {oldFacts, 4}, "last version": {newFacts, -1}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.facts)
			g := s.group(func(c *Settings) { c.CheckpointMax, c.StartFrom = 1, 5 })
			b := s.join(g, 10)
			s.write("s", 8)
			b.ack(6, 7)
			assert.Equal(t, test.want, g.Counters().Checkpoint)
		})
	}
}

// Numbers that a group has not delivered may be between an open event and the one before it. From 21.10 on the
// checkpoint is the number of that one.
func TestTheCheckpointBelowAGap(t *testing.T) {
	for name, test := range map[string]struct {
		facts Facts
		want  int64
	}{"first version": {oldFacts, 6}, "last version": {newFacts, 2}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.facts)
			g := s.group(func(c *Settings) {
				c.CheckpointMax, c.LiveBufferSize, c.ReadBatchSize, c.BufferSize = 3, 1, 1, 3
			})
			s.write("s", 10)
			s.log.SystemAppend("$$s", eventlog.MetadataType, true, []byte(`{"$tb":7}`), nil)
			b := s.join(g, 10)
			b.ack(0, 1)
			require.Equal(t, "0 1 2 7 8 9", b.next())
			require.EqualValues(t, -1, g.Counters().Checkpoint)
			b.ack(2)
			assert.Equal(t, test.want, g.Counters().Checkpoint)
		})
	}
}

// A checkpoint that cannot be read is none.
func TestAGroupWithABrokenCheckpointStartsOver(t *testing.T) {
	bothFacts(t, func(t *testing.T, f Facts) {
		s := newSite(t, f)
		s.write("s", 2)
		s.log.SystemAppend(checkpointOfG, checkpointType, true, []byte("many"), nil)
		assert.Equal(t, "0 1", s.join(s.group(nil), 10).next())
	})
}
