package eventlog_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// transact begins a transaction and writes to it, once for each list.
func (b *bench) transact(stream string, expected int64, writes ...[]eventlog.Event) (tx int64) {
	b.t.Helper()
	tx, result := b.BeginTransaction(eventlog.System, stream, expected)
	require.Equal(b.t, success, result)
	for _, list := range writes {
		require.Equal(b.t, success, b.WriteTransaction(eventlog.System, tx, list))
	}
	return tx
}

func TestATransaction(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	b.write("s", events(1)...)
	tx := b.transact("s", 0, events(2), events(3, 4))
	b.write("other", events(9)...)
	assert.Equal(t, []int64{0}, b.numbers("s"), "nothing is to be seen yet")

	o := b.CommitTransaction(eventlog.System, tx)
	require.Equal(t, success, o.Result)
	assert.EqualValues(t, 1, o.First)
	assert.EqualValues(t, 3, o.Last)
	assert.Equal(t, []int64{0, 1, 2, 3}, b.numbers("s"))
	assert.Equal(t, b.LastCommit(), o.Commit)
	between := b.Stream("other").At(0).Commit
	for n := int64(1); n <= 3; n++ {
		r := b.Stream("s").At(n)
		assert.Equal(t, o.Commit, r.Commit, "they share the position of the commit")
		assert.Less(t, r.Prepare, between, "and keep their positions")
		assert.Greater(t, r.Prepare, tx)
	}
}

func TestCommits(t *testing.T) {
	for _, tc := range []struct {
		name     string
		expected int64
		before   func(b *bench, tx int64) // the commit
		result   esproto.OperationResult
		written  int
	}{
		{name: "any", expected: anyVersion, written: 2},
		{name: "exact", expected: 0, written: 2},
		{name: "no stream", expected: noStream, result: wrongVersion},
		{name: "above", expected: 7, result: wrongVersion},
		{name: "another write was faster", expected: 0, result: wrongVersion,
			before: func(b *bench, _ int64) { b.write("s", events(5)...) }},
		{name: "the same events are there", expected: 0,
			before: func(b *bench, _ int64) { b.write("s", events(2, 3)...) }},
		{name: "again", expected: 0,
			before: func(b *bench, tx int64) { b.CommitTransaction(eventlog.System, tx) }},
		{name: "deleted meanwhile", expected: 0, result: gone,
			before: func(b *bench, _ int64) { b.remove("s", true) }},
		{name: "soft-deleted meanwhile", expected: 0, written: 3, // and the metadata that brings the stream back
			before: func(b *bench, _ int64) { b.remove("s", false) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, eventlog.Facts{})
			b.write("s", events(1)...)
			tx := b.transact("s", tc.expected, events(2, 3))
			if tc.before != nil {
				tc.before(b, tx)
			}
			before, end := b.Records().Len(), b.End()
			o := b.CommitTransaction(eventlog.System, tx)
			assert.Greater(t, b.End(), end, "each commit is in the log")
			assert.Equal(t, tc.result, o.Result)
			assert.Equal(t, before+tc.written, b.Records().Len())
			if tc.result == success {
				assert.EqualValues(t, 1, o.First)
				assert.EqualValues(t, 2, o.Last)
			}
		})
	}
}

func TestWhoMayUseATransaction(t *testing.T) {
	user := &eventlog.User{Login: "u"}
	for _, checked := range []bool{false, true} {
		b := newBench(t, eventlog.Facts{TransactionWriteIsChecked: checked})
		b.set("s", `{"$acl":{"$w":"other"}}`)
		tx, result := b.BeginTransaction(user, "s", anyVersion)
		assert.Equal(t, denied, result)
		assert.EqualValues(t, -1, tx)

		tx = b.transact("s", anyVersion)
		want := success
		if checked {
			want = denied
		}
		assert.Equal(t, want, b.WriteTransaction(user, tx, events(1)))
		assert.Equal(t, want, b.WriteTransaction(user, 12345, events(1)), "there is no such transaction")
		assert.Equal(t, denied, b.CommitTransaction(user, tx).Result)
		assert.Equal(t, denied, b.CommitTransaction(eventlog.System, 12345).Result)
		assert.Empty(t, b.numbers("s"))
	}
}

// Every commit closes a transaction, even a failed one: later writes do not belong to it.
func TestAWriteBehindTheCommit(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	tx := b.transact("s", anyVersion, events(1))
	b.CommitTransaction(eventlog.System, tx)
	assert.Equal(t, success, b.WriteTransaction(eventlog.System, tx, events(2)))
	assert.Equal(t, success, b.CommitTransaction(eventlog.System, tx).Result)
	assert.Equal(t, []int64{0}, b.numbers("s"))
}

// The commit of nothing has a place in the log all the same.
func TestAnEmptyTransaction(t *testing.T) {
	b := newBench(t, eventlog.Facts{})
	b.write("s", events(1)...)
	before := b.LastCommit()
	o := b.CommitTransaction(eventlog.System, b.transact("s", 0))
	assert.Equal(t, success, o.Result)
	assert.Greater(t, o.Commit, before)
	assert.Equal(t, o.Commit, b.LastCommit())
	assert.Equal(t, []int64{0}, b.numbers("s"))
}
