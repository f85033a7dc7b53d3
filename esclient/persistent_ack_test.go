package esclient_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esclient"
	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// confirmed makes a scripted group accept a subscriber, and pushes n events.
func (s *script) confirmed(n int) *request {
	s.t.Helper()
	q := s.next(esproto.CmdConnectToPersistentSubscription)
	confirmation, err := proto.Marshal(&esproto.PersistentSubscriptionConfirmation{
		SubscriptionId: proto.String("orders::g"),
	})
	require.NoError(s.t, err)
	q.reply(esproto.CmdPersistentSubscriptionConfirmation, confirmation)
	for i := range n {
		id := esproto.NewGUID(uuid.New())
		record := esproto.RecordView{StreamID: "orders", EventNumber: int64(i), EventID: id[:], EventType: "t"}
		q.reply(esproto.CmdPersistentSubscriptionStreamEventAppeared,
			esproto.AppendPersistentEvent(nil, record.Append(nil, esproto.Explicit), nil, 0, esproto.Explicit))
	}
	return q
}

// settled takes frames of a command until n ids have come, and returns how many there were in each.
func (s *script) settled(cmd esproto.Command, subscription *request, n int) (frames []int) {
	s.t.Helper()
	for n > 0 {
		q := s.next(cmd)
		assert.Equal(s.t, subscription.id, q.id, "4.1 goes by the correlation id of the subscription")
		name, ids, err := esproto.DecodeAck(q.payload, nil)
		require.NoError(s.t, err)
		assert.Equal(s.t, "orders::g", name)
		frames = append(frames, len(ids))
		n -= len(ids)
	}
	return frames
}

func TestNoFrameHasMoreIDsThanAServerTakes(t *testing.T) {
	const total = 2*esproto.MaxAckIDs + 500
	for what, tc := range map[string]struct {
		settle func(*esclient.PersistentSubscription, []*esclient.Event) error
		cmd    esproto.Command
	}{
		"ack": {func(p *esclient.PersistentSubscription, events []*esclient.Event) error {
			return p.Ack(events...)
		}, esproto.CmdPersistentSubscriptionAckEvents},
		"nack": {func(p *esclient.PersistentSubscription, events []*esclient.Event) error {
			return p.Nack(esclient.NackSkip, "", events...)
		}, esproto.CmdPersistentSubscriptionNakEvents},
	} {
		t.Run(what, func(t *testing.T) {
			s := newScript(t)
			c := s.client(nil)
			connected := make(chan *esclient.PersistentSubscription, 1)
			go func() {
				p, err := c.ConnectPersistent(testContext(t), "orders", "g",
					esclient.PersistentOptions{InFlight: total})
				assert.NoError(t, err)
				connected <- p
			}()
			subscription := s.confirmed(total)
			p := <-connected
			require.NotNil(t, p)
			var held []*esclient.Event
			for range total {
				e, err := p.Next(testContext(t))
				require.NoError(t, err)
				held = append(held, e)
			}
			require.NoError(t, tc.settle(p, held))
			assert.Equal(t, []int{2000, 2000, 500}, s.settled(tc.cmd, subscription, total))
		})
	}
}

func TestTheReasonOfANackIsKeptInBounds(t *testing.T) {
	c, ctx := connect(t), testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 1)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	for _, reason := range []string{strings.Repeat("x", esclient.MaxNackReason-1) + "é", "broken \xff text"} {
		e, err := p.Next(ctx)
		require.NoError(t, err)
		require.NoError(t, p.Nack(esclient.NackPark, reason, e))
	}
	require.Eventually(t, func() bool {
		return len(parked(t, c, stream, group)) == 2
	}, patience, 5*time.Millisecond)
	var why [2]struct{ Reason string }
	for i, e := range parked(t, c, stream, group) {
		require.NoError(t, e.Link.MetadataJSON(&why[i]))
	}
	assert.True(t, strings.HasSuffix(why[0].Reason, "\n"+strings.Repeat("x", esclient.MaxNackReason-1)),
		"cut between letters")
	assert.Contains(t, why[1].Reason, "broken  text")
}

// TestDrainEndsWithoutAConnection loses the connection when nothing has been handed out yet: what is to be settled then
// goes back to the server by itself. What has been received waits for the look at its group, and is delivered then.
func TestDrainWaitsForTheLookAtTheGroup(t *testing.T) {
	t.Parallel()
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			t.Parallel()
			srv := estest.Run(t, estest.WithPersona(persona))
			c, ctx := open(t, srv.ConnectionString()), testContext(t)
			stream, group := group(t, c, fromStart())
			appendNumbered(t, c, stream, 0, 2)
			srv.Intercept(esproto.CmdReadEvent, estest.Drop(), estest.Times(1))
			p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
			_, err := c.Ping(ctx) // its reply comes behind the events
			require.NoError(t, err)
			p.Drain()
			appendNumbered(t, c, stream, 3, 3) // comes too late
			var events []*esclient.Event
			for e, err := range p.All(ctx) {
				require.NoError(t, err)
				events = append(events, e)
			}
			assert.Len(t, events, 3)
			require.NoError(t, p.Ack(events...))
			<-p.Closed()
			q := subscribe(t, c, stream, group, esclient.PersistentOptions{})
			assert.Equal(t, words(3, 3), consume(t, q, 1))
		})
	}
}

func TestDrainEndsWithoutAConnection(t *testing.T) {
	srv, c := embedded(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 9)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	_, err := c.Ping(testContext(t)) // its reply comes behind the events
	require.NoError(t, err)
	p.Drain()
	require.NoError(t, p.Err(), "the events can still be had")
	srv.DropConnections()
	select {
	case <-p.Closed():
	case <-testContext(t).Done():
		require.Fail(t, "it did not end")
	}
	assert.ErrorIs(t, p.Err(), esclient.ErrSubscriptionStopped)
	q := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	assert.Equal(t, words(0, 9), consume(t, q, 10))
}

// A subscription that drains, and whose events wait for the look at the group, ends its Next where they go back to the
// server with the connection, though the consumer still has an event.
func TestDrainEndsNextWhenWaitingEventsAreLost(t *testing.T) {
	t.Parallel()
	srv, c := embeddedAsAdmin(t)
	ctx := testContext(t)
	stream, group := group(t, c, fromStart())
	appendNumbered(t, c, stream, 0, 3)
	p := subscribe(t, c, stream, group, esclient.PersistentOptions{})
	e, err := p.Next(ctx)
	require.NoError(t, err)
	for _, cmd := range []esproto.Command{
		esproto.CmdReadEvent, esproto.CmdReadStreamEventsForward, esproto.CmdReadStreamEventsBackward,
	} {
		srv.Intercept(cmd, estest.Drop())
	}
	srv.DropConnections()
	eventually(t, func() bool {
		g := srv.Stats().Groups[0]
		return g.Clients == 1 && g.InFlight == 4
	})
	_, err = c.Ping(ctx) // its reply comes behind the events
	require.NoError(t, err)
	p.Drain()
	ended := make(chan error, 1)
	go func() {
		_, err := p.Next(ctx)
		ended <- err
	}()
	require.NoError(t, srv.Close())
	assert.ErrorIs(t, <-ended, esclient.ErrSubscriptionStopped)
	assert.NoError(t, p.Ack(e))
}
