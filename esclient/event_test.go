package esclient_test

import (
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
)

func TestEventFields(t *testing.T) {
	c, ctx, target, links := connect(t), testContext(t), name("target"), name("links")
	id := uuid.New()
	written, err := c.Append(ctx, target, esclient.NoStream, esclient.EventData{
		ID: id, Type: "placed", ContentType: esclient.ContentTypeJSON,
		Data: []byte(`{"total":12}`), Metadata: []byte(`{"by":"me"}`),
	})
	require.NoError(t, err)
	linked, err := c.Append(ctx, links, esclient.NoStream, esclient.EventData{Type: "$>", Data: []byte("0@" + target)},
		esclient.EventData{Type: "$>", Data: []byte("1@" + target)})
	require.NoError(t, err)

	tell := func(e *esclient.Event) {
		t.Helper()
		var data struct{ Total int }
		var metadata struct{ By string }
		require.NoError(t, e.JSON(&data))
		require.NoError(t, e.MetadataJSON(&metadata))
		assert.Equal(t, 12, data.Total)
		assert.Equal(t, "me", metadata.By)
		assert.Equal(t, []any{id, "placed", esclient.ContentTypeJSON, target, int64(0)},
			[]any{e.ID, e.Type, e.ContentType, e.Stream, e.Number})
		assert.Equal(t, time.UTC, e.Created.Time().Location())
		assert.WithinDuration(t, time.Now(), e.Created.Time(), time.Hour)
	}
	var read []*esclient.Event
	from := esclient.FromPosition(written.Position)
	for e, err := range c.ReadAll(asAdmin(ctx), esclient.ReadAllOptions{From: from, ResolveLinks: true}) {
		require.NoError(t, err)
		if e.Original().Stream == target || e.Original().Stream == links {
			read = append(read, e)
		}
	}
	require.Len(t, read, 3)
	tell(read[0])
	assert.Nil(t, read[0].Link)
	assert.Equal(t, written.Position, read[0].Position)

	tell(read[1])
	require.NotNil(t, read[1].Link)
	assert.Equal(t, []any{links, int64(0), "$>"}, []any{read[1].Link.Stream, read[1].Link.Number, read[1].Link.Type})
	assert.Equal(t, read[1].Position, read[1].Link.Position, "the position is that of the link")
	assert.Positive(t, read[1].Position.Compare(written.Position))

	assert.True(t, read[2].Unresolved)
	assert.Nil(t, read[2].Link)
	assert.Equal(t, linked.Position, read[2].Position)
	assert.ErrorContains(t, read[2].JSON(new(any)), "1@"+links, "the error names the event")
	assert.ErrorContains(t, read[2].MetadataJSON(new(any)), "metadata of event 1@"+links)
}

// inside reports whether memory lies within other memory.
func inside(part, whole []byte) bool {
	if len(part) == 0 {
		return false
	}
	at, begin := uintptr(unsafe.Pointer(unsafe.SliceData(part))), uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	return at >= begin && at < begin+uintptr(len(whole))
}

func TestACloneSharesNothing(t *testing.T) {
	c, ctx, target, links := connect(t), testContext(t), name("target"), name("links")
	appendNumbered(t, c, target, 0, 1)
	_, err := c.Append(ctx, links, esclient.Any,
		esclient.EventData{Type: "$>", Data: []byte("1@" + target), Metadata: []byte("m")})
	require.NoError(t, err)
	e, err := c.ReadEvent(ctx, links, 0, esclient.ReadEventOptions{ResolveLinks: true})
	require.NoError(t, err)
	clone := e.Clone()
	assert.Equal(t, e, clone)

	bytesOf := func(e *esclient.Event) [][]byte {
		return [][]byte{
			unsafe.Slice(unsafe.StringData(e.Stream), len(e.Stream)),
			unsafe.Slice(unsafe.StringData(e.Type), len(e.Type)),
			e.Data, e.Metadata,
		}
	}
	theirs := slices.Concat(bytesOf(e), bytesOf(e.Link))
	for i, ours := range slices.Concat(bytesOf(clone), bytesOf(clone.Link)) {
		assert.False(t, inside(ours, theirs[i]), "%q", ours)
	}
	e.Data[0], e.Link.Metadata[0] = 'x', 'x'
	assert.Equal(t, "1", string(clone.Data))
	assert.Equal(t, "m", string(clone.Link.Metadata))
}

// TestACloneFreesItsPage checks that an event keeps its page in memory, and that a clone does not.
func TestACloneFreesItsPage(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	appendNumbered(t, c, stream, 0, 99)
	freed := make(chan struct{})
	read := func() *esclient.Event {
		page, err := c.ReadStreamPage(ctx, stream, esclient.ReadOptions{})
		require.NoError(t, err)
		runtime.AddCleanup(&page.Events[0], func(freed chan struct{}) { close(freed) }, freed)
		return &page.Events[50]
	}
	event := read()
	runtime.GC()
	select {
	case <-freed:
		assert.Fail(t, "the page is gone although one of its events is kept")
	default:
	}
	clone := event.Clone()
	event = nil
	require.Eventually(t, func() bool {
		runtime.GC()
		select {
		case <-freed:
			return true
		default:
			return false
		}
	}, patience, time.Millisecond)
	assert.Equal(t, "50", string(clone.Data))
	assert.Nil(t, event)
}
