package esproto_test

import (
	"bytes"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// The benchmarks work on events of 256 bytes of data, as a server of 5.0 sends them.
var (
	benchID     = esproto.NewGUID(uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff"))
	benchRecord = esproto.RecordView{
		StreamID:            "order-5f3c2a1b",
		EventNumber:         1234,
		EventID:             benchID[:],
		EventType:           "order-placed",
		DataContentType:     esproto.ContentTypeJSON,
		MetadataContentType: esproto.ContentTypeJSON,
		Data:                bytes.Repeat([]byte("x"), 256),
		Metadata:            []byte(`{"$correlationId":"c0ffee"}`),
		Created:             637_765_056_001_234_567,
		CreatedEpoch:        1_640_908_800_123,
	}
	benchReply = esproto.WriteEventsCompletedView{
		FirstEventNumber: 1234, LastEventNumber: 1234, PreparePosition: 98_765_432, CommitPosition: 98_765_432,
	}
)

const benchPageSize = 500

func benchPage() []byte {
	record := benchRecord.Append(nil, esproto.Explicit)
	var b []byte
	for range benchPageSize {
		b = esproto.AppendIndexedEvent(b, 1, record, nil)
	}
	return b
}

func benchAllPage() []byte {
	record := benchRecord.Append(nil, esproto.Explicit)
	var b []byte
	for range benchPageSize {
		b = esproto.AppendPositionedEvent(b, 3, record, nil, 98_765_432, 98_765_432, esproto.Explicit)
	}
	return b
}

func benchPushed() []byte {
	record := benchRecord.Append(nil, esproto.Explicit)
	return esproto.AppendStreamEventAppeared(nil, record, nil, 98_765_432, 98_765_432, esproto.Explicit)
}

func appendBenchEvent(b []byte) []byte {
	r := &benchRecord
	b = esproto.AppendWriteEvents(b, r.StreamID, esproto.ExpectAny)
	b = esproto.AppendNewEvent(b, benchID, r.EventType, esproto.ContentTypeJSON, r.Data, r.Metadata)
	return esproto.EndWriteEvents(b, true)
}

func generatedAppend() *esproto.WriteEvents {
	r := &benchRecord
	return &esproto.WriteEvents{
		EventStreamId: &r.StreamID, ExpectedVersion: proto.Int64(esproto.ExpectAny), RequireLeader: proto.Bool(true),
		Events: []*esproto.NewEvent{{
			EventId: benchID[:], EventType: &r.EventType, DataContentType: proto.Int32(esproto.ContentTypeJSON),
			MetadataContentType: proto.Int32(0), Data: r.Data, Metadata: r.Metadata,
		}},
	}
}

// versus measures the hand-written codec and the generated code on the same work in the same run.
func versus(b *testing.B, perEvent int, hand, generated func() error) {
	for _, codec := range []struct {
		name string
		do   func() error
	}{{"hand", hand}, {"generated", generated}} {
		b.Run(codec.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := codec.do(); err != nil {
					b.Fatal(err)
				}
			}
			if perEvent > 1 {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*perEvent), "ns/event")
			}
		})
	}
}

// BenchmarkAppend encodes an append of one event and decodes its reply.
func BenchmarkAppend(b *testing.B) {
	var (
		buf   []byte
		view  esproto.WriteEventsCompletedView
		reply = benchReply.Append(nil, esproto.Explicit)
	)
	versus(b, 1, func() error {
		buf = appendBenchEvent(buf[:0])
		return view.Decode(reply)
	}, func() (err error) {
		if buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], generatedAppend()); err != nil {
			return err
		}
		return proto.Unmarshal(reply, new(esproto.WriteEventsCompleted))
	})
}

// BenchmarkServeAppend is the other side of it: it decodes the append and encodes the reply.
func BenchmarkServeAppend(b *testing.B) {
	var (
		buf  []byte
		view esproto.WriteEventsView
	)
	request := appendBenchEvent(nil)
	versus(b, 1, func() error {
		buf = benchReply.Append(buf[:0], esproto.Explicit)
		return view.Decode(request)
	}, func() (err error) {
		r := &benchReply
		m := &esproto.WriteEventsCompleted{
			Result: r.Result.Enum(), FirstEventNumber: &r.FirstEventNumber, LastEventNumber: &r.LastEventNumber,
			PreparePosition: &r.PreparePosition, CommitPosition: &r.CommitPosition, CurrentVersion: &r.CurrentVersion,
		}
		if buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], m); err != nil {
			return err
		}
		return proto.Unmarshal(request, new(esproto.WriteEvents))
	})
}

func BenchmarkReadPage(b *testing.B) {
	page := benchPage()
	versus(b, benchPageSize, func() error {
		var p esproto.PageView
		if err := p.DecodeStream(page); err != nil {
			return err
		}
		return benchEvents(&p)
	}, func() error { return proto.Unmarshal(page, new(esproto.ReadStreamEventsCompleted)) })
}

func BenchmarkReadAllPage(b *testing.B) {
	page := benchAllPage()
	versus(b, benchPageSize, func() error {
		var p esproto.PageView
		if err := p.DecodeAll(page); err != nil {
			return err
		}
		return benchEvents(&p)
	}, func() error { return proto.Unmarshal(page, new(esproto.ReadAllEventsCompleted)) })
}

func benchEvents(p *esproto.PageView) error {
	var e esproto.EventView
	for {
		if ok, err := p.NextEvent(&e); !ok {
			return err
		}
	}
}

func BenchmarkPushedEvent(b *testing.B) {
	payload := benchPushed()
	var e esproto.EventView
	versus(b, 1, func() error { return esproto.DecodeStreamEventAppeared(payload, &e) },
		func() error { return proto.Unmarshal(payload, new(esproto.StreamEventAppeared)) })
}

func BenchmarkPersistentEvent(b *testing.B) {
	payload := esproto.AppendPersistentEvent(nil, benchRecord.Append(nil, esproto.Explicit), nil, 1, esproto.Explicit)
	var e esproto.EventView
	versus(b, 1, func() error {
		_, err := esproto.DecodePersistentEvent(payload, &e)
		return err
	}, func() error { return proto.Unmarshal(payload, new(esproto.PersistentSubscriptionStreamEventAppeared)) })
}

// BenchmarkPushEvent is the server's side: it encodes a record and the message around it.
func BenchmarkPushEvent(b *testing.B) {
	var record, buf []byte
	r := &benchRecord
	versus(b, 1, func() error {
		record = r.Append(record[:0], esproto.Explicit)
		buf = esproto.AppendStreamEventAppeared(buf[:0], record, nil, 98_765_432, 98_765_432, esproto.Explicit)
		return nil
	}, func() (err error) {
		m := &esproto.StreamEventAppeared{Event: &esproto.ResolvedEvent{
			Event: &esproto.EventRecord{
				EventStreamId: &r.StreamID, EventNumber: &r.EventNumber, EventId: r.EventID, EventType: &r.EventType,
				DataContentType: &r.DataContentType, MetadataContentType: &r.MetadataContentType,
				Data: r.Data, Metadata: r.Metadata, Created: &r.Created, CreatedEpoch: &r.CreatedEpoch,
			},
			CommitPosition: proto.Int64(98_765_432), PreparePosition: proto.Int64(98_765_432),
		}}
		buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], m)
		return err
	})
}

// BenchmarkAck encodes and decodes an ack of 100 events.
func BenchmarkAck(b *testing.B) {
	const count = 100
	ids := make([]esproto.GUID, count)
	plain := make([][]byte, count)
	for i := range ids {
		ids[i] = benchID
		plain[i] = ids[i][:]
	}
	subscription := "order-5f3c2a1b::group"
	var buf []byte
	versus(b, count, func() (err error) {
		buf = esproto.AppendAck(buf[:0], subscription, ids)
		_, ids, err = esproto.DecodeAck(buf, ids[:0])
		return err
	}, func() (err error) {
		m := &esproto.PersistentSubscriptionAckEvents{SubscriptionId: &subscription, ProcessedEventIds: plain}
		if buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], m); err != nil {
			return err
		}
		return proto.Unmarshal(buf, new(esproto.PersistentSubscriptionAckEvents))
	})
}

// cycle is an endless stream of the same bytes.
type cycle struct {
	b []byte
	i int
}

func (c *cycle) Read(p []byte) (int, error) {
	if c.i == len(c.b) {
		c.i = 0
	}
	n := copy(p, c.b[c.i:])
	c.i += n
	return n, nil
}

func BenchmarkFrameReader(b *testing.B) {
	const count = 100
	payload := benchPushed()
	var stream []byte
	for i := range count {
		stream = esproto.AppendFrame(stream, esproto.CmdStreamEventAppeared, esproto.CorrelationID{byte(i)}, payload)
	}
	for _, way := range []struct {
		name string
		read func(*esproto.FrameReader) ([]byte, error)
	}{{"borrow", (*esproto.FrameReader).Borrow}, {"take", (*esproto.FrameReader).Take}} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(stream) / count))
			r := esproto.NewFrameReader(&cycle{b: stream}, 64<<10, 0)
			for b.Loop() {
				if _, _, err := r.Next(); err != nil {
					b.Fatal(err)
				}
				if _, err := way.read(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
