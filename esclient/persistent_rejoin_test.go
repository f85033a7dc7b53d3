package esclient_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestErrorsNameADeletedGroup(t *testing.T) {
	t.Parallel()
	everybody(t, func(t *testing.T, persona estest.Persona, asAdmin bool) {
		settings := fromStart()
		for _, opts := range []esclient.PersistentOptions{{}, {Restore: &settings}} {
			srv := estest.Run(t, estest.WithPersona(persona), withJane())
			m := join(t, srv.ConnectionString(), asAdmin, 20, fromStart(), opts)
			m.consumeAll(srv, 20)
			require.NoError(t, m.admin.DeletePersistent(testContext(t), m.stream, m.group))
			started := time.Now()
			e, err := m.sub.Next(testContext(t))
			require.ErrorIs(t, err, esclient.ErrGroupNotFound, "%v", e)
			assert.ErrorContains(t, err, "the group was deleted")
			assert.Less(t, time.Since(started), 10*time.Second)
			assert.Empty(t, srv.Stats().Groups, "it is not made anew")
		}
	})
}

func TestAGroupRecreatedAWhileLaterGoesOn(t *testing.T) {
	t.Parallel()
	srv := estest.Run(t)
	m := join(t, srv.ConnectionString(), true, 5, fromStart(), esclient.PersistentOptions{})
	m.consumeAll(srv, 5)
	require.NoError(t, m.admin.DeletePersistent(testContext(t), m.stream, m.group))
	time.Sleep(300 * time.Millisecond) // it is looked for meanwhile
	require.NoError(t, m.admin.CreatePersistent(testContext(t), m.stream, m.group, fromStart()))
	assert.Equal(t, words(0, 4), consume(t, m.sub, 5))
}

// moving is a client's way to a server in whose place another can be put.
type moving struct{ addr atomic.Value }

func (m *moving) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, m.addr.Load().(string))
}

// replaced has a subscriber consume n events of a group, and then replaces the server by one without the group, or by
// one that make returns.
func replaced(
	t *testing.T, n int, opts esclient.PersistentOptions, next func(old *estest.Server) *estest.Server,
) (fresh *estest.Server, m *member) {
	t.Helper()
	old := estest.Run(t)
	var way moving
	way.addr.Store(old.Addr())
	m = &member{t: t, admin: open(t, old.ConnectionString())}
	m.client = openWith(t, old.ConnectionString(), func(cfg *esclient.Config) { cfg.Dial = way.dial })
	m.stream, m.group = group(t, m.admin, fromStart())
	m.append(n)
	m.sub = subscribe(t, m.client, m.stream, m.group, opts)
	m.consumeAll(old, n)
	fresh = next(old)
	way.addr.Store(fresh.Addr())
	require.NoError(t, old.Close())
	m.admin, m.written = open(t, fresh.ConnectionString()), 0
	return fresh, m
}

func TestAGroupIsRestoredOnAnEmptyServer(t *testing.T) {
	t.Parallel()
	settings := fromStart()
	_, m := replaced(t, 20, esclient.PersistentOptions{Restore: &settings}, func(*estest.Server) *estest.Server {
		return estest.Run(t)
	})
	m.append(7)
	assert.Equal(t, words(0, 6), consume(t, m.sub, 7))
	nothingMore(t, m.sub.Next)
}

func TestWithoutRestoreAnEmptyServerEndsTheSubscription(t *testing.T) {
	t.Parallel()
	_, m := replaced(t, 20, esclient.PersistentOptions{}, func(*estest.Server) *estest.Server { return estest.Run(t) })
	_, err := m.sub.Next(testContext(t))
	assert.ErrorIs(t, err, esclient.ErrGroupNotFound)
	assert.ErrorContains(t, err, "older log or an empty one")
}

// TestAnOlderLogHandsOutEverything replaces the server by its own backup, where other events are written. The stream is
// shorter there than the subscriber knows it, or has another event at the last number that it has seen.
func TestAnOlderLogHandsOutEverything(t *testing.T) {
	t.Parallel()
	const kept = 10
	for name, n := range map[string]struct{ lost, written int }{
		"a shorter stream":              {lost: 10, written: 3},
		"another event at the same end": {lost: 1, written: 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := estest.Run(t)
			var way moving
			way.addr.Store(srv.Addr())
			m := &member{t: t, admin: open(t, srv.ConnectionString())}
			m.client = openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) { cfg.Dial = way.dial })
			m.stream, m.group = group(t, m.admin, fromStart())
			m.append(kept)
			backup := srv.Snapshot()
			m.append(n.lost)
			m.sub = subscribe(t, m.client, m.stream, m.group, esclient.PersistentOptions{})
			m.consumeAll(srv, kept+n.lost)

			old := estest.Run(t, estest.WithSnapshot(backup))
			m.admin, m.written = open(t, old.ConnectionString()), kept
			m.append(n.written)
			way.addr.Store(old.Addr())
			require.NoError(t, srv.Close())
			assert.Equal(t, words(0, kept+n.written-1), consume(t, m.sub, kept+n.written))
			nothingMore(t, m.sub.Next)
		})
	}
}
