package esproto_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// TestAllocations bounds the allocations of the hot paths. The views and encoders live in memory of their user, as in
// the client. Only the payload that FrameReader.Take returns is allocated.
func TestAllocations(t *testing.T) {
	var (
		buf    []byte
		reply  esproto.WriteEventsCompletedView
		write  esproto.WriteEventsView
		page   esproto.PageView
		event  esproto.EventView
		ids    = make([]esproto.GUID, 0, 100)
		err    error
		ok     bool
		record = benchRecord.Append(nil, esproto.Explicit)

		replyPayload  = benchReply.Append(nil, esproto.Explicit)
		writePayload  = appendBenchEvent(nil)
		pagePayload   = benchPage()
		pushedPayload = benchPushed()
		retryPayload  = esproto.AppendPersistentEvent(nil, record, record, 3, esproto.Explicit)
		ackPayload    = esproto.AppendAck(nil, "stream::group", make([]esproto.GUID, 100))
		frame         = esproto.AppendFrame(nil, esproto.CmdStreamEventAppeared, testID, pushedPayload)
		frames        = esproto.NewFrameReader(&cycle{b: frame}, 4096, 0)
		into          = make([]byte, len(pushedPayload))
	)
	for _, tt := range []struct {
		name string
		want float64
		do   func()
	}{
		{"frame with an append", 0, func() {
			buf = esproto.AppendHeader(buf[:0], esproto.CmdWriteEvents, testID, nil)
			buf = appendBenchEvent(buf)
			esproto.EndFrame(buf, 0)
		}},
		{"reply to an append", 0, func() { err = reply.Decode(replyPayload) }},
		{"append at the server", 0, func() { err = write.Decode(writePayload) }},
		{"reply from the server", 0, func() { buf = benchReply.Append(buf[:0], esproto.Explicit) }},
		{"page of 500 events", 0, func() {
			if err = page.DecodeStream(pagePayload); err != nil {
				return
			}
			for ok = true; ok && err == nil; {
				ok, err = page.NextEvent(&event)
			}
		}},
		{"pushed event", 0, func() { err = esproto.DecodeStreamEventAppeared(pushedPayload, &event) }},
		{"event of a group", 0, func() { _, err = esproto.DecodePersistentEvent(retryPayload, &event) }},
		{"record", 0, func() { buf = benchRecord.Append(buf[:0], esproto.Explicit) }},
		{"pushed event from the server", 0, func() {
			buf = esproto.AppendStreamEventAppeared(buf[:0], record, record, 1, 2, esproto.Explicit)
		}},
		{"acks", 0, func() { buf = esproto.AppendAck(buf[:0], "stream::group", ids) }},
		{"acks at the server", 0, func() { _, ids, err = esproto.DecodeAck(ackPayload, ids[:0]) }},
		{"frame borrowed", 0, func() {
			if _, _, err = frames.Next(); err == nil {
				_, err = frames.Borrow()
			}
		}},
		{"frame read into memory of the caller", 0, func() {
			if _, _, err = frames.Next(); err == nil {
				err = frames.TakeInto(into)
			}
		}},
		{"frame taken", 1, func() {
			if _, _, err = frames.Next(); err == nil {
				_, err = frames.Take()
			}
		}},
	} {
		tt.do() // buffers grow the first time
		assert.InDelta(t, tt.want, testing.AllocsPerRun(100, tt.do), 0, tt.name)
		require.NoError(t, err, tt.name)
	}
	assert.Equal(t, benchPageSize, page.Len)
	assert.Len(t, ids, 100)
}
