package estest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// standardProjections are the names of those of a version, in the order of their ids.
func standardProjections(version estest.Persona) []string {
	names := []string{"$streams", "$stream_by_category", "$by_category", "$by_event_type"}
	if version != estest.Persona414 {
		names = append(names, "$by_correlation_id")
	}
	return names
}

// Readers of $all see the events of projections about themselves.
func TestReadersOfAllSeeTheStateOfProjections(t *testing.T) {
	for _, version := range personas {
		t.Run(string(version), func(t *testing.T) {
			s := estest.Run(t, estest.WithProjections(), estest.WithPersona(version))
			names := standardProjections(version)
			registered, err := s.Read("$projections-$all", 0, 0)
			require.NoError(t, err)
			assert.Equal(t, append([]string{""}, names...), texts(registered))
			assert.Equal(t, "$ProjectionsInitialized", registered[0].Type)
			for _, e := range registered[1:] {
				assert.Equal(t, "$ProjectionCreated", e.Type)
				assert.False(t, e.JSON)
			}
			for _, name := range names {
				states, err := s.Read("$projections-"+name, 0, 0)
				require.NoError(t, err)
				require.Len(t, states, 2, "created, then enabled")
				var state struct {
					HandlerType, Mode          string
					Enabled                    bool
					Epoch, Version             int
					CheckpointHandledThreshold int
				}
				for i, e := range states {
					assert.Equal(t, "$ProjectionUpdated", e.Type)
					assert.True(t, e.JSON)
					require.NoError(t, json.Unmarshal(e.Data, &state))
					assert.Equal(t, i == 1, state.Enabled)
					assert.Equal(t, i, state.Version)
				}
				assert.True(t, strings.HasPrefix(state.HandlerType, "native:EventStore.Projections.Core.Standard."))
				assert.Equal(t, "Continuous", state.Mode)
				assert.Equal(t, -1, state.Epoch)
				assert.Equal(t, 4000, state.CheckpointHandledThreshold)
			}
		})
	}
}

func TestProjectionsOfCorrelations(t *testing.T) {
	for version, links := range map[estest.Persona][]string{
		estest.Persona414: nil, estest.Persona5011: {"0@order-1", "7@elsewhere"}, estest.Persona2310: {"0@order-1"},
	} {
		t.Run(string(version), func(t *testing.T) {
			s := estest.Run(t, estest.WithProjections(), estest.WithPersona(version))
			metadata := []byte(`{"$correlationId":"abc","own":1}`)
			_, err := s.Append("order-1",
				estest.Event{Type: "Placed", JSON: true, Data: []byte(`{}`), Metadata: metadata},
				estest.Event{Type: "Paid", Metadata: []byte(`{"$correlationId":null}`)},
				estest.Event{Type: "Sent", Metadata: []byte(`not JSON, but it names $correlationId`)})
			require.NoError(t, err)
			_, err = s.Append("links", estest.Event{Type: "$>", Data: []byte("7@elsewhere"), Metadata: metadata})
			require.NoError(t, err)
			await(t, s)
			category, err := s.Read("$ce-order", 0, 0)
			require.NoError(t, err)
			var m map[string]any
			require.NoError(t, json.Unmarshal(category[0].Metadata, &m))
			assert.Equal(t, "abc", m["$correlationId"], "the link has the correlation of its target")

			if links == nil {
				_, err := s.Read("$bc-abc", 0, 0)
				assert.ErrorIs(t, err, estest.ErrNoStream)
				return
			}
			assert.Equal(t, links, linksOf(t, s, "$bc-abc"))
			correlated, err := s.Read("$bc-abc", 0, 0)
			require.NoError(t, err)
			assert.Equal(t, []string{"$c", "$causedBy", "$correlationId", "$eventTimestamp", "$p", "$v"},
				keys(t, correlated[0].Metadata))
			if len(correlated) > 1 {
				assert.Contains(t, keys(t, correlated[1].Metadata), "$link")
			}
		})
	}
}

// From 20.6 on projections ignore events that are marked as JSON but are not valid JSON.
func TestProjectionsAndWrongJSON(t *testing.T) {
	for version, links := range map[estest.Persona][]string{
		estest.Persona414:  {"0@order-1", "1@order-1", "2@order-1"},
		estest.Persona5011: {"0@order-1", "1@order-1", "2@order-1"},
		estest.Persona2310: {"1@order-1", "2@order-1"},
	} {
		s := estest.Run(t, estest.WithProjections(), estest.WithPersona(version))
		_, err := s.Append("order-1", estest.Event{Type: "e", JSON: true, Data: []byte("{")},
			estest.Event{Type: "e", JSON: true, Data: []byte("{}")}, estest.Event{Type: "e", Data: []byte("{")})
		require.NoError(t, err)
		assert.Equal(t, links, linksOf(t, s, "$ce-order"), version)
	}
}

// The index by event type takes the metadata of a stream for an event of the stream itself, as servers do.
func TestProjectionsOfMetadata(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	appendTo(t, s, "order-1", "Placed")
	_, err := s.Append("$$order-1", estest.Event{Type: "$metadata", JSON: true, Data: []byte(`{"$maxCount":5}`)})
	require.NoError(t, err)
	assert.Equal(t, []string{"0@order-1"}, linksOf(t, s, "$et-$metadata"))
	assert.Equal(t, []string{"0@order-1", "0@$$order-1"}, linksOf(t, s, "$streams"))
	assert.Equal(t, []string{"0@order-1"}, linksOf(t, s, "$ce-order"))
}

// What an administrator sets for a stream of links stays, and holds for the links that follow.
func TestMaxCountOfLinks(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	appendTo(t, s, "order-1", "a")
	await(t, s)
	_, err := s.Append("$$$ce-order", estest.Event{Type: "$metadata", JSON: true, Data: []byte(`{"$maxCount":2}`)})
	require.NoError(t, err)
	appendTo(t, s, "order-1", "b", "c", "d")
	assert.Equal(t, []string{"2@order-1", "3@order-1"}, linksOf(t, s, "$ce-order"))
	require.NoError(t, s.Restart())
	appendTo(t, s, "order-1", "e")
	assert.Equal(t, []string{"3@order-1", "4@order-1"}, linksOf(t, s, "$ce-order"))
}

// A projection does not go on in a stream that others have written to, or that is gone for good; the others do.
func TestProjectionsFault(t *testing.T) {
	for name, spoil := range map[string]func(s *estest.Server){
		"written to":  func(s *estest.Server) { appendTo(t, s, "$ce-order", "own") },
		"hard delete": func(s *estest.Server) { connectAs(t, s, admin).delete("$ce-order", true) },
	} {
		t.Run(name, func(t *testing.T) {
			s := estest.Run(t, estest.WithProjections())
			appendTo(t, s, "order-1", "a")
			await(t, s)
			spoil(s)
			appendTo(t, s, "order-1", "b")
			assert.Equal(t, []string{"1@order-1"}, linksOf(t, s, "$et-b"), "the others go on")
			status := projectionOf(t, s, "$by_category")
			assert.Equal(t, "Faulted (Enabled)", status.Status)
			assert.Contains(t, status.StateReason, "$ce-order")
		})
	}
}

// A soft delete hides the links there are; the next one brings the stream back.
func TestLinksAfterASoftDelete(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	appendTo(t, s, "order-1", "a", "b")
	await(t, s)
	connectAs(t, s, admin).delete("$ce-order", false)
	appendTo(t, s, "order-1", "c")
	assert.Equal(t, []string{"2@order-1"}, linksOf(t, s, "$ce-order"))
	links, err := s.Read("$ce-order", 0, 0)
	require.NoError(t, err)
	assert.Equal(t, int64(2), links[0].Number)
}

func TestNoProjectionOfTheServersOwnStreams(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	appendTo(t, s, "order-1", "Placed")
	await(t, s)
	var links []string
	for _, info := range s.Streams() {
		if slices.ContainsFunc([]string{"$ce-", "$et-", "$bc-", "$category-"}, func(prefix string) bool {
			return strings.HasPrefix(info.Name, prefix)
		}) {
			links = append(links, info.Name)
		}
	}
	assert.Equal(t, []string{"$category-order", "$ce-order", "$et-Placed"}, links)
}
