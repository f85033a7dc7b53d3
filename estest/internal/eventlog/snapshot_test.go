package eventlog_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// full returns a log that has something of everything.
func full(t *testing.T) *bench {
	b := newBench(t, eventlog.Facts{WritesEpochEvents: true})
	b.Lead("first", eventlog.BuiltinUsers())
	b.AddUser(eventlog.User{Login: "a", Password: "p", Groups: []string{"g"}})
	b.write("s", events(1, 2, 3)...)
	b.set("s", `{"$maxCount":2,"$acl":{"$w":"a"}}`)
	b.CommitTransaction(eventlog.System, b.transact("tx", noStream, events(4), events(5)))
	b.transact("open", noStream, events(6))
	b.write("soft", events(7)...)
	b.remove("soft", false)
	b.write("hard", events(8)...)
	b.remove("hard", true)
	b.now = b.now.Add(time.Minute)
	b.SystemAppend("$settings", "update", true, []byte(`{"$userStreamAcl":{"$r":"g"}}`), nil)
	b.write("s")
	return b
}

func TestSnapshots(t *testing.T) {
	a := full(t)
	snap := a.Snapshot()
	b := newBench(t, eventlog.Facts{WritesEpochEvents: true})
	require.NoError(t, b.Restore(snap))
	b.Restart()
	assert.Equal(t, snap, b.Snapshot())
	assert.Equal(t, a.End(), b.End())
	assert.Equal(t, a.LastCommit(), b.LastCommit())
	assert.Equal(t, a.Epoch().Number, b.Epoch().Number)
	for i, r := range a.Records().From(0) {
		assert.Equal(t, r.Wire, b.Records().At(i).Wire, "event %d", i)
	}
	for _, stream := range []string{"s", "tx", "open", "soft", "hard", "$$s"} {
		assert.Equal(t, a.numbers(stream), b.numbers(stream), stream)
	}
	assert.Equal(t, []int64{1, 2}, b.numbers("s"))
	assert.True(t, b.HardDeleted("hard"))
	assert.True(t, b.Stream("soft").SoftDeleted())

	require.NotNil(t, b.Login("a", "p"), "passwords are not in the snapshot, but can be checked")
	assert.Nil(t, b.Login("a", "q"))
	assert.NotNil(t, b.Login("admin", "changeit"))
	u := b.User("a")
	assert.True(t, b.Allowed(u, eventlog.RightWrite, "s"))
	assert.False(t, b.Allowed(plain, eventlog.RightWrite, "s"))
	assert.False(t, b.Allowed(plain, eventlog.RightRead, "tx"), "by $settings")

	o := b.Append(eventlog.System, "s", anyVersion, events(3))
	assert.EqualValues(t, 3, o.First, "event ids are not remembered")
	o = b.Append(eventlog.System, "s", 0, events(2))
	assert.EqualValues(t, 1, o.First, "but found")
	before := a.End()
	a.Lead("second", eventlog.BuiltinUsers())
	assert.Equal(t, 1, a.Epoch().Number)
	assert.Equal(t, before, a.Epoch().Position)
}

// Writes to a restored log do not reach the snapshot, nor the other way round.
func TestASnapshotStaysAsItIs(t *testing.T) {
	a := full(t)
	snap := a.Snapshot()
	n, marks := len(snap.Events), len(snap.Marks)
	a.write("s")
	a.write("s", events(9)...)
	b := newBench(t, eventlog.Facts{})
	require.NoError(t, b.Restore(snap))
	b.write("s")
	b.write("s", events(9)...)
	assert.Len(t, snap.Events, n)
	assert.Len(t, snap.Marks, marks)

	snap.Marks = slices.Grow(snap.Marks, 10)
	c, d := newBench(t, eventlog.Facts{}), newBench(t, eventlog.Facts{})
	require.NoError(t, c.Restore(snap))
	require.NoError(t, d.Restore(snap))
	c.write("s", events(10)...)
	c.write("s")
	want := c.Snapshot()
	d.write("s")
	c.write("s")
	assert.Equal(t, want.Marks, c.Snapshot().Marks[:len(want.Marks)], "logs of one snapshot share nothing")
}

func TestImpossibleSnapshots(t *testing.T) {
	for name, spoil := range map[string]func(s *eventlog.Snapshot){
		"no stream":          func(s *eventlog.Snapshot) { s.Events[0].Stream = "" },
		"no type":            func(s *eventlog.Snapshot) { s.Events[1].Type = "" },
		"a gap":              func(s *eventlog.Snapshot) { s.Events[1].Number = 2 },
		"a number twice":     func(s *eventlog.Snapshot) { s.Events[1].Number = 0 },
		"behind a tombstone": func(s *eventlog.Snapshot) { s.Events[0].Number = esproto.DeletedStream },
		"positions turned":   func(s *eventlog.Snapshot) { s.Events[1].Commit = s.Events[0].Commit - 1 },
		"a position twice": func(s *eventlog.Snapshot) {
			s.Events[1].Commit, s.Events[1].Prepare = s.Events[0].Commit, s.Events[0].Prepare
		},
		"a negative position": func(s *eventlog.Snapshot) { s.Events[0].Prepare = -1 },
		"behind the end":      func(s *eventlog.Snapshot) { s.End = s.Events[1].Commit },
		"a mark at the end":   func(s *eventlog.Snapshot) { s.Marks = append(s.Marks, s.End) },
		"marks turned":        func(s *eventlog.Snapshot) { s.Marks = []int64{5, 4} },
		"nothing at the end":  func(s *eventlog.Snapshot) { s.LastEmpty = s.End },
		"nothing before it":   func(s *eventlog.Snapshot) { s.LastEmpty = -2 },
	} {
		t.Run(name, func(t *testing.T) {
			a := newBench(t, eventlog.Facts{})
			a.write("s", events(1, 2)...)
			a.write("s")
			snap := a.Snapshot()
			require.NoError(t, newBench(t, eventlog.Facts{}).Restore(snap))
			spoil(snap)
			assert.Error(t, newBench(t, eventlog.Facts{}).Restore(snap))
		})
	}
}

// A log that catches up with another one copies the missing records, or starts again if the logs differ.
func TestCatchUp(t *testing.T) {
	leader := full(t)
	follower := newBench(t, eventlog.Facts{WritesEpochEvents: true})
	heard := 0
	follower.Observe(func(c eventlog.Commit) { heard += len(c.Records) })
	assert.False(t, follower.CatchUp(leader.Log))
	assert.Equal(t, leader.Snapshot(), follower.Snapshot())
	assert.Equal(t, leader.Records().Len(), heard)
	assert.NotSame(t, leader.Stream("s"), follower.Stream("s"), "each has its own streams")
	assert.Equal(t, leader.numbers("s"), follower.numbers("s"))

	heard = 0
	leader.write("s", leader.fresh(2)...)
	leader.write("s")
	assert.False(t, follower.CatchUp(leader.Log))
	assert.Equal(t, leader.Snapshot(), follower.Snapshot())
	assert.Equal(t, 2, heard)

	follower.write("lost", follower.fresh(1)...)
	leader.write("s", leader.fresh(2)...)
	assert.True(t, follower.CatchUp(leader.Log))
	assert.Equal(t, leader.Snapshot(), follower.Snapshot())
	assert.Nil(t, follower.Stream("lost"))
}
