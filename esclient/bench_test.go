package esclient_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/internal/wiretest"
)

// The benchmarks run against a minimal peer in this process. So they measure the client and the sockets. Run them with
// -cpu 1 to compare two versions. ./benchmarks measures a server that does real work.

// newBenchClient returns a client of a peer that answers all received requests in one write.
func newBenchClient(
	b testing.TB, answer func(esproto.Command, esproto.CorrelationID, []byte, []byte) []byte,
) *esclient.Client {
	b.Helper()
	l := wiretest.Listen(b, func(p *wiretest.Peer) { talk(p, answer) })
	c, err := esclient.Open("tcp://admin:changeit@" + l.Addr())
	require.NoError(b, err)
	b.Cleanup(func() { c.Close() })
	return c
}

func talk(p *wiretest.Peer, answer func(esproto.Command, esproto.CorrelationID, []byte, []byte) []byte) {
	frames, out := esproto.NewFrameReader(bufio.NewReaderSize(p, 64<<10), 64<<10, 0), []byte(nil)
	for {
		h, _, err := frames.Next()
		if err != nil {
			return
		}
		payload, err := frames.Borrow()
		if err != nil {
			return
		}
		var greeted bool
		switch out, greeted = wiretest.AppendGreeting(out, h); {
		case greeted:
		case h.Command == esproto.CmdReadEvent: // a look at a group
			out = esproto.AppendFrame(out, esproto.CmdReadEventCompleted, h.CorrelationID, noEvent)
		default:
			out = answer(h.Command, h.CorrelationID, payload, out)
		}
		if frames.Buffered() > 0 {
			continue
		}
		if _, err := p.Write(out); err != nil {
			return
		}
		out = out[:0]
	}
}

// appendClient is a client of a peer that has written everything at once.
func appendClient(tb testing.TB) *esclient.Client {
	reply := (&esproto.WriteEventsCompletedView{LastEventNumber: 7}).Append(nil, esproto.Explicit)
	return newBenchClient(tb, func(_ esproto.Command, id esproto.CorrelationID, _, out []byte) []byte {
		return esproto.AppendFrame(out, esproto.CmdWriteEventsCompleted, id, reply)
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, inFlight := range []int{1, 256} {
		b.Run(fmt.Sprint(inFlight, " in flight"), func(b *testing.B) {
			c, ctx, data := appendClient(b), context.Background(), make([]byte, 256)
			require.NoError(b, c.Connect(ctx))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range inFlight {
				wg.Go(func() {
					for i := g; i < b.N; i += inFlight {
						event := esclient.EventData{Type: "benchmarked", Data: data}
						if _, err := c.Append(ctx, "orders", esclient.Any, event); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func benchRecord(number int64, id esproto.GUID) []byte {
	return (&esproto.RecordView{
		StreamID: "orders", EventNumber: number, EventID: id[:], EventType: "benchmarked", Data: make([]byte, 256),
	}).Append(nil, esproto.Explicit)
}

// firstNumber is that of the events of groupSubscriber: up to 2^42 they all take the same room in a frame.
const firstNumber = int64(1) << 35

// pusher makes frames of events that a client never saw before.
type pusher struct {
	frame         []byte
	number, event int // where in the frame they are
	next          uint64
}

func newPusher(id esproto.CorrelationID) *pusher {
	marked := esproto.GUID{0: 0xfa, 15: 0xfb}
	p := &pusher{frame: esproto.AppendFrame(nil, esproto.CmdPersistentSubscriptionStreamEventAppeared, id,
		esproto.AppendPersistentEvent(nil, benchRecord(firstNumber, marked), nil, 0, esproto.Explicit))}
	p.number = bytes.Index(p.frame, binary.AppendUvarint(nil, uint64(firstNumber)))
	p.event = bytes.Index(p.frame, marked[:])
	return p
}

func (p *pusher) append(out []byte) []byte {
	binary.PutUvarint(p.frame[p.number:], uint64(firstNumber)+p.next)
	binary.LittleEndian.PutUint64(p.frame[p.event:], p.next)
	p.next++
	return append(out, p.frame...)
}

// groupSubscriber is that of a peer that pushes an event for each that was acked.
func groupSubscriber(tb testing.TB, opts esclient.PersistentOptions) *esclient.PersistentSubscription {
	confirmation, err := proto.Marshal(&esproto.PersistentSubscriptionConfirmation{
		SubscriptionId: proto.String("orders::g"),
	})
	require.NoError(tb, err)
	var (
		events *pusher
		ids    []esproto.GUID
	)
	push := func(out []byte, n int) []byte {
		for range n {
			out = events.append(out)
		}
		return out
	}
	c := newBenchClient(tb, func(cmd esproto.Command, id esproto.CorrelationID, payload, out []byte) []byte {
		switch cmd {
		case esproto.CmdReadStreamEventsBackward:
			return esproto.AppendFrame(out, esproto.CmdReadStreamEventsBackwardCompleted, id, noStream)
		case esproto.CmdConnectToPersistentSubscription:
			events = newPusher(id)
			return push(esproto.AppendFrame(out, esproto.CmdPersistentSubscriptionConfirmation, id, confirmation),
				opts.InFlight)
		case esproto.CmdPersistentSubscriptionAckEvents:
			_, ids, _ = esproto.DecodeAck(payload, ids[:0])
			return push(out, len(ids))
		}
		return out
	})
	p, err := c.ConnectPersistent(context.Background(), "orders", "g", opts)
	require.NoError(tb, err)
	return p
}

func BenchmarkPersistent(b *testing.B) {
	for _, inFlight := range []int{10, 200} {
		b.Run(fmt.Sprint(inFlight, " in flight"), func(b *testing.B) {
			p := groupSubscriber(b, esclient.PersistentOptions{InFlight: inFlight})
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := ackNext(p, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for name, timeout := range map[string]time.Duration{
		"offered":                      0,
		"offered, nothing times out":   esclient.MaxMessageTimeout,
		"offered, timeout of a minute": time.Minute,
	} {
		b.Run(name, func(b *testing.B) {
			p := groupSubscriber(b, esclient.PersistentOptions{InFlight: 200, Concurrency: 20, MessageTimeout: timeout})
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := ackNext(p, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// ackNext takes an event and acks it. With offer it says when it begins with it, as PersistentOptions.Concurrency
// demands.
func ackNext(p *esclient.PersistentSubscription, offer bool) error {
	e, err := p.Next(context.Background())
	if err != nil {
		return err
	}
	if offer {
		if _, ok := p.Offer(e); !ok {
			return errors.New("an event was given back")
		}
		p.Begin(e)
	}
	return p.Ack(e)
}

// volatileSubscriber returns a function that takes the next event from a peer that pushes as many as the client has
// taken, which it says by a ping.
func volatileSubscriber(tb testing.TB) (next func() (*esclient.Event, error)) {
	const ahead = 1000
	confirmation, err := proto.Marshal(&esproto.SubscriptionConfirmation{
		LastCommitPosition: proto.Int64(0), LastEventNumber: proto.Int64(-1),
	})
	require.NoError(tb, err)
	const first = uint64(1) << 28 // and up to 1 << 35 all take as many bytes
	var (
		frame  []byte
		at     int // of the event's number in the frame
		number = first
	)
	push := func(out []byte) []byte {
		for range ahead {
			number++
			binary.PutUvarint(frame[at:], number)
			out = append(out, frame...)
		}
		return out
	}
	c := newBenchClient(tb, func(cmd esproto.Command, id esproto.CorrelationID, _, out []byte) []byte {
		switch cmd {
		case esproto.CmdReadStreamEventsBackward:
			return esproto.AppendFrame(out, esproto.CmdReadStreamEventsBackwardCompleted, id, noStream)
		case esproto.CmdSubscribeToStream:
			frame = esproto.AppendFrame(nil, esproto.CmdStreamEventAppeared, id, esproto.AppendStreamEventAppeared(
				nil, benchRecord(int64(first), esproto.GUID{1}), nil, 7, 7, esproto.Explicit))
			at = bytes.Index(frame, binary.AppendUvarint(nil, first))
			return push(push(esproto.AppendFrame(out, esproto.CmdSubscriptionConfirmation, id, confirmation)))
		case esproto.CmdPing:
			return push(esproto.AppendFrame(out, esproto.CmdPong, id, nil))
		}
		return out
	})
	ctx := context.Background()
	s, err := c.SubscribeVolatile(ctx, "orders", esclient.VolatileOptions{})
	require.NoError(tb, err)
	tb.Cleanup(s.Stop)
	taken := 0
	return func() (*esclient.Event, error) {
		e, err := s.Next(ctx)
		if taken++; err == nil && taken%ahead == 0 {
			_, err = c.Ping(ctx)
		}
		return e, err
	}
}

func BenchmarkVolatile(b *testing.B) {
	next := volatileSubscriber(b)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := next(); err != nil {
			b.Fatal(err)
		}
	}
}

const (
	benchPages    = 10
	benchPageSize = 500
)

// newReadClient is a client of a peer that has a stream of benchPages pages.
func newReadClient(b testing.TB) *esclient.Client {
	var pages [benchPages][]byte
	event := esproto.GUID{1}
	for n := range benchPages * benchPageSize {
		record := esproto.RecordView{
			StreamID: "orders", EventNumber: int64(n), EventID: event[:], EventType: "benchmarked",
			Data: make([]byte, 256),
		}
		page := &pages[n/benchPageSize]
		*page = esproto.AppendIndexedEvent(*page, 1, record.Append(nil, esproto.Explicit), nil)
	}
	for n := range pages {
		m, err := proto.Marshal(&esproto.ReadStreamEventsCompleted{
			Result:          esproto.ReadStreamEventsCompleted_Success.Enum(),
			NextEventNumber: proto.Int64(int64(n+1) * benchPageSize),
			LastEventNumber: proto.Int64(benchPages*benchPageSize - 1),
			IsEndOfStream:   proto.Bool(n == benchPages-1),
		})
		require.NoError(b, err)
		pages[n] = append(pages[n], m...)
	}
	next := 0
	c := newBenchClient(b, func(_ esproto.Command, id esproto.CorrelationID, _, out []byte) []byte {
		out = esproto.AppendFrame(out, esproto.CmdReadStreamEventsForwardCompleted, id, pages[next])
		next = (next + 1) % benchPages
		return out
	})
	require.NoError(b, c.Connect(context.Background()))
	return c
}

// readBenchStream reads the stream of newReadClient and returns how many events it has.
func readBenchStream(b testing.TB, c *esclient.Client) (n int) {
	for _, err := range c.ReadStream(context.Background(), "orders", esclient.ReadOptions{PageSize: benchPageSize}) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	return n
}

func BenchmarkReadStream(b *testing.B) {
	c := newReadClient(b)
	b.ReportAllocs()
	for n := 0; n < b.N; {
		n += readBenchStream(b, c)
	}
}

// TestReadsAllocateByThePage holds that no event of a read costs an allocation of its own.
func TestReadsAllocateByThePage(t *testing.T) {
	c := newReadClient(t)
	require.Equal(t, benchPages*benchPageSize, readBenchStream(t, c))
	perRead := testing.AllocsPerRun(20, func() { readBenchStream(t, c) })
	require.Less(t, perRead, 0.01*benchPages*benchPageSize)
}
