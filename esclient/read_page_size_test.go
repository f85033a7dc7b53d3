package esclient_test

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// stuffed makes data of a number, which is filled up with spaces to a size.
func stuffed(number, size int) []byte {
	data := bytes.Repeat([]byte{' '}, size)
	copy(data, fmt.Sprint(number))
	return data
}

// unstuffed returns the number in stuffed data.
func unstuffed(data []byte) string { return string(bytes.TrimRight(data, " ")) }

// appendStuffed appends stuffed events, each by itself.
func appendStuffed(t testing.TB, c *esclient.Client, stream string, count, size int) {
	t.Helper()
	for n := range count {
		e := esclient.EventData{Type: "stuffed", Data: stuffed(n, size)}
		_, err := c.Append(t.Context(), stream, esclient.Any, e)
		require.NoError(t, err)
	}
}

// readStuffed returns the numbers of the first stuffed events of a stream.
func readStuffed(
	t testing.TB, stream string, count, size int, events iter.Seq2[*esclient.Event, error],
) (numbers []string) {
	t.Helper()
	for e, err := range events {
		if !assert.NoError(t, err) {
			break
		}
		if e.Stream != stream {
			continue
		}
		assert.Len(t, e.Data, size)
		if numbers = append(numbers, unstuffed(e.Data)); len(numbers) == count {
			break
		}
	}
	return numbers
}

func catchUp(t testing.TB, c *esclient.Client, stream string) iter.Seq2[*esclient.Event, error] {
	t.Helper()
	s, err := c.SubscribeCatchUp(t.Context(), stream, esclient.CatchUpOptions{})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s.All(t.Context())
}

// TestEventsThatFitNoFrameTogether reads events of nearly a quarter of a frame, in pages that would have all six: in
// small, and with the largest frames and events that there can be.
func TestEventsThatFitNoFrameTogether(t *testing.T) {
	const total = 6
	up, back := words(0, total-1), down(total-1, 0)
	for _, frame := range []int{64 << 10, esproto.MaxFrameSize} {
		if frame == esproto.MaxFrameSize && testing.Short() {
			continue
		}
		srv, _ := embedded(t, estest.WithPersona(estest.Persona2310))
		c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) {
			cfg.MaxFrameSize, cfg.MaxRetries = frame, -1 // to ask for less is no retry
		})
		ctx, stream, size := t.Context(), name("s"), frame/64*15
		appendStuffed(t, c, stream, total, size)
		only := &esclient.Filter{StreamPrefixes: []string{stream}}
		for what, tc := range map[string]struct {
			events iter.Seq2[*esclient.Event, error]
			want   []string
		}{
			"stream":           {c.ReadStream(ctx, stream, esclient.ReadOptions{}), up},
			"stream, backward": {c.ReadStream(ctx, stream, esclient.ReadOptions{Backward: true}), back},
			"$all":             {c.ReadAll(ctx, esclient.ReadAllOptions{}), up},
			"$all, backward":   {c.ReadAll(ctx, esclient.ReadAllOptions{Backward: true}), back},
			"$all, filtered":   {c.ReadAll(ctx, esclient.ReadAllOptions{Filter: only}), up},
			"$all, filtered, backward": {
				c.ReadAll(ctx, esclient.ReadAllOptions{Filter: only, Backward: true}), back,
			},
			"subscription":         {catchUp(t, c, stream), up},
			"subscription to $all": {catchUp(t, c, esclient.AllStream), up},
		} {
			t.Run(fmt.Sprintf("%s, frames of %d KiB", what, frame>>10), func(t *testing.T) {
				assert.Equal(t, tc.want, readStuffed(t, stream, total, size, tc.events))
			})
		}
	}
}

// TestLargeEventsDoNotDisturbOtherReaders has readers share a connection. Now and then each of them gets a page with
// several large events. The other readers and the connection must go on.
func TestLargeEventsDoNotDisturbOtherReaders(t *testing.T) {
	srv, writer := embedded(t)
	var log operationLog
	c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) {
		cfg.MaxFrameSize, cfg.Hooks = 64<<10, []esclient.Hook{&log}
	})
	ctx, stream := testContext(t), name("s")
	const total = 600
	r := rand.New(rand.NewPCG(1, 2))
	for n := range total {
		size := 10
		if r.IntN(10) == 0 {
			size = 30 << 10
		}
		e := esclient.EventData{Type: "stuffed", Data: stuffed(n, size)}
		_, err := writer.Append(ctx, stream, esclient.Any, e)
		require.NoError(t, err)
	}
	up, back := words(0, total-1), down(total-1, 0)
	var readers sync.WaitGroup
	for what, tc := range map[string]struct {
		events iter.Seq2[*esclient.Event, error]
		want   []string
	}{
		"stream":               {c.ReadStream(ctx, stream, esclient.ReadOptions{}), up},
		"stream, backward":     {c.ReadStream(ctx, stream, esclient.ReadOptions{Backward: true, PageSize: 50}), back},
		"$all":                 {c.ReadAll(ctx, esclient.ReadAllOptions{PageSize: 4096}), up},
		"$all, backward":       {c.ReadAll(ctx, esclient.ReadAllOptions{Backward: true}), back},
		"subscription":         {catchUp(t, c, stream), up},
		"subscription to $all": {catchUp(t, c, esclient.AllStream), up},
	} {
		readers.Go(func() {
			var got []string
			for e, err := range tc.events {
				if !assert.NoError(t, err, what) {
					return
				}
				if e.Stream == stream {
					got = append(got, unstuffed(e.Data))
				}
				if len(got) == total {
					break
				}
			}
			assert.Equal(t, tc.want, got, what)
		})
	}
	readers.Wait()
	assert.NotEmpty(t, log.retries)
	for _, retry := range log.retries {
		var large *esclient.FrameTooLargeError
		assert.ErrorAs(t, retry.Err, &large)
	}
	neverReconnected(t, srv)
}

// neverReconnected checks that the two clients of a test have made no more than a connection each.
func neverReconnected(t testing.TB, srv *estest.Server) {
	t.Helper()
	assert.EqualValues(t, 2, srv.Stats().ConnectionsTotal)
}

func TestAPageThatFitsNoFrameIsCutShort(t *testing.T) {
	srv, _ := embedded(t)
	c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) { cfg.MaxFrameSize = 64 << 10 })
	ctx, stream := testContext(t), name("s")
	const total, size = 100, 2 << 10
	appendStuffed(t, c, stream, total, size)
	opts := esclient.ReadOptions{PageSize: 200}
	var got []string
	for end := false; !end; {
		page, err := c.ReadStreamPage(ctx, stream, opts)
		require.NoError(t, err)
		for i := range page.Events {
			got = append(got, unstuffed(page.Events[i].Data))
		}
		opts.From, end = page.Next, page.EndOfStream
	}
	assert.Equal(t, words(0, total-1), got)

	first, err := c.ReadAllPage(ctx, esclient.ReadAllOptions{Backward: true})
	require.NoError(t, err)
	require.NotEmpty(t, first.Events)
	second, err := c.ReadAllPage(ctx, esclient.ReadAllOptions{Backward: true, From: first.Next, MaxCount: 1})
	require.NoError(t, err)
	require.Len(t, second.Events, 1)
	assert.Equal(t, int64(total-1-len(first.Events)), second.Events[0].Number, "no event is left out")
}

// smallFrames returns a server, a client that can write anything there, and one that cannot receive more than 4 KiB.
func smallFrames(
	t testing.TB, hooks []esclient.Hook, opts ...estest.Option,
) (srv *estest.Server, writer, c *esclient.Client) {
	t.Helper()
	srv, writer = embedded(t, opts...)
	return srv, writer, openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) {
		cfg.MaxFrameSize, cfg.Hooks = 4<<10, hooks
	})
}

func TestAnEventThatFitsNoFrame(t *testing.T) {
	var log operationLog
	srv, writer, c := smallFrames(t, []esclient.Hook{&log})
	ctx, stream := testContext(t), name("s")
	appendStuffed(t, writer, stream, 1, 10)
	appendStuffed(t, writer, stream, 1, 4<<10)
	for what, events := range map[string]iter.Seq2[*esclient.Event, error]{
		"stream":       c.ReadStream(ctx, stream, esclient.ReadOptions{}),
		"subscription": catchUp(t, c, stream),
	} {
		seen, failure := 0, error(nil)
		for _, err := range events {
			if failure = err; err == nil {
				seen++
			}
		}
		assert.Equal(t, 1, seen, "%s: that before it", what)
		cannotReceive(t, failure)
	}

	log.retries = nil
	_, err := c.ReadEvent(ctx, stream, 1, esclient.ReadEventOptions{})
	cannotReceive(t, err)
	_, err = c.ReadStreamPage(ctx, stream, esclient.ReadOptions{From: esclient.FromNumber(1), PageSize: 1})
	cannotReceive(t, err)
	end, err := writer.ReadAllPage(asAdmin(ctx), esclient.ReadAllOptions{Backward: true, MaxCount: 1})
	require.NoError(t, err)
	_, err = c.ReadAllPage(asAdmin(ctx), esclient.ReadAllOptions{
		Backward: true, From: esclient.FromPosition(end.Events[0].Position),
	})
	cannotReceive(t, err)
	assert.Empty(t, log.retries, "there is no less to ask for")
	neverReconnected(t, srv)
}

// cannotReceive checks the error that an event of 4 KiB ends with.
func cannotReceive(t testing.TB, err error) {
	t.Helper()
	var large *esclient.FrameTooLargeError
	require.ErrorAs(t, err, &large)
	assert.Greater(t, large.Length, 4<<10)
	assert.Equal(t, 4<<10, large.Max)
	assert.ErrorIs(t, err, esproto.ErrFrame)
	assert.ErrorContains(t, err, "raise it", "what to do")
	assert.False(t, esclient.SafeToRetry(err))
}

// TestAPushedEventThatFitsNoFrame has it come when the subscriptions are live.
func TestAPushedEventThatFitsNoFrame(t *testing.T) {
	for _, fillGaps := range []bool{true, false} {
		var log subscriptionLog
		srv, writer, c := smallFrames(t, []esclient.Hook{&log})
		ctx, stream := testContext(t), name("s")
		s, err := c.SubscribeVolatile(ctx, stream, esclient.VolatileOptions{FillGaps: fillGaps})
		require.NoError(t, err)
		t.Cleanup(s.Stop)
		appendStuffed(t, writer, stream, 1, 10)
		appendStuffed(t, writer, stream, 1, 4<<10)
		e, err := s.Next(ctx)
		require.NoError(t, err)
		assert.Equal(t, int64(0), e.Number)
		if fillGaps {
			_, err = s.Next(ctx)
			cannotReceive(t, err)
		} else {
			behind := make(chan *esclient.Event, 1)
			go func() {
				e, err := s.Next(ctx)
				assert.NoError(t, err)
				behind <- e
			}()
			eventually(t, func() bool { return log.count("subscribed") == 2 }) // earlier events are lost
			appendStuffed(t, writer, stream, 1, 10)
			assert.Equal(t, int64(2), (<-behind).Number)
		}
		assert.Equal(t, 1, log.count("dropped"))
		// The server need push no more of that.
		eventually(t, func() bool { return srv.Stats().FramesIn[esproto.CmdUnsubscribeFromStream] > 0 })
		neverReconnected(t, srv)
	}
}

// TestAGroupParksAnEventThatFitsNoFrame has a group whose second event is too large: it is delivered
// again until it is parked, and holds up nothing else.
func TestAGroupParksAnEventThatFitsNoFrame(t *testing.T) {
	undertest.AdminOnly(t, "its clock stands still, so it cannot look up rights")
	var log subscriptionLog
	clock := estest.NewClock(time.Now())
	srv, writer, c := smallFrames(t, []esclient.Hook{&log}, estest.WithClock(clock))
	ctx, settings := testContext(t), fromStart()
	settings.MessageTimeout, settings.MaxRetryCount = time.Second, 1
	stream, group := group(t, writer, settings)
	appendStuffed(t, writer, stream, 1, 10)
	appendStuffed(t, writer, stream, 1, 4<<10)
	appendStuffed(t, writer, stream, 1, 20)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	for _, number := range []int64{0, 2} {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		assert.Equal(t, number, e.Number)
		require.NoError(t, p.Ack(e))
	}
	for n := range 2 { // it is delivered, and then once more
		eventually(t, func() bool { return log.count("left out") == n+1 && srv.Stats().InFlight == 1 })
		cannotReceive(t, log.lastError())
		clock.Advance(settings.MessageTimeout)
	}
	inPark := readParked(t, writer, stream, group)
	require.Len(t, inPark, 1)
	assert.Equal(t, int64(1), inPark[0].Number)
	assert.Zero(t, log.count("dropped"))
	require.NoError(t, p.Stop(ctx))
	neverReconnected(t, srv)
}

// stuffedPage answers a read with events of a size, of a stream that goes on.
func (q *request) stuffedPage(from int64, count, size int) {
	q.s.t.Helper()
	var b []byte
	for n := from; n < from+int64(count); n++ {
		r := esproto.RecordView{StreamID: "orders", EventNumber: n, EventType: "t", Data: stuffed(int(n), size)}
		b = esproto.AppendIndexedEvent(b, 1, r.Append(nil, esproto.Explicit), nil)
	}
	m, err := proto.Marshal(&esproto.ReadStreamEventsCompleted{
		Result:          esproto.ReadStreamEventsCompleted_Success.Enum(),
		NextEventNumber: proto.Int64(from + int64(count)),
		IsEndOfStream:   proto.Bool(false),
	})
	require.NoError(q.s.t, err)
	q.reply(esproto.CmdReadStreamEventsForwardCompleted, append(b, m...))
}

// asks returns how many events a read asks for.
func (q *request) asks() int {
	q.s.t.Helper()
	var m esproto.ReadStreamEvents
	require.NoError(q.s.t, proto.Unmarshal(q.payload, &m))
	return int(m.GetMaxCount())
}

func TestPagesShrinkAndGrow(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	c := s.client(func(cfg *esclient.Config) {
		cfg.MaxRetries, cfg.MaxFrameSize, cfg.OperationTimeout = 1, 80<<10, 2*time.Second
	})
	tooLong := func(q *request) { q.reply(esproto.CmdReadStreamEventsForwardCompleted, make([]byte, 80<<10)) }
	tooMuch := func(q *request) {
		q.id = esproto.CorrelationID{}
		q.reply(esproto.CmdBadRequest, []byte("Connection pending send bytes is too big: 10485761."))
		q.cut()
	}
	silent := func(*request) {}
	page := func(count, size int) func(*request) {
		return func(q *request) {
			var m esproto.ReadStreamEvents
			require.NoError(t, proto.Unmarshal(q.payload, &m))
			q.stuffedPage(m.GetFromEventNumber(), count, size)
		}
	}
	events := c.ReadStream(testContext(t), "orders", esclient.ReadOptions{PageSize: 1000})
	go func() {
		for range events { // until the client is closed
		}
	}()
	for n, step := range []struct {
		asks  int
		reply func(*request)
	}{
		{1000, tooLong},
		{125, tooMuch},
		{15, tooLong},
		{4, tooLong},
		{2, tooLong},
		{1, page(1, 10)},
		{2, page(2, 10)},
		{4, silent},
		{2, page(2, 10)},
		{4, page(4, 10)},
		{8, page(8, 1000)},
		{9, page(9, 5000)}, // an eighth of a frame, 10 KiB, holds so many of 1000 bytes and what belongs to them
		{2, page(2, 10)},
		{4, (*request).cut},
		{4, page(4, 10)},
		{8, page(8, 10)},
	} {
		q := s.next(esproto.CmdReadStreamEventsForward)
		require.Equal(t, step.asks, q.asks(), "step %d", n)
		step.reply(q)
	}
}
