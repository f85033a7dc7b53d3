package estest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

// projectionStatus has the statistics that a test checks.
type projectionStatus struct {
	Name, EffectiveName, Status, StateReason, Mode, Position, LastCheckpoint string
	StatusURL                                                                string `json:"statusUrl"`
	Version, Epoch, EventsProcessedAfterRestart                              int
	Progress                                                                 float64
}

func projectionOf(t testing.TB, s *estest.Server, name string) (p projectionStatus) {
	t.Helper()
	getJSON(t, s.HTTPURL()+"/projection/"+name, &p)
	return p
}

// command sends a command to a projection as an operator.
func command(t testing.TB, s *estest.Server, name, do string) {
	t.Helper()
	res, body := requestBody(t, http.MethodPost, s.HTTPURL()+"/projection/"+name+"/command/"+do, ops, "")
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", body)
	var answer struct{ Name string }
	require.NoError(t, json.Unmarshal(body, &answer))
	assert.Equal(t, name, answer.Name)
}

func TestListsOfProjections(t *testing.T) {
	for _, version := range personas {
		s := estest.Run(t, estest.WithProjections(), estest.WithPersona(version))
		for path, listed := range map[string]bool{
			"any": true, "all-non-transient": true, "continuous": true, "onetime": false, "transient": false,
		} {
			var list struct{ Projections []projectionStatus }
			getJSON(t, s.HTTPURL()+"/projections/"+path, &list)
			var names []string
			for _, p := range list.Projections {
				names = append(names, p.Name)
				assert.Equal(t, "Running", p.Status)
				assert.Equal(t, "Continuous", p.Mode)
			}
			if listed {
				assert.Equal(t, standardProjections(version), names, path)
			} else {
				assert.NotNil(t, list.Projections)
				assert.Empty(t, names, path)
			}
		}
	}
}

// The members and their types are those of a real server.
func TestStatisticsOfProjections(t *testing.T) {
	s := estest.Run(t, estest.WithProjections(), estest.WithPersona(estest.Persona2310))
	appendTo(t, s, "order-1", "a", "b", "c")
	await(t, s)
	var p projectionStatus
	require.Eventually(t, func() bool {
		p = projectionOf(t, s, "$by_category")
		return p.Progress == 100 // it passes over the links that are written
	}, 10*time.Second, time.Millisecond)
	last, err := s.Read("order-1", 2, 1)
	require.NoError(t, err)
	assert.Equal(t, projectionStatus{
		Name: "$by_category", EffectiveName: "$by_category", Status: "Running", Mode: "Continuous",
		Position: fmt.Sprintf("C:%d/P:%[1]d", last[0].Commit), LastCheckpoint: "C:0/P:-1", Version: 1, Epoch: -1,
		EventsProcessedAfterRestart: 3, Progress: 100, StatusURL: s.HTTPURL() + "/projection/$by_category",
	}, p)

	var list struct{ Projections []map[string]any }
	getJSON(t, s.HTTPURL()+"/projection/$by_category/statistics", &list)
	require.Len(t, list.Projections, 1)
	kinds := make(map[string]string)
	for name, v := range list.Projections[0] {
		kinds[name] = fmt.Sprintf("%T", v)
	}
	number, text := "float64", "string"
	assert.Equal(t, map[string]string{
		"coreProcessingTime": number, "version": number, "epoch": number, "effectiveName": text,
		"writesInProgress": number, "readsInProgress": number, "partitionsCached": number, "status": text,
		"stateReason": text, "name": text, "mode": text, "position": text, "progress": number, "lastCheckpoint": text,
		"eventsProcessedAfterRestart": number, "statusUrl": text, "stateUrl": text, "resultUrl": text, "queryUrl": text,
		"resultStreamUrl": "<nil>", "enableCommandUrl": text, "disableCommandUrl": text, "checkpointStatus": text,
		"bufferedEvents": number, "writePendingEventsBeforeCheckpoint": number,
		"writePendingEventsAfterCheckpoint": number,
	}, kinds)
}

// The requests of the recording of a real server with one stream of twelve events.
func TestAnswersAboutProjectionsAreThoseOf2310(t *testing.T) {
	s := estest.Run(t, estest.WithPersona(estest.Persona2310), estest.WithProjections())
	appendTo(t, s, "orders-1", slices.Repeat([]string{"placed"}, 12)...)
	await(t, s)
	for _, tc := range []struct{ method, path, file string }{
		{"GET", "/projections/any", "projections_any.json"},
		{"GET", "/projections/all-non-transient", "projections_all-non-transient.json"},
		{"GET", "/projections/continuous", "projections_continuous.json"},
		{"GET", "/projection/$by_category/statistics", "projection__by_category_statistics.json"},
		{"GET", "/projection/$by_category/state", ""},
		{
			"POST", "/projection/$by_category/command/disable",
			"POST_projection__by_category_command_disable.json",
		},
		{"POST", "/projection/$by_category/command/enable", "POST_projection__by_category_command_enable.json"},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			res, body := requestFor(t, tc.method, s.HTTPURL()+tc.path, "", http.Header{"Accept": {"application/json"}})
			assert.Equal(t, http.StatusOK, res.StatusCode)
			assert.Equal(t, jsonType, res.Header.Get("Content-Type"))
			if tc.file == "" {
				assert.Empty(t, body)
				return
			}
			recorded, err := os.ReadFile(filepath.Join("testdata", "http-23.10", tc.file))
			require.NoError(t, err)
			compareShape(t, "", parseNumbers(t, recorded), parseNumbers(t, body))
		})
	}
}

func TestStateAndQueryOfProjections(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	for _, path := range []string{"/state", "/result"} {
		res, body := requestBody(t, http.MethodGet, s.HTTPURL()+"/projection/$by_category"+path, admin, "")
		assert.Equal(t, http.StatusOK, res.StatusCode)
		assert.Empty(t, body, "standard projections have no state")
		assert.Equal(t, "application/json; charset=utf-8", res.Header.Get("Content-Type"))
	}
	res, body := requestBody(t, http.MethodGet, s.HTTPURL()+"/projection/$by_category/query", admin, "")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "first\r\n-", string(body))
	var query struct {
		Name, Query, Type string
		EmitEnabled       bool
		Definition        struct{ AllStreams, AllEvents bool }
	}
	getJSON(t, s.HTTPURL()+"/projection/$by_category/query?config=yes", &query)
	assert.Equal(t, "$by_category", query.Name)
	assert.Equal(t, "Continuous", query.Type)
	assert.True(t, query.EmitEnabled && query.Definition.AllStreams && query.Definition.AllEvents)
	var config struct{ CheckpointHandledThreshold, MaxWriteBatchLength int }
	getJSON(t, s.HTTPURL()+"/projection/$by_category/config", &config)
	assert.Equal(t, 4000, config.CheckpointHandledThreshold)
	assert.Equal(t, 500, config.MaxWriteBatchLength)
}

func TestAProjectionIsDisabledAndEnabled(t *testing.T) {
	for _, version := range personas {
		t.Run(string(version), func(t *testing.T) {
			s := estest.Run(t, estest.WithProjections(), estest.WithPersona(version))
			appendTo(t, s, "order-1", "a")
			await(t, s)
			command(t, s, "$by_category", "disable")
			p := projectionOf(t, s, "$by_category")
			assert.Equal(t, "Stopped", p.Status)
			assert.Equal(t, 2, p.Version)
			assert.Equal(t, p.Position, p.LastCheckpoint, "it stopped at a checkpoint")

			appendTo(t, s, "order-1", "b")
			appendTo(t, s, "order-2", "a")
			assert.Equal(t, []string{"0@order-1"}, linksOf(t, s, "$ce-order"))
			assert.Equal(t, []string{"0@order-1", "0@order-2"}, linksOf(t, s, "$et-a"), "the others go on")

			command(t, s, "$by_category", "enable")
			command(t, s, "$by_category", "enable")
			assert.Equal(t, []string{"0@order-1", "1@order-1", "0@order-2"}, linksOf(t, s, "$ce-order"))
			p = projectionOf(t, s, "$by_category")
			assert.Equal(t, "Running", p.Status)
			assert.Equal(t, 3, p.Version, "it was enabled once")
			assert.Equal(t, 2, p.EventsProcessedAfterRestart)
		})
	}
}

// A projection that was disabled is enabled again when the server starts, as it starts the standard ones.
func TestADisabledProjectionInTheNextProcess(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	command(t, s, "$by_category", "disable")
	appendTo(t, s, "order-1", "a")
	require.NoError(t, s.Restart())
	assert.Equal(t, []string{"0@order-1"}, linksOf(t, s, "$ce-order"))
	assert.Equal(t, "Running", projectionOf(t, s, "$by_category").Status)
}

func TestAProjectionIsAborted(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	appendTo(t, s, "order-1", "a")
	await(t, s)
	command(t, s, "$by_category", "abort")
	p := projectionOf(t, s, "$by_category")
	assert.Equal(t, "Aborted/Stopped", p.Status)
	assert.Equal(t, "C:0/P:-1", p.LastCheckpoint)
	appendTo(t, s, "order-1", "b")
	assert.Equal(t, []string{"0@order-1"}, linksOf(t, s, "$ce-order"))
	command(t, s, "$by_category", "enable")
	assert.Equal(t, []string{"0@order-1", "1@order-1"}, linksOf(t, s, "$ce-order"), "existing links are recognised")
}

// The reset of a projection hides all its events, and the projection writes them again.
func TestAProjectionIsReset(t *testing.T) {
	s := estest.Run(t, estest.WithProjections())
	appendTo(t, s, "order-1", "a", "b")
	await(t, s)
	command(t, s, "$by_category", "reset")
	assert.Equal(t, []string{"0@order-1", "1@order-1"}, linksOf(t, s, "$ce-order"))
	links, err := s.Read("$ce-order", 0, 0)
	require.NoError(t, err)
	assert.Equal(t, int64(2), links[0].Number)
	metadata, err := s.Read("$$$ce-order", 0, 0)
	require.NoError(t, err)
	assert.Equal(t, []string{`{"$tb":2,"$acl":{"$r":"$all","$mr":"$all"}}`}, texts(metadata))
	p := projectionOf(t, s, "$by_category")
	assert.Equal(t, 2, p.Epoch)
	assert.Equal(t, 2, p.Version)
	require.NoError(t, s.Crash())
	appendTo(t, s, "order-1", "c")
	assert.Equal(t, []string{"0@order-1", "1@order-1", "2@order-1"}, linksOf(t, s, "$ce-order"))
}

func TestWhoMayManageProjections(t *testing.T) {
	s := estest.Run(t, estest.WithProjections(), estest.WithUser("jane", "secret"))
	base := s.HTTPURL() + "/projection/$by_category"
	for _, c := range []struct {
		method, url string
		as          *esproto.Credentials
		status      int
	}{
		{"GET", s.HTTPURL() + "/projections/any", nil, 401}, {"GET", base, nil, 401},
		{"GET", s.HTTPURL() + "/projections/any", jane, 200}, {"GET", base, jane, 200},
		{"GET", base + "/state", nil, 401}, {"GET", base + "/state", jane, 200},
		{"GET", base + "/config", jane, 401}, {"GET", base + "/config", ops, 200},
		{"POST", base + "/command/disable", nil, 401}, {"POST", base + "/command/disable", jane, 401},
		{"POST", base + "/command/enable", ops, 200}, {"DELETE", base, jane, 401}, {"DELETE", base, admin, 500},
		{"GET", s.HTTPURL() + "/projection/nosuch", admin, 404},
		{"POST", s.HTTPURL() + "/projection/nosuch/command/enable", admin, 404},
		{"GET", s.HTTPURL() + "/projection/nosuch/state", admin, 404},
	} {
		got := request(t, c.method, c.url, c.as, "").StatusCode
		assert.Equal(t, c.status, got, "%s %s as %v", c.method, c.url, c.as)
	}
	assert.Equal(t, "Running", projectionOf(t, s, "$by_category").Status)
	off := estest.Run(t)
	assert.Equal(t, http.StatusNotFound, request(t, "GET", off.HTTPURL()+"/projections/any", admin, "").StatusCode)
}

// A follower forwards requests that only the leader may serve.
func TestProjectionsOverHTTPInACluster(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithProjections())
	command(t, c.Node(1), "$by_category", "disable")
	assert.Equal(t, "Stopped", projectionOf(t, c.Node(2), "$by_category").Status)
	appendTo(t, c.Node(0), "order-1", "a")
	await(t, c.Node(0))
	_, err := c.Node(0).Read("$ce-order", 0, 0)
	assert.ErrorIs(t, err, estest.ErrNoStream)
	command(t, c.Node(2), "$by_category", "enable")
	assert.Equal(t, []string{"0@order-1"}, linksOf(t, c.Node(1), "$ce-order"))
}
