package esotel_test

import (
	"context"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esotel"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestOperationsOfAClientHaveSpans(t *testing.T) {
	t.Parallel()
	f := newTraced(t, func(cfg *esotel.Config) { cfg.OperationsNeedParent, cfg.Server = false, "" })
	ctx, request := f.root()
	_, err := f.client.Append(ctx, "orders", esclient.Any, esclient.EventData{Type: "t", Data: []byte("{}")})
	require.NoError(t, err)
	for _, err := range f.client.ReadStream(ctx, "orders", esclient.ReadOptions{}) {
		require.NoError(t, err)
	}
	_, err = f.client.ReadEvent(ctx, "nothing", 0, esclient.ReadEventOptions{})
	require.ErrorIs(t, err, esclient.ErrStreamNotFound)
	require.NoError(t, f.client.CreatePersistent(ctx, "orders", "g", esclient.DefaultPersistentSettings()))
	request.End()
	_, err = f.client.Ping(f.ctx())
	require.NoError(t, err)

	host, text, err := net.SplitHostPort(f.srv.Addr())
	require.NoError(t, err)
	port, err := strconv.ParseInt(text, 10, 64)
	require.NoError(t, err)
	for command, stream := range map[string]string{
		"WriteEvents": "orders", "ReadStreamEventsForward": "orders", "ReadEvent": "nothing",
		"CreatePersistentSubscription": "orders",
	} {
		s := f.span(command)
		requireChild(t, s, f.span("request"))
		assert.Equal(t, trace.SpanKindClient, s.SpanKind())
		got := attributesOf(s)
		assert.Positive(t, got["db.eventstoredb.sent_bytes"], command)
		assert.Positive(t, got["db.eventstoredb.received_bytes"], command)
		delete(got, "db.eventstoredb.sent_bytes")
		delete(got, "db.eventstoredb.received_bytes")
		want := map[string]any{
			"db.system.name": "eventstoredb", "db.operation.name": command, "db.collection.name": stream,
			"server.address": host, "server.port": port, "network.peer.address": host, "network.peer.port": port,
			"db.eventstoredb.retries": int64(0),
		}
		switch command {
		case "ReadEvent":
			want["error.type"] = "stream_not_found"
			assert.Equal(t, codes.Error, s.Status().Code)
		case "CreatePersistentSubscription":
			want["messaging.consumer.group.name"] = "g"
		}
		assert.Equal(t, want, got)
	}
	ping := f.span("Ping")
	assert.False(t, ping.Parent().IsValid())
	assert.Nil(t, attributeOf(ping, "db.collection.name"))
}

func TestOperationsMayNeedAParent(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	_, err := f.client.Ping(f.ctx())
	require.NoError(t, err)
	ctx, request := f.root()
	_, err = f.client.Ping(ctx)
	require.NoError(t, err)
	request.End()
	requireChild(t, f.span("Ping"), f.span("request"))
}

func TestRetriesAreEventsOfTheSpan(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	_, err := f.client.Append(f.ctx(), "orders", esclient.NoStream, esclient.EventData{Type: "t"})
	require.NoError(t, err)
	f.srv.Intercept(esproto.CmdWriteEvents, estest.NotReady(), estest.Times(1))
	f.srv.Intercept(esproto.CmdWriteEvents, estest.Disconnect(), estest.Times(1))
	ctx, request := f.root()
	_, err = f.client.Append(ctx, "orders", 0, esclient.EventData{Type: "t"})
	require.NoError(t, err)
	request.End()
	write := f.span("WriteEvents")
	assert.Equal(t, codes.Unset, write.Status().Code)
	assert.Equal(t, int64(2), attributeOf(write, "db.eventstoredb.retries"))
	require.Len(t, write.Events(), 2)
	for n, class := range []string{"not_ready", "connection"} {
		e := write.Events()[n]
		assert.Equal(t, "retry", e.Name)
		assert.Equal(t, class, keyOf(e.Attributes, "error.type"))
		assert.Equal(t, int64(n+1), keyOf(e.Attributes, "db.eventstoredb.retry"))
		assert.NotEmpty(t, keyOf(e.Attributes, "exception.message"))
		assert.NotEmpty(t, keyOf(e.Attributes, "network.peer.address"))
	}
	assert.Positive(t, keyOf(write.Events()[0].Attributes, "db.eventstoredb.retry_delay"))
}

// greedy is another tracer's hook. It puts its own span into the context.
type greedy struct{ tracer trace.Tracer }

func (g greedy) OnOperationStarted(ctx context.Context, _ esclient.OperationInfo) context.Context {
	ctx, _ = g.tracer.Start(ctx, "other")
	return ctx
}

func TestAnotherTracersHookIsNoHindrance(t *testing.T) {
	t.Parallel()
	f := newTraced(t, nil)
	client := f.newClient(func(cfg *esclient.Config) {
		cfg.Hooks = []esclient.Hook{f.tracing.Hook(), greedy{f.provider.Tracer("other")}}
	})
	ctx, request := f.root()
	_, err := client.Ping(ctx)
	require.NoError(t, err)
	request.End()
	f.span("Ping")
	assert.Zero(t, spansNamed(f, "other"), "its span is not ours to end")
}

// Subscriptions have no spans, and the attempts to subscribe no events.
func TestRetriesToSubscribeHaveNoSpan(t *testing.T) {
	t.Parallel()
	f := newTraced(t, func(cfg *esotel.Config) { cfg.OperationsNeedParent = false })
	f.srv.Intercept(esproto.CmdSubscribeToStream, estest.NotReady(), estest.Times(1))
	ctx, request := f.root()
	s, err := f.client.SubscribeVolatile(ctx, "orders", esclient.VolatileOptions{})
	require.NoError(t, err)
	defer s.Stop()
	request.End()
	assert.Empty(t, f.span("request").Events())
	assert.Zero(t, spansNamed(f, "SubscribeToStream"))
}
