package esclient_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// inUse is the memory that is reachable, and that of the goroutines' stacks.
func inUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the second run frees the memory of pools
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

func TestAnIdleConnectionIsSmall(t *testing.T) {
	const count = 50
	s := newScript(t)
	before := inUse()
	for range count {
		require.NoError(t, s.client(nil).Connect(testContext(t)))
	}
	const script = 16 << 10 // for its half of a connection: a goroutine and a buffer
	assert.Less(t, (inUse()-before)/count, 32<<10+script)
}

// TestAnIdleSubscriptionIsSmall also checks that it keeps none of the events that it has handed out.
func TestAnIdleSubscriptionIsSmall(t *testing.T) {
	const count, events = 500, 20
	confirmation, err := proto.Marshal(&esproto.SubscriptionConfirmation{
		LastCommitPosition: proto.Int64(0), LastEventNumber: proto.Int64(-1),
	})
	require.NoError(t, err)
	joined, err := proto.Marshal(&esproto.PersistentSubscriptionConfirmation{SubscriptionId: proto.String("orders::g")})
	require.NoError(t, err)
	c := newBenchClient(t, func(cmd esproto.Command, id esproto.CorrelationID, _, out []byte) []byte {
		switch cmd {
		case esproto.CmdReadStreamEventsBackward:
			return esproto.AppendFrame(out, esproto.CmdReadStreamEventsBackwardCompleted, id, noStream)
		case esproto.CmdSubscribeToStream:
			out = esproto.AppendFrame(out, esproto.CmdSubscriptionConfirmation, id, confirmation)
			for i := range int64(events) {
				record := benchRecord(i, esproto.GUID{1, byte(i)})
				out = esproto.AppendFrame(out, esproto.CmdStreamEventAppeared, id,
					esproto.AppendStreamEventAppeared(nil, record, nil, i, i, esproto.Explicit))
			}
		case esproto.CmdConnectToPersistentSubscription:
			out = esproto.AppendFrame(out, esproto.CmdPersistentSubscriptionConfirmation, id, joined)
			for i := range int64(events) {
				record := benchRecord(i, esproto.GUID{1, byte(i)})
				out = esproto.AppendFrame(out, esproto.CmdPersistentSubscriptionStreamEventAppeared, id,
					esproto.AppendPersistentEvent(nil, record, nil, 0, esproto.Explicit))
			}
		}
		return out
	})
	ctx := testContext(t)
	require.NoError(t, c.Connect(ctx))
	for kind, subscribe := range map[string]func() error{
		"volatile": func() error {
			s, err := c.SubscribeVolatile(ctx, "orders", esclient.VolatileOptions{})
			for range events {
				if err == nil {
					_, err = s.Next(ctx)
				}
			}
			return err
		},
		"group": func() error {
			p, err := c.ConnectPersistent(ctx, "orders", "g", esclient.PersistentOptions{})
			for range events {
				if err != nil {
					return err
				}
				var e *esclient.Event
				if e, err = p.Next(ctx); err == nil {
					err = p.Ack(e)
				}
			}
			return err
		},
	} {
		require.NoError(t, subscribe(), kind) // buffers of the connection
		before := inUse()
		for range count {
			require.NoError(t, subscribe(), kind)
		}
		assert.Less(t, (inUse()-before)/count, 8<<10, kind)
	}
}

// TestALongReadHoldsAPageAtATime reads a million events, far more than fit into the allowed memory.
func TestALongReadHoldsAPageAtATime(t *testing.T) {
	total, next := int64(1_000_000), int64(0)
	if testing.Short() {
		total /= 5
	}
	var events []byte
	for range benchPageSize {
		events = esproto.AppendIndexedEvent(events, 1, benchRecord(7, esproto.GUID{1}), nil)
	}
	c := newBenchClient(t, func(_ esproto.Command, id esproto.CorrelationID, _, out []byte) []byte {
		next += benchPageSize
		page := events[:len(events):len(events)]
		page, err := proto.MarshalOptions{}.MarshalAppend(page, &esproto.ReadStreamEventsCompleted{
			Result: esproto.ReadStreamEventsCompleted_Success.Enum(), NextEventNumber: &next, LastEventNumber: &total,
			IsEndOfStream: proto.Bool(next >= total), LastCommitPosition: proto.Int64(7),
		})
		assert.NoError(t, err)
		return esproto.AppendFrame(out, esproto.CmdReadStreamEventsForwardCompleted, id, page)
	})
	ctx := context.Background()
	require.NoError(t, c.Connect(ctx))
	before, most, n := inUse(), 0, int64(0)
	for _, err := range c.ReadStream(ctx, "orders", esclient.ReadOptions{PageSize: benchPageSize}) {
		require.NoError(t, err)
		if n++; n%(total/10) == 0 {
			most = max(most, inUse()-before)
		}
	}
	assert.Equal(t, total, n)
	assert.Less(t, most, 4<<20)
}
