package estest_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// await waits until the projections of a server have caught up.
func await(t testing.TB, s *estest.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, s.WaitForProjections(ctx))
}

// linksOf waits for the projections and returns the data of the links in a stream.
func linksOf(t testing.TB, s *estest.Server, stream string) []string {
	t.Helper()
	await(t, s)
	events, err := s.Read(stream, 0, 0)
	require.NoError(t, err)
	for _, e := range events {
		assert.Equal(t, "$>", e.Type)
		assert.False(t, e.JSON)
	}
	return texts(events)
}

func appendTo(t testing.TB, s *estest.Server, stream string, types ...string) {
	t.Helper()
	for _, typ := range types {
		_, err := s.Append(stream, estest.Event{Type: typ, Data: []byte(typ)})
		require.NoError(t, err)
	}
}

func TestProjectionsLinkToEvents(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	appendTo(t, s, "order-1-a", "Placed", "Paid")
	appendTo(t, s, "order-2", "Placed")
	appendTo(t, s, "nocategory", "Placed")
	appendTo(t, s, "-odd", "Odd")
	_, err := s.Append("order-3", estest.Event{Type: "$>", Data: []byte("0@nocategory")})
	require.NoError(t, err)

	assert.Equal(t, []string{"0@order-1-a", "1@order-1-a", "0@order-2", "0@nocategory"}, linksOf(t, s, "$ce-order"))
	assert.Equal(t, []string{"0@order-1-a", "0@order-2", "0@nocategory"}, linksOf(t, s, "$et-Placed"))
	assert.Equal(t, []string{"0@order-1-a", "0@order-2", "0@nocategory", "0@-odd", "0@order-3"},
		linksOf(t, s, "$streams"), "the server's own streams are left out")
	events, err := s.Read("$category-order", 0, 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"order-1-a", "order-2", "order-3"}, texts(events))
	assert.Equal(t, "$@", events[0].Type)
	for _, stream := range []string{"$ce-", "$ce-nocategory", "$et-$>"} {
		_, err := s.Read(stream, 0, 0)
		assert.ErrorIs(t, err, estest.ErrNoStream, stream)
	}

	links, err := s.Read("$ce-order", 0, 1)
	require.NoError(t, err)
	placed, err := s.Read("order-1-a", 0, 1)
	require.NoError(t, err)
	var metadata map[string]any
	require.NoError(t, json.Unmarshal(links[0].Metadata, &metadata))
	assert.Equal(t, map[string]any{"$v": "3:-1:1:3", "$c": float64(placed[0].Commit), "$p": float64(placed[0].Prepare),
		"$o": "order-1-a", "$causedBy": placed[0].ID.String()}, metadata)
}

// What a topic of a whole category rests on: reading, and a group, resolve the links.
func TestACategoryIsReadAndSubscribedTo(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	p := connectAs(t, s, admin)
	p.mustAppend(nil, "order-1", newEvent("Placed", "a"))
	await(t, s)
	p.createGroupOf("$ce-order", "g", true)
	sub := p.join("$ce-order", "g")
	assert.Equal(t, "a", string(p.delivered(sub).GetEvent().GetEvent().GetData()))
	appendTo(t, s, "order-2", "Paid")
	second := p.delivered(sub).GetEvent()
	assert.Equal(t, "Paid", string(second.GetEvent().GetData()))
	assert.Equal(t, "$ce-order", second.GetLink().GetEventStreamId())
	assert.Equal(t, int64(1), second.GetLink().GetEventNumber())
}

func TestDeletesInProjections(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	p := connect(t, s)
	appendTo(t, s, "order-1", "Placed")
	appendTo(t, s, "order-2", "Placed")
	p.delete("order-1", false)
	p.delete("order-2", true)
	assert.Equal(t, []string{"0@order-1", "0@order-2", "0@$$order-1", "9223372036854775807@order-2"},
		linksOf(t, s, "$ce-order"))
	assert.Equal(t, []string{"0@order-1", "9223372036854775807@order-2"}, linksOf(t, s, "$et-$deleted"))
	page := p.read(admin, "$ce-order", 0, 10, true)
	require.Len(t, page.GetEvents(), 4)
	for _, e := range page.GetEvents() {
		assert.NotNil(t, e.GetLink())
	}
	assert.Nil(t, page.GetEvents()[1].GetEvent(), "its target is gone")
}

func TestProjectionsAreOffAtFirst(t *testing.T) {
	s := estest.Run(t)
	appendTo(t, s, "order-1", "Placed")
	for _, info := range s.Streams() {
		assert.NotContains(t, []string{"$ce-order", "$et-Placed", "$streams", "$category-order"}, info.Name)
	}
}

func TestEveryUserMayReadTheStreamsOfProjections(t *testing.T) {
	for _, version := range personas {
		s := estest.Run(t, estest.WithProjections(), estest.WithPersona(version), estest.WithUser("plain", "secret"))
		p := connectAs(t, s, plain)
		denied, granted := esproto.ReadStreamEventsCompleted_AccessDenied, esproto.ReadStreamEventsCompleted_Success
		assert.Equal(t, denied, p.read(nil, "$ce-order", 0, 10, true).GetResult(), "there is no link yet")
		appendTo(t, s, "order-1", "Placed", "Paid")
		await(t, s)
		for _, stream := range []string{"$ce-order", "$et-Placed", "$streams", "$category-order"} {
			page := p.read(nil, stream, 0, 10, false)
			assert.Equal(t, granted, page.GetResult(), stream)
			assert.NotEmpty(t, page.GetEvents())
			metadata, err := s.Read("$$"+stream, 0, 0)
			require.NoError(t, err)
			assert.Equal(t, []string{`{"$acl":{"$r":"$all","$mr":"$all"}}`}, texts(metadata))
			assert.Zero(t, metadata[0].Number, "written once")
		}
		assert.Equal(t, "Placed", string(p.read(nil, "$ce-order", 0, 1, true).GetEvents()[0].GetEvent().GetData()))
		refused := p.append(nil, "$ce-order", esproto.ExpectAny, newEvent("e", ""))
		assert.Equal(t, esproto.OperationResult_AccessDenied, refused.GetResult(), "reading is all")
	}
}

// Projections that start later write links for earlier events, each link once.
func TestProjectionsCatchUp(t *testing.T) {
	first := estest.Run(t)
	appendTo(t, first, "order-1", "Placed", "Paid")
	second := estest.Run(t, estest.WithSnapshot(first.Snapshot()), estest.WithProjections())
	assert.Equal(t, []string{"0@order-1", "1@order-1"}, linksOf(t, second, "$ce-order"))
	appendTo(t, second, "order-1", "Sent")
	third := estest.Run(t, estest.WithSnapshot(second.Snapshot()), estest.WithProjections())
	for stream, links := range map[string]int{"$ce-order": 3, "$et-Placed": 1, "$et-Sent": 1, "$streams": 1} {
		assert.Len(t, linksOf(t, third, stream), links, stream)
	}

	var info struct{ ProjectionsMode string }
	getJSON(t, third.HTTPURL()+"/info", &info)
	assert.Equal(t, "System", info.ProjectionsMode)
}

// Only the leader of a cluster runs projections; the followers replicate its links.
func TestProjectionsOfACluster(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithProjections())
	appendTo(t, c.Node(0), "order-1", "Placed")
	for n := range 3 {
		assert.Equal(t, []string{"0@order-1"}, linksOf(t, c.Node(n), "$ce-order"))
	}
	require.NoError(t, c.Elect(1))
	appendTo(t, c.Node(1), "order-1", "Paid")
	for n := range 3 {
		assert.Equal(t, []string{"0@order-1", "1@order-1"}, linksOf(t, c.Node(n), "$ce-order"))
	}
}
