package estest_test

import (
	"encoding/binary"
	"io"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// The frames of these benchmarks are made beforehand, so that the client does next to nothing: it shares the
// processors.

// frameCount reads until n frames have come, heartbeats left out.
func frameCount(b *testing.B, fr *esproto.FrameReader, n int) {
	b.Helper()
	for n > 0 {
		h, _, err := fr.Next()
		if err != nil {
			b.Error(err)
			return
		}
		if _, err := fr.Borrow(); err != nil {
			b.Error(err)
			return
		}
		if h.Command != esproto.CmdHeartbeatRequest {
			n--
		}
	}
}

// writeFrames is a run of appends of one event each, whose ids are made new before each use.
type writeFrames struct {
	wire []byte
	ids  []int // positions of the ids in wire
	next uint64
}

func newWriteFrames(b *testing.B, n, size int) *writeFrames {
	b.Helper()
	w := &writeFrames{}
	for range n {
		e := newEvent("event-type", "")
		e.Data = make([]byte, size)
		frame := frameOf(b, esproto.CmdWriteEvents, newID(), nil, &esproto.WriteEvents{
			EventStreamId: proto.String("bench-stream"), ExpectedVersion: proto.Int64(esproto.ExpectAny),
			Events:        []*esproto.NewEvent{e},
			RequireLeader: proto.Bool(false)})
		w.ids = append(w.ids, len(w.wire)+indexOf(b, frame, e.EventId))
		w.wire = append(w.wire, frame...)
	}
	return w
}

func indexOf(b *testing.B, frame, id []byte) int {
	b.Helper()
	for i := range len(frame) - len(id) {
		if string(frame[i:i+len(id)]) == string(id) {
			return i
		}
	}
	b.Fatal("the id is not in the frame")
	return 0
}

func (w *writeFrames) fresh() []byte {
	for _, at := range w.ids {
		w.next++
		binary.LittleEndian.PutUint64(w.wire[at:], w.next)
	}
	return w.wire
}

func BenchmarkAppend(b *testing.B) { benchmarkAppend(b) }

// Projections share the processors with the appends, which do not wait for them.
func BenchmarkAppendWithProjections(b *testing.B) { benchmarkAppend(b, estest.WithProjections()) }

func benchmarkAppend(b *testing.B, opts ...estest.Option) {
	s := estest.Run(b, opts...)
	p := connect(b, s)
	const run = 500
	frames := newWriteFrames(b, run, 100)
	runs := (b.N + run - 1) / run
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan struct{})
	go func() {
		defer close(done)
		frameCount(b, p.fr, runs*run)
	}()
	for range runs {
		if _, err := p.nc.Write(frames.fresh()); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.StopTimer()
	b.ReportMetric(float64(runs*run)/b.Elapsed().Seconds(), "appends/s")
}

func BenchmarkRead(b *testing.B) {
	const page, inFlight = 500, 8
	s := estest.Run(b)
	p := connect(b, s)
	frames := newWriteFrames(b, page, 100)
	p.write(frames.fresh())
	frameCount(b, p.fr, page)
	request := frameOf(b, esproto.CmdReadStreamEventsForward, newID(), nil, &esproto.ReadStreamEvents{
		EventStreamId: proto.String("bench-stream"), FromEventNumber: proto.Int64(0), MaxCount: proto.Int32(page),
		ResolveLinkTos: proto.Bool(true), RequireLeader: proto.Bool(false)})
	pages := (b.N + page - 1) / page
	b.ReportAllocs()
	b.ResetTimer()
	tokens := make(chan struct{}, inFlight)
	go func() {
		for range pages {
			tokens <- struct{}{}
			if _, err := p.nc.Write(request); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	for range pages {
		frameCount(b, p.fr, 1)
		<-tokens
	}
	b.StopTimer()
	b.ReportMetric(float64(pages*page)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkPush(b *testing.B) {
	s := estest.Run(b)
	reader, writer := connect(b, s), connect(b, s)
	reader.subscribe("bench-stream")
	const run = 500
	frames := newWriteFrames(b, run, 100)
	runs := (b.N + run - 1) / run
	b.ReportAllocs()
	b.ResetTimer()
	go func() { _, _ = io.Copy(io.Discard, writer.nc) }()
	tokens, done := make(chan struct{}, 8), make(chan struct{}) // so that the reader is no slow consumer
	go func() {
		defer close(done)
		for range runs {
			frameCount(b, reader.fr, run)
			<-tokens
		}
	}()
	for range runs {
		tokens <- struct{}{}
		if _, err := writer.nc.Write(frames.fresh()); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.StopTimer()
	b.ReportMetric(float64(runs*run)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkGroup pushes events to the client of a group, who acks each page of them in one frame.
func BenchmarkGroup(b *testing.B) {
	s := estest.Run(b)
	reader, writer := connectAs(b, s, admin), connect(b, s)
	const run = 500
	group := usualGroup("bench-stream", "group")
	group.BufferSize, group.LiveBufferSize = proto.Int32(4*run), proto.Int32(4*run)
	var created esproto.CreatePersistentSubscriptionCompleted
	reader.ask(esproto.CmdCreatePersistentSubscription, nil, group, &created)
	require.Equal(b, esproto.CreatePersistentSubscriptionCompleted_Success, created.GetResult())
	joined := reader.send(esproto.CmdConnectToPersistentSubscription, nil, &esproto.ConnectToPersistentSubscription{
		SubscriptionId: proto.String("group"), EventStreamId: proto.String("bench-stream"),
		AllowedInFlightMessages: proto.Int32(2 * run),
	})
	reader.answer(joined)
	frames := newWriteFrames(b, run, 100)
	runs := (b.N + run - 1) / run
	b.ReportAllocs()
	b.ResetTimer()
	go func() { _, _ = io.Copy(io.Discard, writer.nc) }()
	for range runs {
		ids := make([][]byte, run)
		wire := frames.fresh()
		for i, at := range frames.ids {
			ids[i] = append(ids[i], wire[at:at+16]...)
		}
		if _, err := writer.nc.Write(wire); err != nil {
			b.Fatal(err)
		}
		frameCount(b, reader.fr, run)
		reader.write(frameOf(b, esproto.CmdPersistentSubscriptionAckEvents, joined, nil,
			&esproto.PersistentSubscriptionAckEvents{
				SubscriptionId: proto.String("bench-stream::group"), ProcessedEventIds: ids,
			}))
	}
	b.StopTimer()
	b.ReportMetric(float64(runs*run)/b.Elapsed().Seconds(), "events/s")
	assert.EqualValues(b, runs*run, s.Stats().Groups[0].Processed)
}

// BenchmarkMemory reports the memory of an event of 100 bytes beyond its data.
func BenchmarkMemory(b *testing.B) {
	const events, size = 200_000, 100
	for b.Loop() {
		before := heap()
		s, err := estest.Start()
		require.NoError(b, err)
		data := make([]byte, size)
		batch := make([]estest.Event, 1000)
		for range events / len(batch) {
			for i := range batch {
				batch[i] = estest.Event{Type: "event-type", Data: data}
			}
			_, err := s.Append("bench-stream", batch...)
			require.NoError(b, err)
		}
		b.ReportMetric(float64(heap()-before)/events-size, "overhead-B/event")
		require.NoError(b, s.Close())
		runtime.KeepAlive(s)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
