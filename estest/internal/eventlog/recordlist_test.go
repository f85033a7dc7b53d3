package eventlog

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecordListIsLikeASlice(t *testing.T) {
	t.Parallel()
	var (
		list RecordList
		want []*Record
	)
	for n := range 3*listChunk + 2 {
		require.Equal(t, n, list.Len())
		want = append(want, &Record{Number: int64(n)})
		list.add(want[n])
		for _, from := range []int{n + 1, n, n - 1, n - 2, n - 2*listChunk, 0} {
			if from >= 0 && !slices.Equal(want[from:], list.tail(from)) {
				require.Fail(t, "another tail", "of %d records from %d on", n+1, from)
			}
		}
	}
	for i, r := range want {
		require.Same(t, r, list.At(i))
	}
	for _, from := range []int{0, 1, listChunk - 1, listChunk, listChunk + 1, len(want)} {
		next := from
		for i, r := range list.From(from) {
			require.Equal(t, next, i)
			require.Same(t, want[i], r)
			next++
		}
		assert.Equal(t, len(want), next)
	}
}

func TestRecordListLoopsOverWhatItHas(t *testing.T) {
	t.Parallel()
	var list RecordList
	list.add(new(Record))
	turns := 0
	for _, r := range list.From(0) {
		list.add(r)
		turns++
	}
	assert.Equal(t, 1, turns)
	assert.Equal(t, 2, list.Len())
}

// A server that copies its list of records lets all its clients wait meanwhile, the longer the more events it has.
func TestRecordListCopiesNoLongList(t *testing.T) {
	t.Parallel()
	var (
		list   RecordList
		places []**Record
		r      Record
	)
	for range 20 * listChunk {
		list.add(&r)
		if list.Len()%listChunk == 0 {
			places = append(places, &list.chunks[len(list.chunks)-1][0])
		}
	}
	require.Len(t, places, 20)
	for i, place := range places {
		assert.Same(t, place, &list.chunks[i][0], "chunk %d", i)
	}
}

// The rest of a list that an observer has got does not change when the list grows.
func TestRecordListTailsStay(t *testing.T) {
	t.Parallel()
	var (
		list  RecordList
		tails [][]*Record
	)
	for n := range 2*listChunk + 1 {
		list.add(&Record{Number: int64(n)})
		tails = append(tails, list.tail(max(n-1, 0)))
	}
	for n, tail := range tails {
		assert.EqualValues(t, n, tail[len(tail)-1].Number)
		_ = append(tail, nil) // a tail has no room that the list uses
	}
	assert.NotContains(t, list.tail(0), (*Record)(nil))
}
