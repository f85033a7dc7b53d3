package esclient_test

import (
	"context"
	"encoding/json"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

// TestAnEventIsSmall holds the size of the struct, because applications keep many of them. 21 fill a slab of 3 KiB.
func TestAnEventIsSmall(t *testing.T) {
	assert.LessOrEqual(t, unsafe.Sizeof(esclient.Event{}), uintptr(144))
}

func TestATimestampIsATime(t *testing.T) {
	for _, want := range []time.Time{
		{}, time.Date(1, 1, 1, 0, 0, 0, 100, time.UTC), time.Date(2026, 11, 29, 6, 7, 8, 123_456_700, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_900, time.UTC),
	} {
		stamp := esclient.TimestampOf(want)
		assert.True(t, want.Equal(stamp.Time()), "%v: %v", want, stamp)
		assert.Equal(t, want.IsZero(), stamp.IsZero())
		text, err := json.Marshal(stamp)
		require.NoError(t, err)
		same, err := json.Marshal(want)
		require.NoError(t, err)
		assert.Equal(t, string(same), string(text))
		var again esclient.Timestamp
		require.NoError(t, json.Unmarshal(text, &again))
		assert.Equal(t, stamp, again)
	}
	for _, text := range []string{``, `1`, `"tomorrow"`, `"0000-12-31T23:59:59Z"`} {
		stamp := esclient.Timestamp(1)
		require.Error(t, json.Unmarshal([]byte(text), &stamp))
		assert.EqualValues(t, 1, stamp)
	}
}

// BenchmarkKeptEvent measures the heap that each event with 256 bytes of data takes while an application keeps it.
func BenchmarkKeptEvent(b *testing.B) {
	keep := func(e *esclient.Event) *esclient.Event { return e }
	b.Run("read", func(b *testing.B) { keepRead(b, keep) })
	b.Run("cloned", func(b *testing.B) { keepRead(b, (*esclient.Event).Clone) })
	b.Run("pushed", func(b *testing.B) {
		next := volatileSubscriber(b)
		keepAll(b, func(n int) (kept []*esclient.Event) {
			for range n {
				e, err := next()
				require.NoError(b, err)
				kept = append(kept, e)
			}
			return kept
		})
	})
}

func keepRead(b *testing.B, keep func(*esclient.Event) *esclient.Event) {
	c, pages := newReadClient(b), esclient.ReadOptions{PageSize: benchPageSize}
	keepAll(b, func(n int) (kept []*esclient.Event) {
		for len(kept) < n {
			for e, err := range c.ReadStream(context.Background(), "orders", pages) {
				require.NoError(b, err)
				kept = append(kept, keep(e))
			}
		}
		return kept
	})
}

// keepAll reports the heap for each of at least n events, without the pointers to them.
func keepAll(b *testing.B, get func(n int) []*esclient.Event) {
	const n = 4 * benchPages * benchPageSize
	get(n) // the client's own memory
	var perEvent float64
	for range b.N {
		before := heapInUse()
		kept := get(n)
		pointers := cap(kept) * int(unsafe.Sizeof(kept[0]))
		perEvent = float64(heapInUse()-before-pointers) / float64(len(kept))
		runtime.KeepAlive(kept)
	}
	b.ReportMetric(perEvent, "B/kept")
}

func heapInUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
