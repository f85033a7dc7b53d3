package esclient_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// TestManyGroupsOverACrash has the subscribers of many groups look at the server's configuration, which has all of
// them, at the same time. If each read it by itself the answers would come too late to tell that the groups are the
// same, and acked events would be handed out again.
func TestManyGroupsOverACrash(t *testing.T) {
	t.Parallel()
	const each = 3
	groups := 200
	if testing.Short() {
		groups = 60
	}
	srv, c := embeddedAsAdmin(t)
	ctx, moved := progressContext(t)
	stream := name("s")
	appendNumbered(t, c, stream, 0, each-1)
	subs := make([]*esclient.PersistentSubscription, groups)
	for i := range subs {
		group := fmt.Sprintf("%s-%d", stream, i)
		require.NoError(t, c.CreatePersistent(ctx, stream, group, fromStart()))
		subs[i] = subscribe(t, c, stream, group, esclient.PersistentOptions{})
		consume(t, subs[i], each)
		moved()
	}
	for _, p := range subs { // with nothing left to do they send their acks, and have their group looked at
		nothingSoon(t, p)
		moved()
	}
	require.Eventually(t, func() bool { return srv.Stats().InFlight == 0 }, patience, time.Millisecond)
	_, err := c.Ping(ctx)
	require.NoError(t, err)

	before := srv.Stats().FramesIn[esproto.CmdReadStreamEventsBackward]
	require.NoError(t, srv.Crash())
	_, err = c.Append(ctx, stream, each-1, numbered(each, each)...) // is repeated where its reply is lost
	require.NoError(t, err)
	var wg sync.WaitGroup
	for _, p := range subs {
		wg.Go(func() {
			e, err := p.Next(ctx)
			if assert.NoError(t, err) {
				assert.EqualValues(t, each, e.Number, "acked events do not come again")
				assert.NoError(t, p.Ack(e))
			}
			moved()
		})
	}
	wg.Wait()
	reads := srv.Stats().FramesIn[esproto.CmdReadStreamEventsBackward] - before
	assert.Less(t, reads, int64(groups/2), "they share their reads")
}

// TestIdleSubscribersShareTheirFirstLook has many subscribers without events join their groups, one after the other.
func TestIdleSubscribersShareTheirFirstLook(t *testing.T) {
	t.Parallel()
	const groups = 100
	srv, c := embeddedAsAdmin(t)
	stream := name("s")
	for i := range groups {
		require.NoError(t, c.CreatePersistent(testContext(t), stream, fmt.Sprint(i), fromStart()))
	}
	before, began := srv.Stats().FramesIn, time.Now()
	for i := range groups {
		subscribe(t, c, stream, fmt.Sprint(i), esclient.PersistentOptions{})
	}
	batches := 1 + int64(time.Since(began)/(250*time.Millisecond)) // one in each firstLookDelay: more on a slow machine
	since := func(cmd esproto.Command) int64 { return srv.Stats().FramesIn[cmd] - before[cmd] }
	require.Eventually(t, func() bool {
		return since(esproto.CmdReadEvent) >= groups // the other read of each look
	}, patience, time.Millisecond)
	reads := since(esproto.CmdReadStreamEventsBackward) + since(esproto.CmdReadStreamEventsForward)
	assert.Less(t, reads, max(groups/2, 4*batches), "they share the reads of the configuration")
}

func nothingSoon(t *testing.T, p *esclient.PersistentSubscription) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

// No answer that is shared is older than the question.
func TestSettingsOfAGroupThatWasJustMade(t *testing.T) {
	t.Parallel()
	const groups = 50
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona2310} {
		srv, admin := embeddedAsAdmin(t, estest.WithPersona(persona))
		c := open(t, srv.ConnectionString())
		var wg sync.WaitGroup
		for i := range groups {
			wg.Go(func() {
				ctx, group := testContext(t), fmt.Sprint(i)
				settings := fromStart()
				settings.BufferSize += i
				assert.NoError(t, admin.CreatePersistent(ctx, "s", group, settings))
				got, err := c.GroupSettings(ctx, "s", group)
				assert.NoError(t, err)
				assert.Equal(t, settings, got)
			})
		}
		wg.Wait()
	}
}

func TestACancelledCallerDoesNotEndASharedRead(t *testing.T) {
	t.Parallel()
	srv, c := embeddedAsAdmin(t)
	stream, group := group(t, c, unusual())
	rule := srv.Intercept(esproto.CmdReadStreamEventsBackward, estest.Delay(200*time.Millisecond), estest.Times(1))
	asked, giveUp := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := c.GroupSettings(asked, stream, group)
		assert.ErrorIs(t, err, context.Canceled)
	})
	require.Eventually(t, func() bool { return rule.Hits() > 0 }, patience, time.Millisecond)
	wg.Go(func() {
		got, err := c.GroupSettings(testContext(t), stream, group)
		assert.NoError(t, err)
		assert.Equal(t, unusual(), got)
	})
	giveUp()
	wg.Wait()
}

// The configuration of many groups is large. A client on one connection reads it again only after a change.
func TestSettingsOfManyGroupsTakeOneLargeRead(t *testing.T) {
	t.Parallel()
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			const groups = 100
			srv, admin := embeddedAsAdmin(t, estest.WithPersona(persona))
			ctx, moved := progressContext(t)
			for i := range groups {
				settings := fromStart()
				settings.BufferSize += i
				require.NoError(t, admin.CreatePersistent(ctx, "s", fmt.Sprint(i), settings))
				moved()
			}
			config, err := srv.Read("$persistentSubscriptionConfig", groups-1, 1)
			require.NoError(t, err)
			require.Len(t, config, 1)
			c := open(t, srv.ConnectionString())
			before := srv.Stats().BytesOut
			for i := range groups {
				got, err := c.GroupSettings(ctx, "s", fmt.Sprint(i))
				require.NoError(t, err)
				assert.Equal(t, fromStart().BufferSize+i, got.BufferSize)
				moved()
			}
			assert.Less(t, srv.Stats().BytesOut-before, int64(3*len(config[0].Data)))
		})
	}
}

// What another client changes is seen at once: one change, more changes than the stream keeps events, and the deletion
// of the stream.
func TestSettingsFollowChangesByOtherClients(t *testing.T) {
	t.Parallel()
	for _, persona := range []estest.Persona{estest.Persona414, estest.Persona5011, estest.Persona2310} {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			srv, admin := embeddedAsAdmin(t, estest.WithPersona(persona))
			ctx := testContext(t)
			c := openWith(t, srv.ConnectionString(), func(cfg *esclient.Config) { cfg.HTTPEndpoint = "" })
			settings := fromStart()
			require.NoError(t, admin.CreatePersistent(ctx, "s", "g", settings))
			expect := func() {
				t.Helper()
				got, err := c.GroupSettings(ctx, "s", "g")
				require.NoError(t, err)
				assert.Equal(t, settings, got)
				_, err = c.GroupSettings(ctx, "s", "none")
				require.ErrorIs(t, err, esclient.ErrGroupNotFound)
			}
			expect()
			for _, changes := range []int{0, 1, 2, 3, 20} {
				for range changes {
					settings.BufferSize++
					require.NoError(t, admin.UpdatePersistent(ctx, "s", "g", settings))
				}
				expect()
			}
			require.NoError(t, admin.CreatePersistent(ctx, "s", "other", settings))
			expect()
			require.NoError(t, admin.DeletePersistent(ctx, "s", "g"))
			_, err := c.GroupSettings(ctx, "s", "g")
			require.ErrorIs(t, err, esclient.ErrGroupNotFound)
			_, err = c.GroupSettings(ctx, "s", "other")
			require.NoError(t, err)
			_, err = admin.DeleteStream(ctx, "$persistentSubscriptionConfig", esclient.Any)
			require.NoError(t, err)
			_, err = c.GroupSettings(ctx, "s", "other")
			require.ErrorIs(t, err, esclient.ErrGroupNotFound)
		})
	}
}
