package esclient_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
	"github.com/watermill-eventstore/watermill-eventstore/internal/undertest"
)

// TestATombstoneEndsSubscriptions deletes a stream for good while subscriptions wait for its events, while they read,
// and while they are away.
func TestATombstoneEndsSubscriptions(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		for _, login := range []string{"admin", "plain"} {
			for kind, k := range wentBackKinds {
				if k.all {
					continue
				}
				for when, tombstone := range map[string]func(t *testing.T, srv *estest.Server, c *esclient.Client){
					"while it waits": func(t *testing.T, _ *estest.Server, c *esclient.Client) {
						bury(t, c)
					},
					"while it is away": func(t *testing.T, srv *estest.Server, c *esclient.Client) {
						away := srv.Intercept(esproto.CmdSubscribeToStream, estest.NotReady())
						srv.DropConnections()
						bury(t, c)
						away.Remove()
					},
				} {
					t.Run(fmt.Sprintf("%s/%s/%s/%s", persona, login, kind, when), func(t *testing.T) {
						t.Parallel()
						srv, writer := embedded(t, estest.WithPersona(persona), estest.WithUser("plain", "changeit"))
						putNamed(t, srv, "s", "e", 0, 4)
						s := newStand(t, srv, login)
						sub := s.subscribe(t, false, k.live, k.gaps, k.over)
						got := consumeAll(t, sub, "s")
						<-sub.CaughtUp()
						putNamed(t, srv, "s", "e", 5, 9)
						first := 5
						if !k.live {
							first = 0
						}
						got.is(t, named("e", first, 9))
						tombstone(t, srv, writer)
						<-got.done
						assert.ErrorIs(t, got.err, esclient.ErrStreamDeleted)
						assert.ErrorIs(t, sub.Err(), esclient.ErrStreamDeleted)
						assert.Equal(t, named("e", first, 9), got.all(), "the tombstone is no event")
					})
				}
			}
		}
	}
}

func bury(t *testing.T, c *esclient.Client) {
	t.Helper()
	_, err := c.TombstoneStream(testContext(t), "s", esclient.Any)
	require.NoError(t, err)
}

// TestATombstoneWhileACatchUpReads deletes the stream behind the first page: the others are gone.
func TestATombstoneWhileACatchUpReads(t *testing.T) {
	srv, c := embedded(t)
	putNamed(t, srv, "s", "e", 0, 9)
	sub, err := catchUpReady(testContext(t), c, "s", esclient.CatchUpOptions{PageSize: 3})
	require.NoError(t, err)
	bury(t, c)
	got := consumeAll(t, sub, "s")
	<-got.done
	assert.ErrorIs(t, got.err, esclient.ErrStreamDeleted)
	assert.Equal(t, named("e", 0, 2), got.all())
}

// TestATombstoneEndsASubscriberOfAGroup deletes a stream for good before a subscriber of a group connects, and while it
// waits. It can still settle the events that it holds.
func TestATombstoneEndsASubscriberOfAGroup(t *testing.T) {
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		for _, login := range []string{"admin", "plain"} {
			t.Run(fmt.Sprintf("%s/%s", persona, login), func(t *testing.T) {
				srv, admin := embeddedAsAdmin(t, estest.WithPersona(persona), estest.WithUser("plain", "changeit"))
				c := open(t, fmt.Sprintf("tcp://%s:changeit@%s", login, srv.Addr()))
				require.NoError(t, admin.CreatePersistent(testContext(t), "s", "g", fromStart()))
				putNamed(t, srv, "s", "e", 0, 1)
				p := subscribe(t, c, "s", "g", esclient.PersistentOptions{})
				first, err := p.Next(testContext(t))
				require.NoError(t, err)
				second, err := p.Next(testContext(t))
				require.NoError(t, err)
				require.NoError(t, p.Ack(first))
				bury(t, admin)
				_, err = p.Next(testContext(t))
				require.ErrorIs(t, err, esclient.ErrStreamDeleted)
				require.NoError(t, p.Ack(second))
				<-p.Closed()
				assert.ErrorIs(t, p.Err(), esclient.ErrStreamDeleted)

				_, err = c.ConnectPersistent(testContext(t), "s", "g", esclient.PersistentOptions{})
				assert.ErrorIs(t, err, esclient.ErrStreamDeleted)
				eventually(t, func() bool { return srv.Stats().Groups[0].Clients == 0 })
			})
		}
	}
}

// TestATombstoneInAllIsAnEvent has subscriptions to all streams get the tombstone of one as an event, and go on.
func TestATombstoneInAllIsAnEvent(t *testing.T) {
	undertest.AdminOnly(t, "it subscribes to $all")
	for _, persona := range personas {
		for _, filter := range []*esclient.Filter{nil, {StreamPrefixes: []string{"s"}}} {
			if filter != nil && persona != estest.Persona2310 {
				continue
			}
			t.Run(fmt.Sprintf("%s/filtered=%t", persona, filter != nil), func(t *testing.T) {
				srv, c := embedded(t, estest.WithPersona(persona))
				ctx := testContext(t)
				putNamed(t, srv, "s", "e", 0, 0)
				live, err := c.SubscribeVolatile(ctx, esclient.AllStream, esclient.VolatileOptions{Filter: filter})
				require.NoError(t, err)
				catchUp, err := c.SubscribeCatchUp(ctx, esclient.AllStream, esclient.CatchUpOptions{Filter: filter})
				require.NoError(t, err)
				bury(t, c)
				putNamed(t, srv, "s2", "e", 0, 0)
				for _, sub := range []*esclient.Subscription{live, catchUp} {
					tombstone := nextOf(t, sub, "s", func(e *esclient.Event) bool {
						return e.Type == "$streamDeleted"
					})
					assert.Equal(t, esproto.DeletedStream, tombstone.Number)
					assert.Empty(t, tombstone.Data)
					nextOf(t, sub, "s2", func(*esclient.Event) bool { return true })
				}
			})
		}
	}
}

// nextOf returns the next event of a stream that is as wanted.
func nextOf(
	t *testing.T, sub *esclient.Subscription, stream string, wanted func(*esclient.Event) bool,
) *esclient.Event {
	t.Helper()
	for {
		e, err := sub.Next(testContext(t))
		require.NoError(t, err)
		if e.Stream == stream && wanted(e) {
			return e
		}
	}
}
