package esproto_test

import (
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// The functions below hold one hand-written decoder against the generated code: both must accept b or both refuse it,
// and what they read must be equal. A byte slice is nil in both where its field is absent. They are run on the recorded
// conversations and by the fuzz targets.

func agree(t *testing.T, b []byte, got error, m proto.Message) (ok bool) {
	t.Helper()
	want := proto.Unmarshal(b, m)
	if want == nil {
		require.NoError(t, got, "%x", b)
		return true
	}
	require.ErrorIs(t, got, esproto.ErrMalformed, "%x: %v", b, want)
	require.NotEqual(t, esproto.ErrMalformed.Error(), got.Error(), "the error must say what is wrong with %x", b)
	return false
}

func agreeRecord(t *testing.T, b []byte) {
	t.Helper()
	var (
		v esproto.RecordView
		m esproto.EventRecord
	)
	if agree(t, b, v.Decode(b), &m) {
		requireAliases(t, b, recordSlices(&v)...)
		require.Equal(t, recordView(&m), v, "%x", b)
	}
}

func agreeNewEvent(t *testing.T, b []byte) {
	t.Helper()
	var (
		v esproto.NewEventView
		m esproto.NewEvent
	)
	if agree(t, b, v.Decode(b), &m) {
		requireAliases(t, b, newEventSlices(&v)...)
		require.Equal(t, newEventView(&m), v, "%x", b)
	}
}

func agreeWriteEvents(t *testing.T, b []byte) {
	t.Helper()
	// What is in the way must be forgotten, in the memory that is used again as well.
	stale := esproto.NewEventView{EventType: "stale", Data: []byte("stale"), Metadata: []byte("stale")}
	events := slices.Repeat([]esproto.NewEventView{stale}, 4)
	v := esproto.WriteEventsView{StreamID: "stale", ExpectedVersion: 7, RequireLeader: true, Events: events}
	var m esproto.WriteEvents
	if !agree(t, b, v.Decode(b), &m) {
		return
	}
	require.Equal(t, m.GetEventStreamId(), v.StreamID, "%x", b)
	require.Equal(t, m.GetExpectedVersion(), v.ExpectedVersion, "%x", b)
	require.Equal(t, m.GetRequireLeader(), v.RequireLeader, "%x", b)
	require.Len(t, v.Events, len(m.GetEvents()), "%x", b)
	requireAliases(t, b, unsafeBytes(v.StreamID))
	for i, e := range m.GetEvents() {
		requireAliases(t, b, newEventSlices(&v.Events[i])...)
		require.Equal(t, newEventView(e), v.Events[i], "%x", b)
	}
}

func agreeWriteEventsCompleted(t *testing.T, b []byte) {
	t.Helper()
	v := esproto.WriteEventsCompletedView{Result: 7, Message: "stale", LastEventNumber: 7, CurrentVersion: 7}
	var m esproto.WriteEventsCompleted
	if agree(t, b, v.Decode(b), &m) {
		requireAliases(t, b, unsafeBytes(v.Message))
		require.Equal(t, replyView(&m), v, "%x", b)
	}
}

// agreeEvent compares EventView.Decode, which reads the two kinds of resolved events.
func agreeEvent(t *testing.T, b []byte) {
	t.Helper()
	var (
		v          esproto.EventView
		positioned esproto.ResolvedEvent
		indexed    esproto.ResolvedIndexedEvent
	)
	err := v.Decode(b)
	if agree(t, b, err, &positioned) {
		requireAliases(t, b, eventSlices(&v)...)
		require.Equal(t, positionedView(&positioned), v, "%x", b)
	}
	if agree(t, b, err, &indexed) {
		v.CommitPosition, v.PreparePosition = 0, 0 // unknown fields of the other message
		require.Equal(t, indexedView(&indexed), v, "%x", b)
	}
}

func agreeStreamEventAppeared(t *testing.T, b []byte) {
	t.Helper()
	v := staleEvent()
	var m esproto.StreamEventAppeared
	if agree(t, b, esproto.DecodeStreamEventAppeared(b, &v), &m) {
		requireAliases(t, b, eventSlices(&v)...)
		require.Equal(t, positionedView(m.GetEvent()), v, "%x", b)
	}
}

func agreePersistentEvent(t *testing.T, b []byte) {
	t.Helper()
	v := staleEvent()
	var m esproto.PersistentSubscriptionStreamEventAppeared
	retryCount, err := esproto.DecodePersistentEvent(b, &v)
	if agree(t, b, err, &m) {
		requireAliases(t, b, eventSlices(&v)...)
		v.CommitPosition, v.PreparePosition = 0, 0 // unknown fields of a ResolvedIndexedEvent
		require.Equal(t, indexedView(m.GetEvent()), v, "%x", b)
		require.Equal(t, m.GetRetryCount(), retryCount, "%x", b)
	}
}

func agreeReadEvent(t *testing.T, b []byte) {
	t.Helper()
	v := esproto.ReadEventCompletedView{Result: 9, Error: "stale", Event: staleEvent()}
	var m esproto.ReadEventCompleted
	if agree(t, b, v.Decode(b), &m) {
		requireAliases(t, b, append(eventSlices(&v.Event), unsafeBytes(v.Error))...)
		v.Event.CommitPosition, v.Event.PreparePosition = 0, 0 // unknown fields of a ResolvedIndexedEvent
		require.Equal(t, indexedView(m.GetEvent()), v.Event, "%x", b)
		require.Equal(t, m.GetResult(), v.Result, "%x", b)
		require.Equal(t, m.GetError(), v.Error, "%x", b)
	}
}

func agreeStreamPage(t *testing.T, b []byte) {
	t.Helper()
	var m esproto.ReadStreamEventsCompleted
	v, events, err := readPage(b, (*esproto.PageView).DecodeStream)
	if !agree(t, b, err, &m) {
		return
	}
	requireAliases(t, b, unsafeBytes(v.Error))
	require.Equal(t, int32(m.GetResult()), v.Result, "%x", b)
	require.Equal(t, m.GetNextEventNumber(), v.NextEventNumber, "%x", b)
	require.Equal(t, m.GetLastEventNumber(), v.LastEventNumber, "%x", b)
	require.Equal(t, m.GetIsEndOfStream(), v.IsEndOfStream, "%x", b)
	require.Equal(t, m.GetLastCommitPosition(), v.LastCommitPosition, "%x", b)
	require.Equal(t, m.GetError(), v.Error, "%x", b)
	require.Equal(t, len(m.GetEvents()), v.Len, "%x", b)
	require.Len(t, events, v.Len, "%x", b)
	for i, e := range m.GetEvents() {
		events[i].CommitPosition, events[i].PreparePosition = 0, 0 // unknown fields of a ResolvedIndexedEvent
		require.Equal(t, indexedView(e), events[i], "%x", b)
	}
}

func agreeAllPage(t *testing.T, b []byte) {
	t.Helper()
	var m esproto.ReadAllEventsCompleted
	v, events, err := readPage(b, (*esproto.PageView).DecodeAll)
	if !agree(t, b, err, &m) {
		return
	}
	require.False(t, v.IsEndOfStream, "the message has no such field")
	requireAllPage(t, b, v, events, &m, int32(m.GetResult()))
}

func agreeFilteredPage(t *testing.T, b []byte) {
	t.Helper()
	var m esproto.FilteredReadAllEventsCompleted
	v, events, err := readPage(b, (*esproto.PageView).DecodeFilteredAll)
	if !agree(t, b, err, &m) {
		return
	}
	require.Equal(t, m.GetIsEndOfStream(), v.IsEndOfStream, "%x", b)
	requireAllPage(t, b, v, events, &m, int32(m.GetResult()))
}

// allPage has the common methods of the two replies of $all.
type allPage interface {
	GetCommitPosition() int64
	GetPreparePosition() int64
	GetNextCommitPosition() int64
	GetNextPreparePosition() int64
	GetError() string
	GetEvents() []*esproto.ResolvedEvent
}

func requireAllPage(t *testing.T, b []byte, v *esproto.PageView, events []esproto.EventView, m allPage, result int32) {
	t.Helper()
	requireAliases(t, b, unsafeBytes(v.Error))
	require.Equal(t, result, v.Result, "%x", b)
	require.Equal(t, m.GetCommitPosition(), v.CommitPosition, "%x", b)
	require.Equal(t, m.GetPreparePosition(), v.PreparePosition, "%x", b)
	require.Equal(t, m.GetNextCommitPosition(), v.NextCommit, "%x", b)
	require.Equal(t, m.GetNextPreparePosition(), v.NextPrepare, "%x", b)
	require.Equal(t, m.GetError(), v.Error, "%x", b)
	require.Equal(t, len(m.GetEvents()), v.Len, "%x", b)
	require.Len(t, events, v.Len, "%x", b)
	for i, e := range m.GetEvents() {
		requireAliases(t, b, eventSlices(&events[i])...)
		require.Equal(t, positionedView(e), events[i], "%x", b)
	}
}

// readPage reads a page with all of its events. It returns the first error.
func readPage(b []byte, decode func(*esproto.PageView, []byte) error) (*esproto.PageView, []esproto.EventView, error) {
	v := &esproto.PageView{Result: 9, Error: "stale", IsEndOfStream: true, Len: 99}
	if err := decode(v, b); err != nil {
		return v, nil, err
	}
	var events []esproto.EventView
	for {
		e := staleEvent()
		ok, err := v.NextEvent(&e)
		if err != nil || !ok {
			return v, events, err
		}
		events = append(events, e)
	}
}

// agreeAck compares DecodeAck, which is stricter than protobuf: every id must have 16 bytes.
func agreeAck(t *testing.T, b []byte) {
	t.Helper()
	var (
		m    esproto.PersistentSubscriptionAckEvents
		want = []esproto.GUID{{0xFE}} // ids are appended
	)
	valid := proto.Unmarshal(b, &m) == nil
	for _, id := range m.GetProcessedEventIds() {
		g, ok := esproto.ParseGUID(id)
		valid = valid && ok
		want = append(want, g)
	}
	subscription, ids, err := esproto.DecodeAck(b, []esproto.GUID{{0xFE}})
	if !valid {
		require.ErrorIs(t, err, esproto.ErrMalformed, "%x", b)
		return
	}
	require.NoError(t, err, "%x", b)
	requireAliases(t, b, unsafeBytes(subscription))
	require.Equal(t, m.GetSubscriptionId(), subscription, "%x", b)
	require.Equal(t, want, ids, "%x", b)
}

func staleEvent() esproto.EventView {
	r := esproto.RecordView{StreamID: "stale", EventNumber: 7, Data: []byte("stale"), Created: 7}
	return esproto.EventView{Event: r, Link: r, HasEvent: true, HasLink: true, CommitPosition: 7, PreparePosition: 7}
}

// requireAliases checks that every part lies in b and cannot grow into the next part.
func requireAliases(t *testing.T, b []byte, parts ...[]byte) {
	t.Helper()
	begin := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		at := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
		require.True(t, at >= begin && at+uintptr(len(part)) <= begin+uintptr(len(b)), "a copy of %x", part)
		require.Equal(t, len(part), cap(part), "room to grow")
	}
}

func unsafeBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

func recordSlices(r *esproto.RecordView) [][]byte {
	return [][]byte{unsafeBytes(r.StreamID), r.EventID, unsafeBytes(r.EventType), r.Data, r.Metadata}
}

func newEventSlices(e *esproto.NewEventView) [][]byte {
	return [][]byte{e.EventID, unsafeBytes(e.EventType), e.Data, e.Metadata}
}

func eventSlices(e *esproto.EventView) [][]byte {
	return append(recordSlices(&e.Event), recordSlices(&e.Link)...)
}

// What the views must be, by the generated messages. require.Equal tells nil from empty ones within them.

func recordView(m *esproto.EventRecord) esproto.RecordView {
	return esproto.RecordView{
		StreamID:            m.GetEventStreamId(),
		EventNumber:         m.GetEventNumber(),
		EventID:             m.GetEventId(),
		EventType:           m.GetEventType(),
		DataContentType:     m.GetDataContentType(),
		MetadataContentType: m.GetMetadataContentType(),
		Data:                m.GetData(),
		Metadata:            m.GetMetadata(),
		Created:             m.GetCreated(),
		CreatedEpoch:        m.GetCreatedEpoch(),
	}
}

func newEventView(m *esproto.NewEvent) esproto.NewEventView {
	return esproto.NewEventView{
		EventID:             m.GetEventId(),
		EventType:           m.GetEventType(),
		DataContentType:     m.GetDataContentType(),
		MetadataContentType: m.GetMetadataContentType(),
		Data:                m.GetData(),
		Metadata:            m.GetMetadata(),
	}
}

func replyView(m *esproto.WriteEventsCompleted) esproto.WriteEventsCompletedView {
	return esproto.WriteEventsCompletedView{
		Result:           m.GetResult(),
		Message:          m.GetMessage(),
		FirstEventNumber: m.GetFirstEventNumber(),
		LastEventNumber:  m.GetLastEventNumber(),
		PreparePosition:  m.GetPreparePosition(),
		CommitPosition:   m.GetCommitPosition(),
		CurrentVersion:   m.GetCurrentVersion(),
	}
}

func positionedView(m *esproto.ResolvedEvent) esproto.EventView {
	return esproto.EventView{
		Event:           recordView(m.GetEvent()),
		HasEvent:        m.GetEvent() != nil,
		Link:            recordView(m.GetLink()),
		HasLink:         m.GetLink() != nil,
		CommitPosition:  m.GetCommitPosition(),
		PreparePosition: m.GetPreparePosition(),
	}
}

func indexedView(m *esproto.ResolvedIndexedEvent) esproto.EventView {
	return esproto.EventView{
		Event:    recordView(m.GetEvent()),
		HasEvent: m.GetEvent() != nil,
		Link:     recordView(m.GetLink()),
		HasLink:  m.GetLink() != nil,
	}
}
