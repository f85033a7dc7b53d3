package esproto_test

import (
	"math"
	"testing"
	"testing/quick"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func TestTicks(t *testing.T) {
	t.Parallel()
	for ticks, want := range map[int64]string{
		0:                               "0001-01-01T00:00:00Z",
		1:                               "0001-01-01T00:00:00.0000001Z",
		621_355_968_000_000_000 - 1:     "1969-12-31T23:59:59.9999999Z",
		621_355_968_000_000_000:         "1970-01-01T00:00:00Z",
		637_765_056_001_234_567:         "2021-12-31T00:00:00.1234567Z",
		3_155_378_975_999_999_999:       "9999-12-31T23:59:59.9999999Z", // DateTime.MaxValue
		637_765_056_001_234_567 | 1<<62: "2021-12-31T00:00:00.1234567Z", // kind Utc
	} {
		got := esproto.TicksToTime(ticks)
		assert.Equal(t, want, got.Format(time.RFC3339Nano))
		assert.Equal(t, time.UTC, got.Location())
		if ticks < 1<<62 {
			assert.Equal(t, ticks, esproto.TimeToTicks(got))
		}
	}
	local := int64(637_765_056_001_234_567) | math.MinInt64 // kind Local
	assert.Equal(t, "2021-12-31T00:00:00.1234567Z", esproto.TicksToTime(local).Format(time.RFC3339Nano))
}

func TestTicksOfAnyValueAreATime(t *testing.T) {
	t.Parallel()
	first, last := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(15_000, 1, 1, 0, 0, 0, 0, time.UTC)
	check := func(ticks int64) bool {
		got := esproto.TicksToTime(ticks)
		return !got.Before(first) && got.Before(last) && esproto.TimeToTicks(got) == ticks&(1<<62-1)
	}
	for _, ticks := range []int64{math.MinInt64, math.MaxInt64, -1, 1<<62 - 1, 1 << 62} {
		assert.True(t, check(ticks), "%d", ticks)
	}
	require.NoError(t, quick.Check(check, nil))
}

func TestTimeToTicksTruncates(t *testing.T) {
	t.Parallel()
	east := time.FixedZone("east", 3600)
	for _, in := range []time.Time{
		time.Date(2021, 12, 31, 1, 0, 0, 123_456_799, east),
		time.Date(1969, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		assert.Equal(t, in.UTC().Truncate(100), esproto.TicksToTime(esproto.TimeToTicks(in)))
	}
}

func TestRecordTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2021, 12, 31, 0, 0, 0, 123_456_700, time.UTC)
	both := esproto.RecordView{Created: esproto.TimeToTicks(at), CreatedEpoch: at.UnixMilli()}
	assert.Equal(t, at, both.Time())
	epoch := esproto.RecordView{CreatedEpoch: at.UnixMilli()}
	assert.Equal(t, at.Truncate(time.Millisecond), epoch.Time())
	assert.Equal(t, time.UTC, epoch.Time().Location())
	assert.True(t, new(esproto.RecordView).Time().IsZero())

	for _, odd := range []int64{math.MinInt64, math.MaxInt64, -1} {
		assert.Equal(t, esproto.TicksToTime(odd), (&esproto.RecordView{Created: odd}).Time())
		assert.Equal(t, odd, (&esproto.RecordView{CreatedEpoch: odd}).Time().UnixMilli())
	}
}

// TestRecordedTimes holds created and created_epoch of real servers against each other.
func TestRecordedTimes(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, f := range recorded(t) {
		if f.Dir != "recv" || f.Cmd != "StreamEventAppeared" {
			continue
		}
		b, whole := f.payload(t)
		require.True(t, whole, f.where)
		var e esproto.EventView
		require.NoError(t, esproto.DecodeStreamEventAppeared(b, &e), f.where)
		epoch := time.UnixMilli(e.Original().CreatedEpoch).UTC()
		require.Equal(t, epoch, e.Original().Time().Truncate(time.Millisecond), f.where)
		compared++
	}
	assert.Greater(t, compared, 50)
}

func TestOriginal(t *testing.T) {
	t.Parallel()
	e := esproto.EventView{HasEvent: true}
	assert.Same(t, &e.Event, e.Original())
	e.HasLink = true
	assert.Same(t, &e.Link, e.Original())
	e.HasEvent = false // a link that could not be resolved
	assert.Same(t, &e.Link, e.Original())
}

func TestRecordAppend(t *testing.T) {
	t.Parallel()
	var zero esproto.RecordView
	assert.Empty(t, zero.Append(nil, esproto.OmitZeros))
	explicit := &esproto.EventRecord{
		EventStreamId: proto.String(""), EventNumber: proto.Int64(0), EventId: []byte{}, EventType: proto.String(""),
		DataContentType: proto.Int32(0), MetadataContentType: proto.Int32(0), Data: []byte{}, Metadata: []byte{},
		Created: proto.Int64(0), CreatedEpoch: proto.Int64(0),
	}
	want, err := proto.Marshal(explicit)
	require.NoError(t, err)
	assert.Equal(t, want, zero.Append(nil, esproto.Explicit))
	assert.Equal(t, append([]byte("before"), want...), zero.Append([]byte("before"), esproto.Explicit))
}

// TestDecodeMerges reads a record that comes in two pieces, as protobuf allows.
func TestDecodeMerges(t *testing.T) {
	t.Parallel()
	first := esproto.RecordView{StreamID: "s", EventNumber: 5, Data: []byte("old")}
	second := esproto.RecordView{Data: []byte("new"), EventType: "t"}
	b := esproto.AppendIndexedEvent(nil, 1, first.Append(nil, esproto.OmitZeros), nil)
	b = esproto.AppendIndexedEvent(b, 1, second.Append(nil, esproto.OmitZeros), nil)
	var e esproto.EventView
	require.NoError(t, esproto.DecodeStreamEventAppeared(b, &e))
	assert.Equal(t, esproto.RecordView{StreamID: "s", EventNumber: 5, EventType: "t", Data: []byte("new")}, e.Event)
	assert.True(t, e.HasEvent)
	assert.False(t, e.HasLink)
}
