package esproto_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// The targets below hold the hand-written encoders against the generated code: it must read what they wrote, nothing
// may be left over, and fields must be present exactly as the style says.

var styles = map[string]esproto.Style{"explicit": esproto.Explicit, "omit zeros": esproto.OmitZeros}

// scalar is an optional field as a server of the style writes it.
func scalar[T comparable](style esproto.Style, v T) *T {
	var zero T
	if style == esproto.OmitZeros && v == zero {
		return nil
	}
	return &v
}

// bytesField is one of type bytes.
func bytesField(style esproto.Style, b []byte) []byte {
	if len(b) > 0 {
		return b
	}
	if style == esproto.OmitZeros {
		return nil
	}
	return []byte{}
}

// requireMessage requires that b has the old bytes of the buffer, and want after them.
func requireMessage(t *testing.T, want proto.Message, b []byte) {
	t.Helper()
	require.GreaterOrEqual(t, len(b), len(before))
	require.Equal(t, before, string(b[:len(before)]), "what was there must stay")
	got := want.ProtoReflect().New().Interface()
	require.NoError(t, proto.Unmarshal(b[len(before):], got), "%x", b)
	require.True(t, proto.Equal(want, got), "\nwant %v\ngot  %v", want, got)
}

// before are the bytes in the buffer of the encoders.
const before = "before"

func FuzzEncodeWriteEvents(f *testing.F) {
	id, long := []byte("0123456789abcdef"), make([]byte, 300)
	f.Add("stream", int64(-2), id, "type", int32(1), []byte(`{"a":1}`), []byte(`{}`), uint8(1), true)
	f.Add("", int64(math.MaxInt64), []byte{}, "", int32(math.MinInt32), []byte{}, []byte{}, uint8(0), false)
	f.Add("$$a::b@é\xff", int64(math.MinInt64), []byte{1}, "\x00", int32(-1), long, long[:127], uint8(3), true)
	f.Fuzz(func(t *testing.T, stream string, number int64, id []byte, eventType string, contentType int32,
		data, metadata []byte, events uint8, leader bool,
	) {
		var guid esproto.GUID
		copy(guid[:], id)
		if len(metadata) == 0 && leader {
			metadata = nil // fuzzing knows no nil
		}
		message := &esproto.NewEvent{
			EventId: guid[:], EventType: &eventType, DataContentType: &contentType, MetadataContentType: new(int32),
			Data: bytesField(esproto.Explicit, data), Metadata: metadata,
		}
		write := &esproto.WriteEvents{EventStreamId: &stream, ExpectedVersion: &number, RequireLeader: &leader}
		inTransaction := &esproto.TransactionWrite{TransactionId: &number, RequireLeader: &leader}
		b := esproto.AppendWriteEvents([]byte(before), stream, number)
		tb := esproto.AppendTransactionWrite([]byte(before), number)
		for range events % 5 {
			write.Events = append(write.Events, message)
			inTransaction.Events = append(inTransaction.Events, message)
			b = esproto.AppendNewEvent(b, guid, eventType, contentType, data, metadata)
			tb = esproto.AppendTransactionEvent(tb, guid, eventType, contentType, data, metadata)
		}
		b = esproto.EndWriteEvents(b, leader)
		requireMessage(t, write, b)
		requireMessage(t, inTransaction, esproto.EndTransactionWrite(tb, leader))
		agreeWriteEvents(t, b[len(before):])

		read := &esproto.ReadStreamEvents{
			EventStreamId: &stream, FromEventNumber: &number, MaxCount: &contentType, ResolveLinkTos: &leader,
			RequireLeader: proto.Bool(!leader),
		}
		b = esproto.AppendReadStreamEvents([]byte(before), stream, number, contentType, leader, !leader)
		requireMessage(t, read, b)
		one := &esproto.ReadEvent{
			EventStreamId: &stream, EventNumber: &number, ResolveLinkTos: &leader, RequireLeader: proto.Bool(!leader),
		}
		requireMessage(t, one, esproto.AppendReadEvent([]byte(before), stream, number, leader, !leader))
	})
}

func FuzzEncodeWriteEventsCompleted(f *testing.F) {
	f.Add(int32(0), "", int64(0), int64(0), int64(0), int64(0), int64(0))
	const failed = esproto.InvalidEventNumber
	f.Add(int32(4), "Wrong expected version.", failed, failed, failed, int64(0), int64(-1))
	f.Add(int32(-1), "\xff", int64(math.MaxInt64), int64(1), int64(127), int64(128), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, result int32, text string, first, last, prepare, commit, current int64) {
		v := esproto.WriteEventsCompletedView{
			Result: esproto.OperationResult(result), Message: text, FirstEventNumber: first, LastEventNumber: last,
			PreparePosition: prepare, CommitPosition: commit, CurrentVersion: current,
		}
		for _, style := range styles {
			b := v.Append([]byte(before), style)
			requireMessage(t, &esproto.WriteEventsCompleted{
				Result:           scalar(style, esproto.OperationResult(result)),
				Message:          scalar(esproto.OmitZeros, text), // optional in both
				FirstEventNumber: scalar(style, first),
				LastEventNumber:  scalar(style, last),
				PreparePosition:  scalar(style, prepare),
				CommitPosition:   scalar(style, commit),
				CurrentVersion:   scalar(style, current),
			}, b)
			var again esproto.WriteEventsCompletedView
			require.NoError(t, again.Decode(b[len(before):]))
			require.Equal(t, v, again)
		}
	})
}

func FuzzEncodeEvents(f *testing.F) {
	id, long := []byte("0123456789abcdef"), make([]byte, 300)
	f.Add("stream", int64(0), id, "type", int32(1), []byte(`{"a":1}`), []byte(`{}`), int64(1), int64(2), uint8(1))
	f.Add("", int64(0), []byte{}, "", int32(0), []byte{}, []byte{}, int64(0), int64(0), uint8(3))
	f.Add("s", int64(math.MaxInt64), []byte{1}, "$>", int32(-1), long, []byte{}, int64(-1), int64(1), uint8(2))
	f.Fuzz(func(t *testing.T, stream string, number int64, id []byte, eventType string, contentType int32,
		data, metadata []byte, commit, prepare int64, which uint8,
	) {
		v := esproto.RecordView{
			StreamID: stream, EventNumber: number, EventID: id, EventType: eventType, DataContentType: contentType,
			MetadataContentType: int32(number), Data: data, Metadata: metadata, Created: commit, CreatedEpoch: prepare,
		}
		for _, style := range styles {
			record := &esproto.EventRecord{
				EventStreamId:       scalar(style, v.StreamID),
				EventNumber:         scalar(style, v.EventNumber),
				EventId:             bytesField(style, v.EventID),
				EventType:           scalar(style, v.EventType),
				DataContentType:     scalar(style, v.DataContentType),
				MetadataContentType: scalar(style, v.MetadataContentType),
				Data:                bytesField(style, v.Data),
				Metadata:            bytesField(style, v.Metadata),
				Created:             scalar(style, v.Created),
				CreatedEpoch:        scalar(style, v.CreatedEpoch),
			}
			b := v.Append([]byte(before), style)
			requireMessage(t, record, b)
			encoded := b[len(before):]

			indexed := &esproto.ResolvedIndexedEvent{}
			positioned := &esproto.ResolvedEvent{
				CommitPosition: scalar(style, commit), PreparePosition: scalar(style, prepare),
			}
			var event, link []byte
			if which&1 != 0 {
				event, positioned.Event, indexed.Event = encoded, record, record
			}
			if which&2 != 0 {
				link, positioned.Link, indexed.Link = encoded, record, record
			}
			requireEncodedEvents(t, event, link, positioned, indexed, style, contentType)
		}
	})
}

// requireEncodedEvents holds every message that has a resolved event in it.
func requireEncodedEvents(t *testing.T, event, link []byte, positioned *esproto.ResolvedEvent,
	indexed *esproto.ResolvedIndexedEvent, style esproto.Style, retryCount int32,
) {
	t.Helper()
	commit, prepare := positioned.GetCommitPosition(), positioned.GetPreparePosition()
	requireMessage(t, &esproto.StreamEventAppeared{Event: positioned},
		esproto.AppendStreamEventAppeared([]byte(before), event, link, commit, prepare, style))
	requireMessage(t, &esproto.PersistentSubscriptionStreamEventAppeared{
		Event: indexed, RetryCount: scalar(style, retryCount),
	}, esproto.AppendPersistentEvent([]byte(before), event, link, retryCount, style))
	requireMessage(t, &esproto.ReadEventCompleted{Event: indexed},
		esproto.AppendIndexedEvent([]byte(before), 2, event, link))

	stream, all := []byte(before), []byte(before)
	for range 2 {
		stream = esproto.AppendIndexedEvent(stream, 1, event, link)
		all = esproto.AppendPositionedEvent(all, 3, event, link, commit, prepare, style)
	}
	streamPage := &esproto.ReadStreamEventsCompleted{Events: []*esproto.ResolvedIndexedEvent{indexed, indexed}}
	requireMessage(t, streamPage, stream)
	requireMessage(t, &esproto.ReadAllEventsCompleted{Events: []*esproto.ResolvedEvent{positioned, positioned}}, all)
}

func FuzzEncodeAck(f *testing.F) {
	f.Add("stream::group", []byte("0123456789abcdef0123456789ABCDEF"), "", int32(0))
	f.Add("", []byte{}, "because", int32(4))
	f.Add("\xff", []byte{1}, "\xff", int32(-1))
	f.Fuzz(func(t *testing.T, subscription string, raw []byte, message string, action int32) {
		var (
			ids   []esproto.GUID
			plain [][]byte
		)
		for ; len(raw) > 0; raw = raw[min(len(raw), 16):] {
			var id esproto.GUID
			copy(id[:], raw)
			ids = append(ids, id)
			plain = append(plain, id[:])
		}
		b := esproto.AppendAck([]byte(before), subscription, ids)
		ack := &esproto.PersistentSubscriptionAckEvents{SubscriptionId: &subscription, ProcessedEventIds: plain}
		requireMessage(t, ack, b)
		againSubscription, again, err := esproto.DecodeAck(b[len(before):], nil)
		require.NoError(t, err)
		require.Equal(t, subscription, againSubscription)
		require.Equal(t, ids, again)

		how := esproto.PersistentSubscriptionNakEvents_NakAction(action)
		requireMessage(t, &esproto.PersistentSubscriptionNakEvents{
			SubscriptionId: &subscription, ProcessedEventIds: plain,
			Message: scalar(esproto.OmitZeros, message), // optional in both
			Action:  &how,
		}, esproto.AppendNak([]byte(before), subscription, ids, message, how))
	})
}
