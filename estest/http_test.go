package estest_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

var jane = &esproto.Credentials{Login: "jane", Password: "secret"}

// keys returns the names in a JSON object.
func keys(t testing.TB, object []byte) (names []string) {
	t.Helper()
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(object, &m), "%s", object)
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestHTTPDescribesAGroup(t *testing.T) {
	inAll := []string{
		"averageItemsPerSecond", "eventStreamId", "getMessagesUri", "groupName", "lastKnownEventNumber",
		"lastProcessedEventNumber", "links", "parkedMessageUri", "status", "totalInFlightMessages",
		"totalItemsProcessed",
	}
	ofOne := []string{
		"config", "connections", "countSinceLastMeasurement", "liveBufferCount", "readBufferCount",
		"retryBufferCount",
	}
	for persona, more := range map[estest.Persona]struct{ listed, single []string }{
		estest.Persona414:  {},
		estest.Persona5011: {nil, []string{"outstandingMessagesCount"}},
		estest.Persona2310: {
			[]string{"lastCheckpointedEventPosition", "lastKnownEventPosition"},
			[]string{
				"lastCheckpointedEventPosition", "lastKnownEventPosition", "outstandingMessagesCount",
				"parkedMessageCount",
			},
		},
	} {
		t.Run(string(persona), func(t *testing.T) {
			url := estest.Run(t, estest.WithPersona(persona)).HTTPURL()
			assert.Equal(t, http.StatusCreated, request(t, "PUT", url+"/subscriptions/s/g", admin, `{}`).StatusCode)
			res, body := requestBody(t, "GET", url+"/subscriptions/s/g/info", ops, "")
			assert.Equal(t, http.StatusOK, res.StatusCode)
			assert.ElementsMatch(t, slices.Concat(inAll, ofOne, more.single), keys(t, body))
			var list []json.RawMessage
			getJSON(t, url+"/subscriptions", &list)
			require.Len(t, list, 1)
			assert.ElementsMatch(t, slices.Concat(inAll, []string{"connectionCount"}, more.listed), keys(t, list[0]))
			getJSON(t, url+"/subscriptions/s", &list)
			assert.Len(t, list, 1)
			assert.Equal(t, http.StatusNotFound, request(t, "GET", url+"/subscriptions/other", ops, "").StatusCode)
			for _, path := range []string{"/subscriptions", "/subscriptions/s", "/subscriptions/s/g/info"} {
				assert.Equal(t, http.StatusUnauthorized, request(t, "GET", url+path, nil, "").StatusCode, path)
			}
		})
	}
}

func TestWhoMayReplayParkedMessages(t *testing.T) {
	for persona, limited := range map[estest.Persona]int{
		estest.Persona5011: http.StatusOK, estest.Persona2310: http.StatusBadRequest,
	} {
		t.Run(string(persona), func(t *testing.T) {
			url := estest.Run(t, estest.WithPersona(persona)).HTTPURL()
			replay := url + "/subscriptions/s/g/replayParked"
			request(t, "PUT", url+"/subscriptions/s/g", admin, `{}`)
			request(t, "POST", url+"/users", admin, `{"loginName":"jane","password":"secret"}`)
			assert.Equal(t, http.StatusOK, request(t, "POST", replay, ops, "{}").StatusCode)
			assert.Equal(t, http.StatusUnauthorized, request(t, "POST", replay, jane, "{}").StatusCode)
			assert.Equal(t, http.StatusUnauthorized, request(t, "POST", replay, nil, "{}").StatusCode)
			for _, stopAt := range []string{"-1", "x", ""} {
				res := request(t, "POST", replay+"?stopAt="+stopAt, ops, "{}")
				assert.Equal(t, limited, res.StatusCode, "before 20.6 servers ignore stopAt")
			}
		})
	}
}

func TestHTTPDescribesUsers(t *testing.T) {
	url := estest.Run(t).HTTPURL()
	request(t, "POST", url+"/users/", admin,
		`{"loginName":"jane","fullName":"Jane","password":"secret","groups":["g"]}`)
	var all struct{ Data []json.RawMessage }
	getJSON(t, url+"/users/", &all)
	require.Len(t, all.Data, 3, "admin, jane and ops")
	assert.Equal(t, []string{"disabled", "fullName", "groups", "links", "loginName"}, keys(t, all.Data[1]))

	var current struct {
		Data struct{ LoginName, FullName string }
	}
	res, body := requestBody(t, "GET", url+"/users/$current", jane, "")
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.NoError(t, json.Unmarshal(body, &current))
	assert.Equal(t, "Jane", current.Data.FullName)
	assert.Equal(t, http.StatusUnauthorized, request(t, "GET", url+"/users/$current", nil, "").StatusCode)
	assert.Equal(t, http.StatusUnauthorized, request(t, "GET", url+"/users/jane", jane, "").StatusCode)

	change := url + "/users/jane/command/change-password"
	right, wrong := `{"currentPassword":"secret","newPassword":"x"}`, `{"currentPassword":"wrong","newPassword":"x"}`
	assert.Equal(t, http.StatusUnauthorized, request(t, "POST", change, nil, right).StatusCode)
	assert.Equal(t, http.StatusUnauthorized, request(t, "POST", change, jane, wrong).StatusCode)
	assert.Equal(t, http.StatusOK, request(t, "POST", change, ops, right).StatusCode, "the user knows its password")
	assert.Equal(t, http.StatusNotFound,
		request(t, "POST", url+"/users/joe/command/change-password", ops, `{}`).StatusCode)
}

func TestHTTPDescribesUsersByVersion(t *testing.T) {
	for _, persona := range personas {
		t.Run(string(persona), func(t *testing.T) {
			url := estest.Run(t, estest.WithPersona(persona)).HTTPURL()
			changed, details := []string{"error", "loginName", "msgTypeId", "success"}, []string{"loginName", "links"}
			answer := []string{"data", "error", "msgTypeId", "success"}
			unknown := []string{"error", "msgTypeId", "success"}
			if persona == estest.Persona2310 { // earlier versions omit null
				changed, answer = append(changed, "label"), append(answer, "label")
				details, unknown = append(details, "dateLastUpdated"), answer
			}
			_, body := requestBody(t, "POST", url+"/users", admin, `{"loginName":"jane","password":"secret"}`)
			assert.ElementsMatch(t, changed, keys(t, body))
			var user struct {
				Data map[string]any
			}
			_, body = requestBody(t, "GET", url+"/users/jane", admin, "")
			assert.ElementsMatch(t, answer, keys(t, body))
			require.NoError(t, json.Unmarshal(body, &user))
			for _, name := range details {
				assert.Contains(t, user.Data, name)
			}
			assert.Nil(t, user.Data["dateLastUpdated"])
			_, body = requestBody(t, "GET", url+"/users/joe", admin, "")
			assert.ElementsMatch(t, unknown, keys(t, body))

			user.Data = nil
			_, body = requestBody(t, "GET", url+"/users/$current", jane, "")
			require.NoError(t, json.Unmarshal(body, &user))
			assert.NotEmpty(t, user.Data["dateLastUpdated"], "a user has the time of its last change")
			assert.NotContains(t, user.Data, "links")
		})
	}
}

func TestStatsByVersion(t *testing.T) {
	for _, persona := range personas {
		url := estest.Run(t, estest.WithPersona(persona)).HTTPURL()
		var stats struct {
			Proc, Sys map[string]any
			ES        struct{ Queue map[string]any }
		}
		getJSON(t, url+"/stats", &stats)
		old := persona != estest.Persona2310
		for _, name := range []string{"cpu", "mem", "gc", "diskIo", "tcp"} {
			assert.Contains(t, stats.Proc, name, persona)
		}
		assert.Equal(t, old, stats.Proc["cpuScaled"] != nil, persona)
		assert.Equal(t, old, stats.Sys["cpu"] != nil, persona)
		assert.Equal(t, !old, stats.Sys["loadavg"] != nil, persona)
		assert.Contains(t, stats.ES.Queue, "mainQueue", persona)
		assert.NotContains(t, stats.ES.Queue, "projection Core #0", "no projections run")
		assert.Equal(t, http.StatusOK,
			request(t, "GET", url+"/stats/es/queue/mainQueue/totalItemsProcessed", admin, "").StatusCode)
	}
}
