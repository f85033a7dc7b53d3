package eventstore_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// modes are the kinds of subscriptions.
var modes = map[string]eventstore.SubscriberConfig{
	"group":                  {ConsumerGroup: "g"},
	"volatile":               {Mode: eventstore.ModeVolatile},
	"volatile, gaps left":    {Mode: eventstore.ModeVolatile, DisableGapFilling: true},
	"catch-up":               {Mode: eventstore.ModeCatchUp},
	"catch-up, starts over":  {Mode: eventstore.ModeCatchUp, StartOver: true},
	"catch-up from the end":  {Mode: eventstore.ModeCatchUp, Start: esclient.FromEnd()},
	"catch-up from a number": {Mode: eventstore.ModeCatchUp, Start: esclient.FromNumber(1)},
}

// TestAStreamThatIsDeletedForGoodEndsSubscriptions subscribes before and after the deletion.
func TestAStreamThatIsDeletedForGoodEndsSubscriptions(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		for mode, cfg := range modes {
			t.Run(fmt.Sprintf("%s/%s", persona, mode), func(t *testing.T) {
				srv := embedded(t, estest.WithPersona(persona))
				cfg.ConnectionString = srv.ConnectionString()
				sub := newSubscriber(t, cfg)
				messages := subscribe(t, sub, "topic")
				c, err := esclient.Open(srv.ConnectionString())
				require.NoError(t, err)
				defer c.Close()
				_, err = c.TombstoneStream(context.Background(), "topic", esclient.Any)
				require.NoError(t, err)
				closes(t, messages)
				_, err = sub.Subscribe(t.Context(), "topic")
				assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
			})
		}
	}
}

// TestSubscribeTellsThatTheUserMayNotRead subscribes as a plain user to $all and to a stream that the user may not
// read.
func TestSubscribeTellsThatTheUserMayNotRead(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		srv := embedded(t, estest.WithPersona(persona), estest.WithUser("plain", "changeit"))
		_, err := srv.Append("$$secret",
			estest.Event{Type: "$metadata", JSON: true, Data: []byte(`{"$acl":{"$r":"$admins"}}`)})
		require.NoError(t, err)
		for mode, cfg := range modes {
			if cfg.ConsumerGroup != "" {
				continue
			}
			cfg.ConnectionString = "tcp://plain:changeit@" + srv.Addr()
			for _, topic := range []string{"$all", "secret"} {
				if topic == "$all" && mode == "catch-up from a number" {
					continue
				}
				_, err := newSubscriber(t, cfg).Subscribe(t.Context(), topic)
				assert.ErrorIs(t, err, esclient.ErrAccessDenied, "%s, %s, %s", persona, mode, topic)
			}
		}
	}
}

// TestAnEmptyServerAfterARestart restarts a server without its log, like one that stores it in memory. Fan-out goes on;
// a catch-up ends or starts over.
func TestAnEmptyServerAfterARestart(t *testing.T) {
	for mode, cfg := range modes {
		if cfg.ConsumerGroup != "" || cfg.DisableGapFilling {
			continue
		}
		t.Run(mode, func(t *testing.T) {
			old, fresh := embedded(t), embedded(t)
			var addr atomic.Value
			addr.Store(old.Addr())
			client, err := esclient.New(esclient.Config{
				Address:     old.Addr(),
				Credentials: &esclient.Credentials{Login: "admin", Password: "changeit"},
				Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
					var d net.Dialer
					return d.DialContext(ctx, network, addr.Load().(string))
				},
			})
			require.NoError(t, err)
			defer client.Close()
			cfg.Client = client
			messages := subscribe(t, newSubscriber(t, cfg), "topic")
			write := func(srv *estest.Server, from, to int) {
				for n := from; n <= to; n++ {
					_, err := srv.Append("topic", estest.Event{Type: "t", Data: fmt.Append(nil, n)})
					require.NoError(t, err)
				}
			}
			write(old, 0, 5)
			first := 0
			if cfg.Start == esclient.FromNumber(1) {
				first = 1
			}
			assert.Equal(t, numbers(first, 5), consume(t, messages, 6-first))
			write(fresh, 10, 12)
			addr.Store(fresh.Addr())
			old.Close()
			if cfg.Mode == eventstore.ModeCatchUp && !cfg.StartOver {
				closes(t, messages)
				return
			}
			assert.Equal(t, numbers(10, 12), consume(t, messages, 3))
			write(fresh, 13, 20)
			assert.Equal(t, numbers(13, 20), consume(t, messages, 8))
		})
	}
}

// TestAStuckHandlerHoldsFewBytes publishes large messages while a handler hangs.
func TestAStuckHandlerHoldsFewBytes(t *testing.T) {
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	const total, size, limit = 400, 256 << 10, 4 << 20
	for mode, cfg := range modes {
		if cfg.ConsumerGroup != "" {
			continue
		}
		t.Run(mode, func(t *testing.T) {
			srv := embedded(t)
			client, err := esclient.Open(srv.ConnectionString())
			require.NoError(t, err)
			defer client.Close()
			cfg.Client, cfg.BufferBytes = client, limit
			messages := subscribe(t, newSubscriber(t, cfg), "topic")
			data := make([]byte, size)
			before := heap()
			for range total {
				_, err := srv.Append("topic", estest.Event{Type: "t", Data: data})
				require.NoError(t, err)
			}
			receive(t, messages)
			_, err = client.Ping(t.Context()) // its reply comes behind the pushes
			require.NoError(t, err)
			assert.Less(t, heap()-before-total*size, 10*limit, "beside the server's log, its buffers included")
		})
	}
}
