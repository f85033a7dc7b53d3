package eventlog_test

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

const (
	anyVersion = esproto.ExpectAny
	noStream   = esproto.ExpectNoStream
	exists     = esproto.ExpectStreamExists
	deleted    = esproto.DeletedStream

	success      = esproto.OperationResult_Success
	wrongVersion = esproto.OperationResult_WrongExpectedVersion
	gone         = esproto.OperationResult_StreamDeleted
	denied       = esproto.OperationResult_AccessDenied
)

// bench is a log with a clock that stands still, and a user who writes to it.
type bench struct {
	*eventlog.Log
	t    *testing.T
	now  time.Time
	made uint64 // ids
}

func newBench(t *testing.T, f eventlog.Facts) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Date(2024, 5, 21, 10, 21, 33, 0, time.UTC)}
	b.Log = eventlog.New(&f, slog.New(slog.DiscardHandler), func() time.Time { return b.now })
	b.LoadDefaults()
	return b
}

// id returns the nth id of a client.
func id(n uint64) (g esproto.GUID) {
	binary.BigEndian.PutUint64(g[8:], n)
	return g
}

// events returns events with these ids.
func events(ids ...uint64) (list []eventlog.Event) {
	for _, n := range ids {
		list = append(list, eventlog.Event{ID: id(n), Type: "T", Data: []byte(strconv.FormatUint(n, 10))})
	}
	return list
}

// fresh returns n events that the log has not had.
func (b *bench) fresh(n int) (list []eventlog.Event) {
	for range n {
		b.made++
		list = append(list, events(1000+b.made)...)
	}
	return list
}

// write appends events that must be taken.
func (b *bench) write(stream string, list ...eventlog.Event) eventlog.Outcome {
	b.t.Helper()
	o := b.Append(eventlog.System, stream, anyVersion, list)
	require.Equal(b.t, success, o.Result)
	return o
}

// set writes the metadata of a stream.
func (b *bench) set(stream, metadata string) {
	b.t.Helper()
	e := b.fresh(1)
	e[0].Type, e[0].JSON, e[0].Data = eventlog.MetadataType, true, []byte(metadata)
	b.write("$$"+stream, e...)
}

func (b *bench) remove(stream string, hard bool) {
	b.t.Helper()
	require.Equal(b.t, success, b.Delete(eventlog.System, stream, anyVersion, hard).Result)
}

// numbers are those of the visible events of a stream.
func (b *bench) numbers(stream string) (list []int64) {
	for _, r := range b.Read(eventlog.System, stream, 0, esproto.MaxReadCount, true).Records {
		list = append(list, r.Number)
	}
	return list
}

// states are the states of a stream before a write.
var states = map[string]func(b *bench){
	"new":           func(*bench) {},
	"two events":    func(b *bench) { b.write("s", events(1, 2)...) },
	"metadata only": func(b *bench) { b.set("s", "{}") },
	"soft-deleted":  func(b *bench) { b.write("s", events(1, 2)...); b.remove("s", false) },
	"hard-deleted":  func(b *bench) { b.write("s", events(1, 2)...); b.remove("s", true) },
}

func TestExpectedVersions(t *testing.T) {
	type want struct {
		result  esproto.OperationResult
		number  int64 // of the first event if it is written
		current int64 // version in the reply of a refused write
	}
	taken := func(first int64) want { return want{success, first, -1} }
	wrong := func(current int64) want { return want{wrongVersion, esproto.InvalidEventNumber, current} }
	dead := want{gone, esproto.InvalidEventNumber, -1}
	for state, table := range map[string]map[int64]want{
		"new": {anyVersion: taken(0), noStream: taken(0), exists: wrong(-1), 0: wrong(-1), 5: wrong(-1)},
		"two events": {
			anyVersion: taken(2), noStream: wrong(1), exists: taken(2), 0: wrong(1), 1: taken(2), 2: wrong(1),
		},
		"metadata only": {anyVersion: taken(0), noStream: taken(0), exists: taken(0), 0: wrong(-1)},
		"soft-deleted": {
			anyVersion: taken(2), noStream: taken(2), exists: dead, 0: wrong(1), 1: taken(2), 2: wrong(1),
		},
		"hard-deleted": {anyVersion: dead, noStream: dead, exists: dead, 0: dead, 1: dead, math.MaxInt64 - 1: dead},
	} {
		for expected, want := range table {
			t.Run(fmt.Sprintf("%s, %d", state, expected), func(t *testing.T) {
				b := newBench(t, eventlog.Facts{})
				states[state](b)
				before := b.Records().Len()
				o := b.Append(eventlog.System, "s", expected, events(8, 9))
				assert.Equal(t, want.result, o.Result)
				assert.Equal(t, want.number, o.First)
				assert.Equal(t, want.current, o.Current)
				if want.result != success {
					assert.Equal(t, before, b.Records().Len(), "nothing is written")
					return
				}
				assert.Equal(t, want.number+1, o.Last)
				assert.Equal(t, b.LastCommit() == o.Commit, state != "soft-deleted", "the stream is brought back later")
				page := b.Read(eventlog.System, "s", 0, 10, true)
				last := page.Records[len(page.Records)-1]
				assert.Equal(t, id(9), last.ID)
				assert.Equal(t, o.Commit, last.Commit)
				assert.Equal(t, o.Prepare, last.Prepare)
			})
		}
	}
}

func TestRepeatedAppends(t *testing.T) {
	for _, tc := range []struct {
		name        string
		expected    int64
		ids         []uint64
		forget      bool // the process is another one
		result      esproto.OperationResult
		first, last int64
		written     int
	}{
		{name: "any, all", expected: anyVersion, ids: []uint64{1, 2, 3}, first: 0, last: 2},
		{name: "any, some in the middle", expected: anyVersion, ids: []uint64{2, 3}, first: 1, last: 2},
		{name: "any, with a new one behind", expected: anyVersion, ids: []uint64{3, 4}, result: wrongVersion},
		{name: "any, with a new one before", expected: anyVersion, ids: []uint64{4, 3}, first: 3, last: 4, written: 2},
		{name: "any, forgotten", expected: anyVersion, ids: []uint64{1, 2, 3}, forget: true, first: 3, last: 5,
			written: 3},
		{name: "exists, all", expected: exists, ids: []uint64{1, 2, 3}, first: 0, last: 2},
		{name: "exists, forgotten", expected: exists, ids: []uint64{1}, forget: true, first: 3, last: 3, written: 1},
		{name: "no stream, all", expected: noStream, ids: []uint64{1, 2, 3}, first: 0, last: 2},
		{name: "no stream, forgotten", expected: noStream, ids: []uint64{1, 2, 3}, forget: true, first: 0, last: 2},
		{name: "no stream, its beginning", expected: noStream, ids: []uint64{1, 2}, first: 0, last: 1},
		{name: "no stream, others", expected: noStream, ids: []uint64{4}, result: wrongVersion},
		{name: "exact, all that follow", expected: 0, ids: []uint64{2, 3}, first: 1, last: 2},
		{name: "exact, forgotten", expected: 0, ids: []uint64{2, 3}, forget: true, first: 1, last: 2},
		{name: "exact, in another order", expected: 0, ids: []uint64{3, 2}, result: wrongVersion},
		{name: "exact, more than there are", expected: 1, ids: []uint64{3, 4}, result: wrongVersion},
		{name: "exact, of another place", expected: 1, ids: []uint64{2}, result: wrongVersion},
		{name: "exact, at the end", expected: 2, ids: []uint64{1}, first: 3, last: 3, written: 1},
	} {
		for _, tells := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, %t", tc.name, tells), func(t *testing.T) {
				b := newBench(t, eventlog.Facts{KnownWriteHasPosition: tells})
				b.write("other", events(1, 2, 3, 4)...) // ids are remembered by stream
				b.ForgetIDs()
				b.write("s", events(1, 2, 3)...)
				if tc.forget {
					b.ForgetIDs()
				}
				before := b.Records().Len()
				o := b.Append(eventlog.System, "s", tc.expected, events(tc.ids...))
				require.Equal(t, tc.result, o.Result)
				assert.Equal(t, before+tc.written, b.Records().Len())
				if tc.result != success {
					assert.EqualValues(t, 2, o.Current)
					return
				}
				assert.Equal(t, tc.first, o.First)
				assert.Equal(t, tc.last, o.Last)
				position := b.Stream("s").At(o.Last).Prepare
				if tc.written == 0 && !tells {
					position = -1
				}
				assert.Equal(t, position, o.Commit)
			})
		}
	}
}

// A write of no events takes a place in the log, which only some versions tell.
func TestAnAppendOfNothing(t *testing.T) {
	for _, counts := range []bool{false, true} {
		b := newBench(t, eventlog.Facts{EmptyWritesCount: counts})
		first := b.write("s", events(1)...)
		o := b.Append(eventlog.System, "s", 0, nil)
		assert.Equal(t, success, o.Result)
		assert.EqualValues(t, 1, o.First)
		assert.EqualValues(t, 0, o.Last)
		assert.Greater(t, o.Commit, first.Commit)
		assert.Equal(t, first.Commit, b.LastCommit())
		assert.Greater(t, b.End(), o.Commit)
		assert.Equal(t, 1, b.Records().Len())
		told := first.Commit
		if counts {
			told = o.Commit
		}
		assert.Equal(t, told, b.Read(eventlog.System, "s", 0, 1, true).LastCommit)
	}
}

// Records follow each other in the log without gaps, and take as much space as their content.
func TestPositions(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	at := b.End()
	for i, e := range []eventlog.Event{
		{ID: id(1), Type: "T"}, {ID: id(2), Type: "longer"}, {ID: id(3), Type: "T", Data: make([]byte, 1000)},
		{ID: id(4), Type: "T", Metadata: make([]byte, 10)},
	} {
		o := b.write("s", e)
		assert.Equal(t, at, o.Commit, i)
		assert.Equal(t, at, o.Prepare, i)
		r := b.Records().At(i)
		assert.Equal(t, eventlog.Position{Commit: at, Prepare: at}, r.Position())
		assert.Equal(t, i, b.IndexFrom(r.Position()))
		assert.Greater(t, b.End(), at+int64(len(e.Type)+len(e.Data)+len(e.Metadata)))
		at = b.End()
	}
	assert.Equal(t, 4, b.IndexFrom(eventlog.Position{Commit: b.End(), Prepare: b.End()}))
}

// Pages of $all of any size meet, forward and backward; a position without a record is refused.
func TestReadAll(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	for i := range 5 {
		b.write(fmt.Sprint("s", i%2), b.fresh(i+1)...)
	}
	tx, _ := b.BeginTransaction(eventlog.System, "tx", anyVersion)
	b.WriteTransaction(eventlog.System, tx, b.fresh(3))
	b.write("between", b.fresh(1)...)
	b.CommitTransaction(eventlog.System, tx)
	var all []*eventlog.Record
	for _, r := range b.Records().From(0) {
		all = append(all, r)
	}
	for size := 1; size <= len(all)+1; size++ {
		for _, forward := range []bool{true, false} {
			var got []*eventlog.Record
			from := eventlog.Position{}
			if !forward {
				from = eventlog.Position{Commit: -1, Prepare: -1}
			}
			for {
				page := b.ReadAll(eventlog.System, from,
					&eventlog.Scan{Forward: forward, Count: size, Window: math.MaxInt})
				require.Zero(t, page.Result, page.Text)
				if len(page.Records) == 0 {
					break
				}
				got, from = append(got, page.Records...), page.Next
			}
			require.Len(t, got, len(all))
			for i, r := range got {
				want := all[i]
				if !forward {
					want = all[len(all)-1-i]
				}
				require.Same(t, want, r, "size %d, forward %t", size, forward)
			}
		}
	}
	scan := &eventlog.Scan{Forward: true, Count: 1, Window: 1}
	inside := eventlog.Position{Commit: all[1].Commit + 1, Prepare: all[1].Prepare + 1}
	assert.Equal(t, esproto.ReadAllEventsCompleted_Error, b.ReadAll(eventlog.System, inside, scan).Result)
	scan.Count = esproto.MaxReadCount + 1
	assert.Equal(t, esproto.ReadAllEventsCompleted_Error, b.ReadAll(eventlog.System, eventlog.Position{}, scan).Result)
}

func TestAScanPicks(t *testing.T) {
	b := newBench(t, eventlog.Facts{HidesEpochs: true, WritesEpochEvents: true, HasGroupsOnAll: true})
	b.Lead("instance", nil)
	b.write("$persistentsubscription-$all::g-checkpoint", b.fresh(1)...)
	for range 10 {
		b.write("a", b.fresh(1)...)
		b.write("b", b.fresh(1)...)
	}
	names := func(scan *eventlog.Scan) (list []string) {
		for _, r := range b.ReadAll(eventlog.System, eventlog.Position{}, scan).Records {
			list = append(list, r.Stream.Name)
		}
		return list
	}
	everything := names(&eventlog.Scan{Forward: true, Count: 100, Window: 100})
	assert.NotContains(t, everything, "$epoch-information")
	assert.NotContains(t, everything, "$persistentsubscription-$all::g-checkpoint")
	isB := func(r *eventlog.Record) bool { return r.Stream.Name == "b" }
	assert.Len(t, names(&eventlog.Scan{Forward: true, Count: 100, Window: 100, Picks: isB}), 10)
	assert.Len(t, names(&eventlog.Scan{Forward: true, Count: 4, Window: 100, Picks: isB}), 4)
	assert.Empty(t, names(&eventlog.Scan{Forward: true, Count: 4, Window: 2, Picks: isB}))
}

// Observers get the commits in order. A write by an observer reaches later observers before its cause does.
func TestObservers(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	var heard []string
	hear := func(who string) func(eventlog.Commit) {
		return func(c eventlog.Commit) {
			if c.Stream == nil {
				heard = append(heard, who+" nothing")
				return
			}
			heard = append(heard, fmt.Sprintf("%s %s %d", who, c.Stream.Name, len(c.Records)))
			for i, r := range c.Records {
				assert.Same(t, c.Stream.At(r.Number), r, "readers see it")
				assert.Equal(t, c.Records[0].Number+int64(i), r.Number)
			}
		}
	}
	b.Observe(hear("first"))
	b.Observe(func(c eventlog.Commit) {
		if c.Stream != nil && c.Stream.Name == "cause" {
			b.SystemAppend("effect", "T", false, nil, nil)
		}
	})
	b.Observe(hear("last"))
	b.write("cause", events(1, 2)...)
	assert.Equal(t, []string{"first cause 2", "first effect 1", "last effect 1", "last cause 2"}, heard)
	heard = nil
	b.write("s")
	assert.Equal(t, []string{"first nothing", "last nothing"}, heard)
}

// An observer may append as clients do, while the log is at an append.
func TestObserversMayAppend(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	b.write("s", b.fresh(3)...)
	b.Observe(func(c eventlog.Commit) {
		if c.Stream.Name == "s" {
			b.write("copy", b.fresh(3)...)
		}
	})
	o := b.write("s", b.fresh(3)...)
	assert.EqualValues(t, 5, o.Last)
	assert.Equal(t, b.Stream("s").At(5).Commit, o.Commit)
	assert.Equal(t, []int64{0, 1, 2, 3, 4, 5}, b.numbers("s"))
	assert.Equal(t, []int64{0, 1, 2}, b.numbers("copy"))
}

// The commit that an observer got does not change later.
func TestObserversMayKeepRecords(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	var kept [][]*eventlog.Record
	b.Observe(func(c eventlog.Commit) { kept = append(kept, c.Records) })
	for range 50 {
		b.write("s", b.fresh(2)...)
	}
	require.Len(t, kept, 50)
	for i, recs := range kept {
		require.Len(t, recs, 2)
		assert.EqualValues(t, 2*i, recs[0].Number)
		assert.EqualValues(t, 2*i+1, recs[1].Number)
	}
}
