package eventstore_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventstore "github.com/watermill-eventstore/watermill-eventstore"
	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestOneInFlightGivesUpOnlyTheKillerMessage(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			srv := embedded(t, estest.WithPersona(persona))
			admin := openClient(t, srv.ConnectionString())
			pub := newPublisher(t, eventstore.PublisherConfig{Client: admin})
			require.NoError(t, pub.Publish("topic", newMessage("poison"), newMessage("a"), newMessage("b")))
			settings := eventstore.DefaultGroupSettings()
			settings.MaxRetryCount = 3
			consumer := func() (messages <-chan *message.Message, kill func()) {
				c, kill := mortalClient(t, srv.ConnectionString())
				return subscribe(t, newSubscriber(t, eventstore.SubscriberConfig{
					Client: c, ConsumerGroup: "g", GroupSettings: &settings, InFlight: 1,
				}), "topic"), kill
			}
			for range 1 + settings.MaxRetryCount {
				messages, kill := consumer()
				assert.Equal(t, "poison", string(receive(t, messages).Payload))
				kill()
				require.Eventually(t, func() bool {
					return srv.Stats().Groups[0].Clients == 0
				}, patience, time.Millisecond)
			}
			messages, _ := consumer()
			if persona != estest.Persona2310 { // a lost consumer is no retry there
				assert.Equal(t, "poison", string(receive(t, messages).Payload))
				return
			}
			assert.Equal(t, []string{"a", "b"}, consume(t, messages, 2))
			parked := parkedEvents(t, admin, "topic", 1)
			require.Len(t, parked, 1)
		})
	}
}

// mortalClient returns a client and kill, which ends its connections and prevents new ones, like the end of its
// process.
func mortalClient(t testing.TB, url string) (c *esclient.Client, kill func()) {
	t.Helper()
	cfg, err := esclient.ParseConnectionString(url)
	require.NoError(t, err)
	var mu sync.Mutex
	var conns []net.Conn
	dead := false
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if dead {
			return nil, net.ErrClosed
		}
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err == nil {
			conns = append(conns, nc)
		}
		return nc, err
	}
	c, err = esclient.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c, func() {
		mu.Lock()
		defer mu.Unlock()
		dead = true
		for _, nc := range conns {
			_ = nc.Close()
		}
	}
}
