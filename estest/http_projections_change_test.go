package estest_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

const ownSource = `fromStream('order-1').when({$any: function(s, e) { linkTo('own', e); }})`

// namesOf lists the projections that a path tells.
func namesOf(t testing.TB, s *estest.Server, path string) (names []string) {
	t.Helper()
	var list struct{ Projections []projectionStatus }
	getJSON(t, s.HTTPURL()+"/projections/"+path, &list)
	for _, p := range list.Projections {
		names = append(names, p.Name)
	}
	return names
}

// A server that runs system projections only keeps those of its users.
func TestProjectionsAreCreated(t *testing.T) {
	for _, version := range personas {
		t.Run(string(version), func(t *testing.T) {
			s := estest.Run(t, estest.WithProjections(), estest.WithPersona(version))
			create := s.HTTPURL() + "/projections/"
			res, body := requestBody(t, "POST",
				create+"continuous?name=own&type=JS&emit=1&trackemittedstreams=true", ops, ownSource)
			require.Equal(t, http.StatusCreated, res.StatusCode, "%s", body)
			assert.Equal(t, s.HTTPURL()+"/projection/own", res.Header.Get("Location"))
			assert.Equal(t, http.StatusCreated, request(t, "POST", create+"onetime?type=JS", ops, ownSource).StatusCode)
			res = request(t, "POST", create+"transient?name=query&type=JS", ops, ownSource)
			assert.Equal(t, http.StatusCreated, res.StatusCode)

			assert.Equal(t, append(standardProjections(version), "own"), namesOf(t, s, "continuous"))
			assert.Len(t, namesOf(t, s, "onetime"), 1)
			assert.Equal(t, []string{"query"}, namesOf(t, s, "transient"))
			assert.Len(t, namesOf(t, s, "any"), len(standardProjections(version))+3)
			assert.Len(t, namesOf(t, s, "all-non-transient"), len(standardProjections(version))+2)

			states, err := s.Read("$projections-own", 0, 0)
			require.NoError(t, err)
			require.Len(t, states, 1)
			var state struct {
				Query, HandlerType                        string
				Enabled, EmitEnabled, TrackEmittedStreams bool
			}
			require.NoError(t, json.Unmarshal(states[0].Data, &state))
			assert.Equal(t, ownSource, state.Query)
			assert.Equal(t, "JS", state.HandlerType)
			assert.True(t, state.Enabled && state.EmitEnabled && state.TrackEmittedStreams)
			assert.Equal(t, "Stopped (Enabled)", projectionOf(t, s, "own").Status)

			appendTo(t, s, "order-1", "Placed")
			await(t, s)
			_, err = s.Read("own", 0, 0)
			assert.ErrorIs(t, err, estest.ErrNoStream)

			require.NoError(t, s.Restart())
			assert.Contains(t, namesOf(t, s, "continuous"), "own")
			assert.Empty(t, namesOf(t, s, "transient"), "it was in memory only")
		})
	}
}

func TestProjectionsThatCannotBeCreated(t *testing.T) {
	s := estest.Run(t, estest.WithProjections(), estest.WithUser("jane", "secret"))
	create := s.HTTPURL() + "/projections/"
	assert.Equal(t, 201, request(t, "POST", create+"continuous?name=own", admin, ownSource).StatusCode)
	assert.Equal(t, 409, request(t, "POST", create+"continuous?name=own", admin, ownSource).StatusCode)
	assert.Equal(t, 500, request(t, "POST", create+"continuous", admin, ownSource).StatusCode, "it has no name")
	assert.Equal(t, 500, request(t, "POST", create+"onetime?name=o&emit=yes", admin, ownSource).StatusCode)
	assert.Equal(t, 201, request(t, "POST", create+"onetime?name=o&emit=yes&checkpoints=yes", admin, "").StatusCode)
	assert.Equal(t, 500, request(t, "POST", create+"continuous?name=$own", admin, ownSource).StatusCode)
	assert.Equal(t, 401, request(t, "POST", create+"continuous?name=other", jane, ownSource).StatusCode)
	assert.Equal(t, 401, request(t, "POST", create+"transient?name=other", nil, ownSource).StatusCode)
	assert.Equal(t, 201, request(t, "POST", create+"transient?name=other", jane, ownSource).StatusCode)
}

func TestProjectionsOfUsersAreManaged(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	create, url := s.HTTPURL()+"/projections/continuous?name=own", s.HTTPURL()+"/projection/own"
	require.Equal(t, 201, request(t, "POST", create, admin, ownSource).StatusCode)
	command(t, s, "own", "disable")
	assert.Equal(t, "Stopped", projectionOf(t, s, "own").Status)
	command(t, s, "own", "enable")
	assert.Equal(t, "Stopped (Enabled)", projectionOf(t, s, "own").Status)

	const other = "fromAll()"
	assert.Equal(t, 200, request(t, "PUT", url+"/query?type=JS&emit=yes", ops, other).StatusCode)
	_, query := requestBody(t, "GET", url+"/query", ops, "")
	assert.Equal(t, other, string(query))

	assert.Equal(t, 200, request(t, "DELETE", url+"?deleteCheckpointStream=yes", ops, "").StatusCode)
	assert.Equal(t, 404, request(t, "GET", url, ops, "").StatusCode)
	registered, err := s.Read("$projections-$all", 0, 0)
	require.NoError(t, err)
	last := registered[len(registered)-1]
	assert.Equal(t, "$ProjectionDeleted", last.Type)
	assert.Equal(t, "own", string(last.Data))
	require.NoError(t, s.Restart())
	assert.NotContains(t, namesOf(t, s, "any"), "own")
	assert.Equal(t, 201, request(t, "POST", create, admin, other).StatusCode)
}

// The source of a standard projection defines the category.
func TestTheSourceOfCategories(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	query := s.HTTPURL() + "/projection/$by_category/query"
	require.Equal(t, 200, request(t, "PUT", query, ops, "last\r\n_").StatusCode)
	appendTo(t, s, "a_b_c-d", "e")
	appendTo(t, s, "order-1", "e")
	assert.Equal(t, []string{"0@a_b_c-d"}, linksOf(t, s, "$ce-a_b"))
	_, err := s.Read("$ce-order", 0, 0)
	assert.ErrorIs(t, err, estest.ErrNoStream)

	require.Equal(t, 200, request(t, "PUT", query, ops, "somewhere\n-").StatusCode)
	p := projectionOf(t, s, "$by_category")
	assert.Equal(t, "Faulted (Enabled)", p.Status)
	assert.Contains(t, p.StateReason, "Expected 'first' or 'last'")
	require.Equal(t, 200, request(t, "PUT", query, ops, "-").StatusCode)
	appendTo(t, s, "order-1-x", "e")
	assert.Equal(t, []string{"0@order-1-x"}, linksOf(t, s, "$ce-order-1"))
}

// A projection that has stopped takes other settings, by which it then writes checkpoints.
func TestTheConfigOfAProjection(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	url := s.HTTPURL() + "/projection/$by_category/config"
	config := `{"emitEnabled":true,"checkpointHandledThreshold":2,"checkpointUnhandledBytesThreshold":1000000}`
	assert.Equal(t, 500, request(t, "PUT", url, ops, config).StatusCode, "it runs")
	command(t, s, "$by_category", "disable")
	assert.Equal(t, 400, request(t, "PUT", url, ops, "2").StatusCode)
	require.Equal(t, 200, request(t, "PUT", url, ops, config).StatusCode)
	command(t, s, "$by_category", "enable")
	appendTo(t, s, "order-1", "a", "b", "c", "d", "e")
	await(t, s)
	checkpoints, err := s.Read("$projections-$by_category-checkpoint", 0, 0)
	require.NoError(t, err)
	require.Len(t, checkpoints, 2)
	var p struct {
		Commit int64 `json:"$c"`
	}
	require.NoError(t, json.Unmarshal(checkpoints[1].Metadata, &p))
	fourth, err := s.Read("order-1", 3, 1)
	require.NoError(t, err)
	assert.Equal(t, fourth[0].Commit, p.Commit)
}

// A registration that cannot be written as a whole is not written in part.
func TestAProjectionWhoseStreamIsDeletedIsNotRegistered(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	p := connectAs(t, s, admin)
	create := s.HTTPURL() + "/projections/continuous?name="
	p.mustAppend(nil, "$projections-gone", newEvent("T", ""))
	p.delete("$projections-gone", true)
	registered := written(t, s, "$projections-$all")
	assert.Equal(t, http.StatusInternalServerError, request(t, "POST", create+"gone", ops, ownSource).StatusCode)
	assert.Equal(t, registered, written(t, s, "$projections-$all"))

	require.Equal(t, http.StatusCreated, request(t, "POST", create+"own", ops, ownSource).StatusCode)
	states := written(t, s, "$projections-own")
	p.delete("$projections-$all", true)
	res := request(t, "DELETE", s.HTTPURL()+"/projection/own", ops, "")
	assert.Equal(t, http.StatusInternalServerError, res.StatusCode)
	assert.Equal(t, states, written(t, s, "$projections-own"))
	assert.Equal(t, "Stopped (Enabled)", projectionOf(t, s, "own").Status)
}
