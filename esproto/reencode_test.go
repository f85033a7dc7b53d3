package esproto_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// encoders write a payload again with the hand-written encoders, in the style of the server. They return nil where the
// payload has not the form that our encoders write: a request of ours has every required field.
var encoders = map[esproto.Command]func(*testing.T, []byte, esproto.Style) []byte{
	esproto.CmdWriteEvents:                               rewriteWriteEvents,
	esproto.CmdTransactionWrite:                          rewriteTransactionWrite,
	esproto.CmdWriteEventsCompleted:                      rewriteWriteEventsCompleted,
	esproto.CmdReadEvent:                                 rewriteReadEvent,
	esproto.CmdReadStreamEventsForward:                   rewriteReadStreamEvents,
	esproto.CmdReadStreamEventsBackward:                  rewriteReadStreamEvents,
	esproto.CmdReadStreamEventsForwardCompleted:          rewriteStreamPage,
	esproto.CmdReadStreamEventsBackwardCompleted:         rewriteStreamPage,
	esproto.CmdReadAllEventsForwardCompleted:             rewriteAllPage,
	esproto.CmdReadAllEventsBackwardCompleted:            rewriteAllPage,
	esproto.CmdStreamEventAppeared:                       rewriteStreamEventAppeared,
	esproto.CmdPersistentSubscriptionStreamEventAppeared: rewritePersistentEvent,
	esproto.CmdPersistentSubscriptionAckEvents:           rewriteAck,
	esproto.CmdPersistentSubscriptionNakEvents:           rewriteNak,
}

// TestRecordedPayloadsAreWrittenAlike compares the hand-written encoders with payloads of real servers, byte by byte.
func TestRecordedPayloadsAreWrittenAlike(t *testing.T) {
	t.Parallel()
	written := make(map[esproto.Command]int)
	for _, f := range recorded(t) {
		cmd, _ := commandByName(f.Cmd)
		encode := encoders[cmd]
		b, whole := f.payload(t)
		if encode == nil || !whole || !f.sentOrReceived() || f.Fields["undecodable"] != nil {
			continue
		}
		if again := encode(t, b, f.style); again != nil {
			require.Equal(t, hex.EncodeToString(b), hex.EncodeToString(again), f.where)
			written[cmd]++
		}
	}
	for cmd := range encoders {
		assert.GreaterOrEqual(t, written[cmd], 20, "%v", cmd)
	}
}

func unmarshal[M proto.Message](t *testing.T, b []byte, m M) M {
	t.Helper()
	require.NoError(t, proto.Unmarshal(b, m))
	return m
}

func guids(t *testing.T, ids [][]byte) []esproto.GUID {
	t.Helper()
	var out []esproto.GUID
	for _, b := range ids {
		id, ok := esproto.ParseGUID(b)
		require.True(t, ok)
		out = append(out, id)
	}
	return out
}

type appendEvent func(b []byte, id esproto.GUID, eventType string, contentType int32, data, metadata []byte) []byte

func rewriteNewEvents(b []byte, events []*esproto.NewEvent, add appendEvent) ([]byte, bool) {
	for _, e := range events {
		id, ok := esproto.ParseGUID(e.GetEventId())
		if !ok || e.GetMetadataContentType() != 0 || e.DataContentType == nil || e.Data == nil {
			return nil, false
		}
		b = add(b, id, e.GetEventType(), e.GetDataContentType(), e.GetData(), e.GetMetadata())
	}
	return b, true
}

func rewriteWriteEvents(t *testing.T, b []byte, _ esproto.Style) []byte {
	t.Helper()
	m := unmarshal(t, b, &esproto.WriteEvents{})
	if m.EventStreamId == nil || m.ExpectedVersion == nil || m.RequireLeader == nil {
		return nil
	}
	out := esproto.AppendWriteEvents(nil, m.GetEventStreamId(), m.GetExpectedVersion())
	out, ok := rewriteNewEvents(out, m.GetEvents(), esproto.AppendNewEvent)
	if !ok {
		return nil
	}
	return esproto.EndWriteEvents(out, m.GetRequireLeader())
}

func rewriteTransactionWrite(t *testing.T, b []byte, _ esproto.Style) []byte {
	t.Helper()
	m := unmarshal(t, b, &esproto.TransactionWrite{})
	out := esproto.AppendTransactionWrite(nil, m.GetTransactionId())
	out, ok := rewriteNewEvents(out, m.GetEvents(), esproto.AppendTransactionEvent)
	if !ok {
		return nil
	}
	return esproto.EndTransactionWrite(out, m.GetRequireLeader())
}

func rewriteWriteEventsCompleted(t *testing.T, b []byte, style esproto.Style) []byte {
	t.Helper()
	var v esproto.WriteEventsCompletedView
	require.NoError(t, v.Decode(b))
	return v.Append(nil, style)
}

func rewriteReadEvent(t *testing.T, b []byte, _ esproto.Style) []byte {
	t.Helper()
	m := unmarshal(t, b, &esproto.ReadEvent{})
	if m.EventStreamId == nil || m.EventNumber == nil || m.RequireLeader == nil {
		return nil
	}
	return esproto.AppendReadEvent(nil, m.GetEventStreamId(), m.GetEventNumber(),
		m.GetResolveLinkTos(), m.GetRequireLeader())
}

func rewriteReadStreamEvents(t *testing.T, b []byte, _ esproto.Style) []byte {
	t.Helper()
	m := unmarshal(t, b, &esproto.ReadStreamEvents{})
	if m.EventStreamId == nil || m.FromEventNumber == nil || m.MaxCount == nil || m.RequireLeader == nil {
		return nil
	}
	return esproto.AppendReadStreamEvents(
		nil, m.GetEventStreamId(), m.GetFromEventNumber(), m.GetMaxCount(), m.GetResolveLinkTos(), m.GetRequireLeader(),
	)
}

// rewriteRecords returns the event's records, encoded; nil for a missing one.
func rewriteRecords(e *esproto.EventView, style esproto.Style) (event, link []byte) {
	if e.HasEvent {
		event = e.Event.Append(nil, style)
	}
	if e.HasLink {
		link = e.Link.Append(nil, style)
	}
	return event, link
}

// withoutEvents encodes the rest of a page by the generated code.
func withoutEvents(t *testing.T, m proto.Message) []byte {
	t.Helper()
	r := m.ProtoReflect()
	r.Clear(r.Descriptor().Fields().ByName("events"))
	b, err := proto.Marshal(m)
	require.NoError(t, err)
	return b
}

func rewriteStreamPage(t *testing.T, b []byte, style esproto.Style) []byte {
	t.Helper()
	_, events, err := readPage(b, (*esproto.PageView).DecodeStream)
	require.NoError(t, err)
	var out []byte
	for i := range events {
		event, link := rewriteRecords(&events[i], style)
		out = esproto.AppendIndexedEvent(out, 1, event, link)
	}
	return append(out, withoutEvents(t, unmarshal(t, b, &esproto.ReadStreamEventsCompleted{}))...)
}

func rewriteAllPage(t *testing.T, b []byte, style esproto.Style) []byte {
	t.Helper()
	v, events, err := readPage(b, (*esproto.PageView).DecodeAll)
	require.NoError(t, err)
	head := &esproto.ReadAllEventsCompleted{}
	if style == esproto.Explicit || v.CommitPosition != 0 {
		head.CommitPosition = &v.CommitPosition
	}
	if style == esproto.Explicit || v.PreparePosition != 0 {
		head.PreparePosition = &v.PreparePosition
	}
	out, err := proto.Marshal(head)
	require.NoError(t, err)
	for i := range events {
		event, link := rewriteRecords(&events[i], style)
		e := &events[i]
		out = esproto.AppendPositionedEvent(out, 3, event, link, e.CommitPosition, e.PreparePosition, style)
	}
	rest := unmarshal(t, b, &esproto.ReadAllEventsCompleted{})
	rest.CommitPosition, rest.PreparePosition = nil, nil
	return append(out, withoutEvents(t, rest)...)
}

func rewriteStreamEventAppeared(t *testing.T, b []byte, style esproto.Style) []byte {
	t.Helper()
	var e esproto.EventView
	require.NoError(t, esproto.DecodeStreamEventAppeared(b, &e))
	event, link := rewriteRecords(&e, style)
	return esproto.AppendStreamEventAppeared(nil, event, link, e.CommitPosition, e.PreparePosition, style)
}

func rewritePersistentEvent(t *testing.T, b []byte, style esproto.Style) []byte {
	t.Helper()
	var e esproto.EventView
	retryCount, err := esproto.DecodePersistentEvent(b, &e)
	require.NoError(t, err)
	event, link := rewriteRecords(&e, style)
	return esproto.AppendPersistentEvent(nil, event, link, retryCount, style)
}

func rewriteAck(t *testing.T, b []byte, _ esproto.Style) []byte {
	t.Helper()
	subscription, ids, err := esproto.DecodeAck(b, nil)
	require.NoError(t, err)
	return esproto.AppendAck(nil, subscription, ids)
}

func rewriteNak(t *testing.T, b []byte, _ esproto.Style) []byte {
	t.Helper()
	m := unmarshal(t, b, &esproto.PersistentSubscriptionNakEvents{})
	ids := guids(t, m.GetProcessedEventIds())
	return esproto.AppendNak(nil, m.GetSubscriptionId(), ids, m.GetMessage(), m.GetAction())
}
