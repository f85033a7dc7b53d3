package esclient_test

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// dialTo connects to addr, for any address.
func dialTo(addr *atomic.Value) func(ctx context.Context, network, _ string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr.Load().(string))
	}
}

// TestVolatileSubscriptionsLeaveAFollower connects to a follower, which redirects writers. A subscription that moves
// then must not lose events.
func TestVolatileSubscriptionsLeaveAFollower(t *testing.T) {
	t.Parallel()
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		for _, gaps := range []bool{false, true} {
			for _, login := range []string{"admin", "plain"} {
				t.Run(fmt.Sprintf("%s/%s/gaps %v", persona, login, gaps), func(t *testing.T) {
					t.Parallel()
					cluster := runCluster(t, estest.WithPersona(persona), estest.WithUser("plain", "changeit"))
					leader := cluster.Leader()
					follower := cluster.Node((leader + 1) % cluster.Size())
					at := cluster.Node(leader).Addr()
					url := fmt.Sprintf("tcp://%s:changeit@%s", login, follower.Addr())
					c, route := openClient(t, url, nil)
					for round := range 3 {
						stream := name("s")
						s, err := c.SubscribeVolatile(testContext(t), stream, esclient.VolatileOptions{FillGaps: gaps})
						require.NoError(t, err)
						if route.ends(t, at); round == 0 {
							route.is(t, follower.Addr(), at)
						}
						appendNumbered(t, c, stream, 0, 4)
						assert.Equal(t, words(0, 4), take(t, s.Next, 5))

						waitUntil(t, s.Next, s.CaughtUp())
						behind := s.FellBehind()
						cluster.Node(leader).DropConnections() // the client comes back to the follower
						waitUntil(t, s.Next, behind)
						waitUntil(t, s.Next, s.CaughtUp())
						route.ends(t, follower.Addr(), at)
						appendNumbered(t, c, stream, 5, 9)
						assert.Equal(t, words(5, 9), take(t, s.Next, 5))
						s.Stop()
					}
				})
			}
		}
	}
}

// TestSubscriptionsStayOnAFollowerIfAllowed subscribes on any node, and makes that node lag behind.
func TestSubscriptionsStayOnAFollowerIfAllowed(t *testing.T) {
	t.Parallel()
	cluster := runCluster(t)
	leader := cluster.Leader()
	others := []int{(leader + 1) % 3, (leader + 2) % 3}
	writer, _ := openClient(t, cluster.Node(leader).ConnectionString(), nil)
	stream := appendNew(t, writer)
	for what, subscribe := range map[string]func(*esclient.Client) (*esclient.Subscription, error){
		"volatile": func(c *esclient.Client) (*esclient.Subscription, error) {
			return c.SubscribeVolatile(testContext(t), stream, esclient.VolatileOptions{FillGaps: true})
		},
		"catch-up": func(c *esclient.Client) (*esclient.Subscription, error) {
			return c.SubscribeCatchUp(testContext(t), stream, esclient.CatchUpOptions{Start: esclient.FromEnd()})
		},
		"$all": func(c *esclient.Client) (*esclient.Subscription, error) {
			return c.SubscribeCatchUp(testContext(t), esclient.AllStream,
				esclient.CatchUpOptions{Start: esclient.FromEnd()})
		},
	} {
		t.Run(what, func(t *testing.T) {
			at := cluster.Node(others[0]).Addr()
			var addr atomic.Value
			addr.Store(at)
			c, route := openClient(t, "tcp://admin:changeit@"+at, func(cfg *esclient.Config) {
				cfg.AllowFollower = true
				cfg.Dial = dialTo(&addr)
			})
			s, err := subscribe(c)
			require.NoError(t, err)
			defer s.Stop()
			route.is(t, at)
			next := of(stream, s.Next)
			last := countEvents(t, writer, stream)
			appendNumbered(t, writer, stream, last, last+4)
			assert.Equal(t, words(last, last+4), take(t, next, 5))

			// The node that it comes to next has not heard of an event that it knows.
			cluster.Partition(others[1])
			appendNumbered(t, writer, stream, last+5, last+5)
			assert.Equal(t, words(last+5, last+5), take(t, next, 1))
			addr.Store(cluster.Node(others[1]).Addr())
			waitUntil(t, next, s.CaughtUp())
			behind := s.FellBehind()
			cluster.Node(others[0]).DropConnections()
			waitUntil(t, next, behind)
			ctx, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
			defer cancel()
			_, err = next(ctx)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			cluster.Heal()
			appendNumbered(t, writer, stream, last+6, last+8)
			assert.Equal(t, words(last+6, last+8), take(t, next, 3))
			assert.NoError(t, s.Err())
		})
	}
}
