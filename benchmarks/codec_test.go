package main

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// The cost of the two codecs, without sockets: the hand-written one, and the generated one on the same bytes.

func BenchmarkCodecAppend(b *testing.B) {
	data, id := (&job{Size: 256}).payload(), esproto.GUID{1}
	completed := &esproto.WriteEventsCompletedView{
		FirstEventNumber: 7, LastEventNumber: 7, PreparePosition: 4711, CommitPosition: 4711,
	}
	reply := completed.Append(nil, esproto.Explicit)
	b.Run("esproto", func(b *testing.B) {
		var buf []byte
		var view esproto.WriteEventsCompletedView
		b.ReportAllocs()
		for b.Loop() {
			buf = esproto.AppendHeader(buf[:0], esproto.CmdWriteEvents, rawID(1), nil)
			buf = esproto.AppendWriteEvents(buf, "benchmark-stream", esproto.ExpectAny)
			buf = esproto.AppendNewEvent(buf, id, eventType, 0, data, nil)
			buf = esproto.EndWriteEvents(buf, true)
			esproto.EndFrame(buf, 0)
			if err := view.Decode(reply); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			m := &esproto.WriteEvents{
				EventStreamId:   proto.String("benchmark-stream"),
				ExpectedVersion: proto.Int64(esproto.ExpectAny), RequireLeader: proto.Bool(true),
				Events: []*esproto.NewEvent{{
					EventId: id[:], EventType: proto.String(eventType), Data: data,
					DataContentType: proto.Int32(0), MetadataContentType: proto.Int32(0),
				}},
			}
			var err error
			if buf, err = (proto.MarshalOptions{}).MarshalAppend(buf[:0], m); err != nil {
				b.Fatal(err)
			}
			var completed esproto.WriteEventsCompleted
			if err := proto.Unmarshal(reply, &completed); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// record is an event as a server sends it.
func record(n int64) []byte {
	id := esproto.GUID{byte(n)}
	v := esproto.RecordView{
		StreamID: "benchmark-stream", EventNumber: n, EventID: id[:], EventType: eventType,
		Data:    (&job{Size: 256}).payload(),
		Created: 638_000_000_000_000_000, CreatedEpoch: 1_700_000_000_000,
	}
	return v.Append(nil, esproto.Explicit)
}

func BenchmarkCodecPageEvent(b *testing.B) {
	var page []byte
	for n := range int64(pageSize) {
		page = esproto.AppendIndexedEvent(page, 1, record(n), nil)
	}
	perEvent := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/pageSize, "ns/event")
	}
	b.Run("esproto", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var view esproto.PageView
			if err := view.DecodeStream(page); err != nil {
				b.Fatal(err)
			}
			var e esproto.EventView
			for more, err := view.NextEvent(&e); more || err != nil; more, err = view.NextEvent(&e) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		perEvent(b)
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m esproto.ReadStreamEventsCompleted
			if err := proto.Unmarshal(page, &m); err != nil {
				b.Fatal(err)
			}
		}
		perEvent(b)
	})
}

func BenchmarkCodecPushedEvent(b *testing.B) {
	frame := esproto.AppendStreamEventAppeared(nil, record(7), nil, 4711, 4711, esproto.Explicit)
	b.Run("esproto", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var e esproto.EventView
			if err := esproto.DecodeStreamEventAppeared(frame, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var m esproto.StreamEventAppeared
			if err := proto.Unmarshal(frame, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
