package esclient_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
)

// confirmedVolatile confirms a volatile subscription and pushes an event, if there is one. Then it answers where the
// client looks for the event that it knows of the stream: there is none yet, or it is there.
func (s *script) confirmedVolatile(event, known []byte) *request {
	s.t.Helper()
	q := s.next(esproto.CmdSubscribeToStream)
	q.reply(esproto.CmdSubscriptionConfirmation, []byte{8, 0})
	if event != nil {
		q.reply(esproto.CmdStreamEventAppeared, event)
	}
	if known == nil {
		s.next(esproto.CmdReadStreamEventsBackward).reply(esproto.CmdReadStreamEventsBackwardCompleted, noStream)
		return q
	}
	s.next(esproto.CmdReadStreamEventsForward).reply(esproto.CmdReadStreamEventsForwardCompleted,
		append(esproto.AppendIndexedEvent(nil, 1, known, nil), streamGoesOn...))
	return q
}

// The ends of replies to the read of a stream: of one that does not exist, and behind a page.
var (
	noStream     = []byte{2 << 3, 1, 3 << 3, 0, 4 << 3, 0, 5 << 3, 1, 6 << 3, 0}
	streamGoesOn = []byte{2 << 3, 0, 3 << 3, 100, 4 << 3, 99, 5 << 3, 1, 6 << 3, 0}
)

// subscribed returns a subscription of either kind that a scripted server has confirmed.
func (s *script) subscribed(
	c *esclient.Client, persistent bool,
) (q *request, next func(context.Context) (*esclient.Event, error)) {
	s.t.Helper()
	confirmed := make(chan *request, 1)
	if persistent {
		go func() { confirmed <- s.confirmed(0) }()
		p, err := c.ConnectPersistent(testContext(s.t), "orders", "g", esclient.PersistentOptions{})
		require.NoError(s.t, err)
		return <-confirmed, p.Next
	}
	go func() { confirmed <- s.confirmedVolatile(nil, nil) }()
	v, err := c.SubscribeVolatile(testContext(s.t), "orders", esclient.VolatileOptions{})
	require.NoError(s.t, err)
	s.t.Cleanup(v.Stop)
	return <-confirmed, v.Next
}

func TestFramesThatEndASubscription(t *testing.T) {
	for what, tc := range map[string]struct {
		volatile, persistent esproto.Command
		payload              []byte
		is                   error
		says                 string
	}{
		"an unreadable event": {
			esproto.CmdStreamEventAppeared, esproto.CmdPersistentSubscriptionStreamEventAppeared, []byte{0xff},
			nil, "unreadable",
		},
		"a reply of another kind": {esproto.CmdPong, esproto.CmdPong, nil, nil, "Pong"},
		"access denied": {
			esproto.CmdSubscriptionDropped, esproto.CmdSubscriptionDropped, []byte{8, 1},
			esclient.ErrAccessDenied, "access denied",
		},
		"read-only replica": {
			esproto.CmdNotHandled, esproto.CmdNotHandled, []byte{8, 3},
			esclient.ErrNotSupported, "read-only",
		},
		"bad request": {
			esproto.CmdBadRequest, esproto.CmdBadRequest, []byte("no sense"), nil, "no sense",
		},
	} {
		for _, persistent := range []bool{false, true} {
			s := newScript(t)
			q, next := s.subscribed(s.client(nil), persistent)
			cmd := tc.volatile
			if persistent {
				cmd = tc.persistent
			}
			q.reply(cmd, tc.payload)
			_, err := next(testContext(t))
			require.Error(t, err, what)
			assert.ErrorContains(t, err, tc.says, what)
			if tc.is != nil {
				assert.ErrorIs(t, err, tc.is, what)
			}
			if cmd == tc.persistent && what == "an unreadable event" {
				assert.Equal(t, q.id, s.next(esproto.CmdUnsubscribeFromStream).id, "the server need push no more")
			}
			_, again := next(testContext(t))
			assert.Equal(t, err, again, "%s: the end is final", what)
		}
	}
}

func TestFramesAfterWhichASubscriptionGoesOn(t *testing.T) {
	for what, payload := range map[string][]byte{
		"dropped without a reason":         nil,
		"dropped for an unreadable reason": {0xff},
		"dropped for an unknown reason":    {8, 99},
	} {
		for _, persistent := range []bool{false, true} {
			s := newScript(t)
			c := s.client(nil)
			q, next := s.subscribed(c, persistent)
			q.reply(esproto.CmdSubscriptionDropped, payload)
			cmd := esproto.CmdSubscribeToStream
			if persistent {
				cmd = esproto.CmdConnectToPersistentSubscription
			}
			done := make(chan error, 1)
			go func() { _, err := next(testContext(t)); done <- err }()
			assert.NotEqual(t, q.id, s.next(cmd).id, "%s: it subscribes anew", what)
			require.NoError(t, c.Close())
			assert.ErrorIs(t, <-done, esclient.ErrClosed)
		}
	}
}

// TestANackIsRepeatedToo loses the connection before the server has read a nack.
func TestANackIsRepeatedToo(t *testing.T) {
	srv, c := embedded(t)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 1)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	e, err := p.Next(ctx)
	require.NoError(t, err)
	srv.Pause()
	require.NoError(t, p.Nack(esclient.NackPark, "no good", e))
	srv.DropConnections()
	srv.Resume()
	assert.Equal(t, words(1, 1), consume(t, p, 1))
	eventually(t, func() bool { return len(readParked(t, c, stream, group)) == 1 })
}

// TestALostPlaceIsTakenAgain loses the connection of a group's only subscriber: the server may still hold the place.
func TestALostPlaceIsTakenAgain(t *testing.T) {
	s := newScript(t)
	q, next := s.subscribed(s.client(nil), true)
	q.cut()
	for range 3 {
		s.next(esproto.CmdConnectToPersistentSubscription).reply(esproto.CmdSubscriptionDropped, []byte{8, 4})
	}
	s.confirmed(1)
	e, err := next(testContext(t))
	require.NoError(t, err)
	assert.Equal(t, "orders", e.Stream)
}

// TestASubscriberGoesOnIfItsGroupMayHaveBeenCreated loses the connection at each request that creates the group again.
func TestASubscriberGoesOnIfItsGroupMayHaveBeenCreated(t *testing.T) {
	s := newScript(t)
	c := s.client(func(cfg *esclient.Config) { cfg.MaxRetries = 1 })
	settings := esclient.DefaultPersistentSettings()
	confirmed := make(chan *request, 1)
	go func() { confirmed <- s.confirmed(0) }()
	p, err := c.ConnectPersistent(testContext(t), "orders", "g", esclient.PersistentOptions{Recreate: &settings})
	require.NoError(t, err)
	(<-confirmed).cut()
	s.next(esproto.CmdConnectToPersistentSubscription).reply(esproto.CmdSubscriptionDropped, []byte{8, 2})
	for range 2 {
		s.next(esproto.CmdCreatePersistentSubscription).cut()
	}
	s.confirmed(1)
	e, err := p.Next(testContext(t))
	require.NoError(t, err)
	assert.Equal(t, "orders", e.Stream)
}
