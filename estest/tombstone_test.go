package estest_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"google.golang.org/protobuf/proto"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func isTombstone(t testing.TB, e *esproto.EventRecord) {
	t.Helper()
	assert.Equal(t, "$streamDeleted", e.GetEventType())
	assert.Equal(t, int64(math.MaxInt64), e.GetEventNumber())
	assert.Empty(t, e.GetData())
	assert.Empty(t, e.GetMetadata())
}

func TestATombstoneIsPushed(t *testing.T) {
	for _, version := range personas {
		s := estest.Run(t, estest.WithPersona(version))
		deleter := connectAs(t, s, admin)
		appendTo(t, s, "s", "e")

		one, all, group := connectAs(t, s, admin), connectAs(t, s, admin), connectAs(t, s, admin)
		ofOne, ofAll := one.subscribe("s"), all.subscribe("")
		deleter.createGroup("s", "g")
		consumer := group.join("s", "g")
		group.delivered(consumer)
		deleter.delete("s", true)

		var m esproto.StreamEventAppeared
		one.answer(ofOne).into(t, &m)
		isTombstone(t, m.GetEvent().GetEvent())
		isTombstone(t, group.delivered(consumer).GetEvent().GetEvent())
		for m.GetEvent().GetEvent().GetEventStreamId() != "s" || m.GetEvent().GetEvent().GetEventType() == "e" {
			all.answer(ofAll).into(t, &m)
		}
		isTombstone(t, m.GetEvent().GetEvent())
		for _, p := range []*peer{one, group} {
			pings(t, p) // nothing was dropped
		}
		late := one.send(esproto.CmdSubscribeToStream, nil,
			&esproto.SubscribeToStream{EventStreamId: proto.String("s"), ResolveLinkTos: proto.Bool(false)})
		var confirmed esproto.SubscriptionConfirmation
		one.answer(late).into(t, &confirmed)
		assert.Equal(t, int64(math.MaxInt64), confirmed.GetLastEventNumber())
	}
}
