package esclient_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

func TestAppendAndReadBack(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("orders")
	id := uuid.New()
	before := time.Now().Add(-time.Minute)
	res, err := c.Append(ctx, stream, esclient.NoStream,
		esclient.EventData{
			ID: id, Type: "placed", ContentType: esclient.ContentTypeJSON, Data: []byte(`{"total":3}`),
			Metadata: []byte(`{"by":"me"}`),
		},
		esclient.EventData{Type: "empty"},
		esclient.EventData{Type: "binary", Data: []byte{0, 1, 255}})
	require.NoError(t, err)
	assert.Equal(t, int64(0), res.FirstEventNumber)
	assert.Equal(t, int64(2), res.LastEventNumber)
	assert.Positive(t, res.Position.Commit)

	var events []*esclient.Event
	for e, err := range c.ReadStream(ctx, stream, esclient.ReadOptions{}) {
		require.NoError(t, err)
		events = append(events, e)
	}
	require.Len(t, events, 3)
	e := events[0]
	assert.Equal(t, id, e.ID)
	assert.Equal(t, stream, e.Stream)
	assert.Equal(t, "placed", e.Type)
	assert.Equal(t, esclient.ContentTypeJSON, e.ContentType)
	assert.WithinRange(t, e.Created.Time(), before, time.Now().Add(time.Minute))
	assert.Nil(t, e.Link)
	assert.Same(t, e, e.Original())
	var v struct{ Total int }
	require.NoError(t, e.JSON(&v))
	assert.Equal(t, 3, v.Total)
	var m struct{ By string }
	require.NoError(t, e.MetadataJSON(&m))
	assert.Equal(t, "me", m.By)
	assert.Empty(t, events[1].Data)
	assert.NotEqual(t, uuid.Nil, events[1].ID, "an event without an id got one")
	assert.Equal(t, []byte{0, 1, 255}, events[2].Data)
	assert.Equal(t, int64(2), events[2].Number)
	assert.Error(t, events[2].JSON(&v))
}

func TestExpectedVersions(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	one := esclient.EventData{Type: "t"}
	t.Run("no stream", func(t *testing.T) {
		stream := name("s")
		_, err := c.Append(ctx, stream, esclient.NoStream, one)
		require.NoError(t, err)
		_, err = c.Append(ctx, stream, esclient.NoStream, one)
		var wrong *esclient.WrongExpectedVersionError
		require.ErrorAs(t, err, &wrong)
		assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
		want := esclient.WrongExpectedVersionError{Stream: stream, Expected: esclient.NoStream, Current: 0}
		assert.Equal(t, want, *wrong)
	})
	t.Run("stream exists", func(t *testing.T) {
		stream := name("s")
		_, err := c.Append(ctx, stream, esclient.StreamExists, one)
		assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
		_, err = c.Append(ctx, stream, esclient.Any, one)
		require.NoError(t, err)
		_, err = c.Append(ctx, stream, esclient.StreamExists, one)
		assert.NoError(t, err)
	})
	t.Run("exact", func(t *testing.T) {
		stream := name("s")
		res, err := c.Append(ctx, stream, esclient.NoStream, numbered(0, 4)...)
		require.NoError(t, err)
		res, err = c.Append(ctx, stream, esclient.ExpectedVersion(res.LastEventNumber), one)
		require.NoError(t, err)
		assert.Equal(t, int64(5), res.FirstEventNumber)
		for _, v := range []esclient.ExpectedVersion{4, 6, 1000} {
			_, err = c.Append(ctx, stream, v, one)
			assert.ErrorIs(t, err, esclient.ErrWrongExpectedVersion)
		}
	})
}

func TestAConditionalAppendHasAStatus(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	trusting := trusts(t, c)
	one := esclient.EventData{Type: "t"}
	res, err := c.AppendConditional(ctx, stream, esclient.NoStream, one, one)
	require.NoError(t, err)
	assert.Equal(t, esclient.AppendSucceeded, res.Status)
	assert.Equal(t, int64(1), res.LastEventNumber)
	assert.Positive(t, res.Position.Commit)

	res, err = c.AppendConditional(ctx, stream, 0, one)
	require.NoError(t, err)
	assert.Equal(t, esclient.ConditionalResult{Status: esclient.AppendVersionMismatch, Current: 1}, res)
	res, err = c.AppendConditional(ctx, name("missing"), esclient.StreamExists, one)
	require.NoError(t, err)
	assert.Equal(t, esclient.ConditionalResult{Status: esclient.AppendVersionMismatch, Current: -1}, res)

	_, err = c.DeleteStream(ctx, stream, esclient.Any)
	require.NoError(t, err)
	res, err = c.AppendConditional(ctx, stream, esclient.StreamExists, one)
	require.NoError(t, err)
	assert.Equal(t, esclient.ConditionalResult{Status: esclient.AppendStreamDeleted}, res)

	for _, tc := range []struct {
		stream string
		is     error
	}{{"", esclient.ErrInvalidArgument}, {"$" + stream, esclient.ErrAccessDenied}} {
		if errors.Is(tc.is, esclient.ErrAccessDenied) && trusting {
			continue
		}
		ops := asOps(ctx)
		res, err = c.AppendConditional(ops, tc.stream, esclient.Any, one)
		assert.ErrorIs(t, err, tc.is)
		assert.Zero(t, res, "no status stands for an error")
	}
	for status, text := range map[esclient.AppendStatus]string{
		esclient.AppendSucceeded: "succeeded", esclient.AppendVersionMismatch: "version mismatch",
		esclient.AppendStreamDeleted: "stream deleted", 0: "AppendStatus(0)",
	} {
		assert.Equal(t, text, status.String())
	}
}

func TestAConditionalAppendMayBeUnknownToo(t *testing.T) {
	s := newScript(t)
	c, done := s.client(nil), make(chan error, 1)
	go func() {
		_, err := c.AppendConditional(testContext(t), "orders", 2, numbered(0, 0)...)
		done <- err
	}()
	s.next(esproto.CmdWriteEvents).cut()
	s.next(esproto.CmdWriteEvents).written(result(esproto.OperationResult_StreamDeleted))
	err := <-done
	assert.ErrorIs(t, err, esclient.ErrOutcomeUnknown, "the stream may have been deleted after the first attempt")
	assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
}

func TestAppendingTheSameEventsAgainIsRecognised(t *testing.T) {
	c, ctx, stream := connect(t), testContext(t), name("s")
	events := numbered(0, 2)
	for i := range events {
		events[i].ID = uuid.New()
	}
	first, err := c.Append(ctx, stream, esclient.NoStream, events...)
	require.NoError(t, err)
	for _, v := range []esclient.ExpectedVersion{esclient.NoStream, esclient.Any, esclient.StreamExists} {
		again, err := c.Append(ctx, stream, v, events...)
		require.NoError(t, err)
		assert.Equal(t, first.FirstEventNumber, again.FirstEventNumber)
		assert.Equal(t, first.LastEventNumber, again.LastEventNumber)
	}
	res, err := c.Append(ctx, stream, 2, esclient.EventData{Type: "next"})
	require.NoError(t, err)
	assert.Equal(t, int64(3), res.FirstEventNumber, "nothing was written twice")
}

func TestTheCallersEventsAreLeftAlone(t *testing.T) {
	c := connect(t)
	events := numbered(0, 1)
	_, err := c.Append(testContext(t), name("s"), esclient.Any, events...)
	require.NoError(t, err)
	assert.Equal(t, uuid.Nil, events[0].ID)
}

func TestAppendRefusesInvalidEvents(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	good := esclient.EventData{Type: "t"}
	big := esclient.EventData{Type: "t", Data: make([]byte, esclient.MaxEventSize-2)}
	for argument, try := range map[string]func() error{
		"stream":    func() error { _, err := c.Append(ctx, "", esclient.Any, good); return err },
		"stream ":   func() error { _, err := c.Append(ctx, "a\nb", esclient.Any, good); return err },
		"stream  ":  func() error { _, err := c.Append(ctx, "\xff", esclient.Any, good); return err },
		"expected":  func() error { _, err := c.Append(ctx, "s", -3, good); return err },
		"expected ": func() error { _, err := c.Append(ctx, "s", -5, good); return err },
		"events":    func() error { _, err := c.Append(ctx, "s", esclient.Any); return err },
		"events[1].Type": func() error {
			_, err := c.Append(ctx, "s", esclient.Any, good, esclient.EventData{})
			return err
		},
		"events[0].Type": func() error {
			_, err := c.Append(ctx, "s", esclient.Any, esclient.EventData{Type: "\xff"})
			return err
		},
		"events[0]": func() error {
			_, err := c.Append(ctx, "s", esclient.Any, esclient.EventData{
				Type: "t", Data: make([]byte, esclient.MaxEventSize),
			})
			assert.ErrorIs(t, err, esclient.ErrTooLarge)
			return err
		},
		"events ": func() error {
			_, err := c.Append(ctx, "s", esclient.Any, big, big, big, big, big)
			assert.ErrorIs(t, err, esclient.ErrTooLarge)
			return err
		},
		"credentials": func() error {
			_, err := c.Append(esclient.WithCredentials(ctx, esclient.Credentials{Login: "x"}), "s", esclient.Any, good)
			return errors.Unwrap(err)
		},
	} {
		err := try()
		var e *esclient.ArgumentError
		require.ErrorAs(t, err, &e, argument)
		assert.ErrorIs(t, err, esclient.ErrInvalidArgument)
		assert.Equal(t, string(bytes.TrimSpace([]byte(argument))), e.Argument, "%v", err)
	}
}

func TestLargeEventsGoThrough(t *testing.T) {
	if testing.Short() {
		t.Skip("writes and reads 16 MiB")
	}
	c, ctx, stream := connect(t), testContext(t), name("s")
	data := bytes.Repeat([]byte("0123456789abcdef"), (esclient.MaxEventSize-64)/16)
	_, err := c.Append(ctx, stream, esclient.NoStream, esclient.EventData{Type: "big", Data: data})
	require.NoError(t, err)
	for e, err := range c.ReadStream(ctx, stream, esclient.ReadOptions{}) {
		require.NoError(t, err)
		assert.True(t, bytes.Equal(data, e.Data))
	}
}

func TestCredentialsPerCall(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	needsRefusals(t, c)
	system := "$" + name("system")
	_, err := c.Append(asAdmin(ctx), system, esclient.Any, esclient.EventData{Type: "t"})
	require.NoError(t, err, "the administrator may")
	ops := asOps(ctx)
	_, err = c.Append(ops, system, esclient.Any, esclient.EventData{Type: "t"})
	assert.ErrorIs(t, err, esclient.ErrAccessDenied)
	wrong := esclient.WithCredentials(ctx, esclient.Credentials{Login: "ops", Password: "wrong"})
	_, err = c.Append(wrong, system, esclient.Any, esclient.EventData{Type: "t"})
	assert.ErrorIs(t, err, esclient.ErrNotAuthenticated)
	_, err = c.Ping(ctx)
	assert.NoError(t, err, "the connection is not harmed")
}
