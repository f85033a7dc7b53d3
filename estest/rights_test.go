package estest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

var plain = &esproto.Credentials{Login: "plain", Password: "secret"}

// slowRights is a server on which the rights of plain are found half a second later at the soonest.
func slowRights(t testing.TB, version estest.Persona) (*estest.Server, *estest.Clock) {
	t.Helper()
	clock := estest.NewClock(time.Time{})
	return estest.Run(t, estest.WithPersona(version), estest.WithClock(clock), estest.WithUser("plain", "secret"),
		estest.WithAsyncRights(time.Second)), clock
}

func TestUnsubscribeOvertakesALookupOfRights(t *testing.T) {
	for _, version := range personas {
		s, clock := slowRights(t, version)
		connect(t, s).createGroup("s", "g")
		p := connectAs(t, s, plain)
		for _, m := range []struct {
			cmd, confirmed esproto.Command
			request        proto.Message
		}{
			{esproto.CmdSubscribeToStream, esproto.CmdSubscriptionConfirmation,
				&esproto.SubscribeToStream{EventStreamId: proto.String("s"), ResolveLinkTos: proto.Bool(false)}},
			{esproto.CmdConnectToPersistentSubscription, esproto.CmdPersistentSubscriptionConfirmation,
				&esproto.ConnectToPersistentSubscription{SubscriptionId: proto.String("g"),
					EventStreamId: proto.String("s"), AllowedInFlightMessages: proto.Int32(10)}},
		} {
			id := p.send(m.cmd, nil, m.request)
			unsubscribe := frameOf(t, esproto.CmdUnsubscribeFromStream, id, nil, nil)
			p.write(unsubscribe)
			pings(t, p) // the server has dealt with both
			clock.Advance(time.Second)
			require.Equal(t, m.confirmed, p.answer(id).cmd, "it stays")
			p.write(unsubscribe)
			assert.Equal(t, esproto.CmdSubscriptionDropped, p.answer(id).cmd)
		}
		stats := s.Stats()
		assert.Zero(t, stats.Subscriptions)
		assert.Zero(t, stats.Groups[0].Clients)
	}
}

func TestRightsThatAreLookedUpReorderAnswers(t *testing.T) {
	s, clock := slowRights(t, estest.Persona2310)
	p := connectAs(t, s, plain)
	read := &esproto.ReadStreamEvents{EventStreamId: proto.String("s"), FromEventNumber: proto.Int64(0),
		MaxCount: proto.Int32(1), ResolveLinkTos: proto.Bool(false), RequireLeader: proto.Bool(false)}
	first := p.send(esproto.CmdReadStreamEventsForward, nil, read)
	p.answer(p.send(esproto.CmdReadStreamEventsForward, admin, read))
	clock.Advance(time.Second)
	p.answer(first)

	gone := connectAs(t, s, plain)
	gone.send(esproto.CmdReadStreamEventsForward, nil, read)
	pings(t, gone)
	s.DropConnections()
	clock.Advance(time.Second)
}

// A process that has taken an append looks up the rights, whether anybody waits for the answer or not.
func TestAnAppendOfALostConnectionTakesPlace(t *testing.T) {
	for _, version := range personas {
		t.Run(string(version), func(t *testing.T) {
			s, clock := slowRights(t, version)
			p := connectAs(t, s, plain)
			p.send(esproto.CmdWriteEvents, nil, &esproto.WriteEvents{
				EventStreamId: proto.String("s"), ExpectedVersion: proto.Int64(esproto.ExpectAny),
				Events: []*esproto.NewEvent{newEvent("t", "")}, RequireLeader: proto.Bool(false),
			})
			pings(t, p)
			s.DropConnections()
			_, err := s.Read("s", 0, 10)
			require.Error(t, err, "there is no stream yet")
			clock.Advance(time.Second)
			require.Eventually(t, func() bool {
				events, err := s.Read("s", 0, 10)
				return err == nil && len(events) == 1
			}, 10*time.Second, time.Millisecond)
		})
	}
}
