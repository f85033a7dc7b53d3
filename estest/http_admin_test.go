package estest_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest"
)

func TestAScavengeIsAnswered(t *testing.T) {
	anyPersona(t, func(t *testing.T, s *estest.Server, persona estest.Persona) {
		url := s.HTTPURL() + "/admin/scavenge"
		for _, as := range []*esproto.Credentials{admin, ops} {
			assert.Equal(t, http.StatusOK, request(t, "POST", url, as, "").StatusCode)
		}
		assert.Equal(t, http.StatusUnauthorized, request(t, "POST", url, nil, "").StatusCode)
		assert.Equal(t, http.StatusUnauthorized, request(t, "POST", url, wrong, "").StatusCode)

		res, text := requestFor(t, "POST", url, "", nil)
		require.Equal(t, http.StatusOK, res.StatusCode)
		res, body := requestFor(t, "POST", url, "", http.Header{"Accept": {"application/json"}})
		require.Equal(t, http.StatusOK, res.StatusCode)
		if persona == estest.Persona414 {
			assert.Empty(t, text)
			assert.Empty(t, body)
			return
		}
		var started struct{ ScavengeID string }
		require.NoError(t, json.Unmarshal(body, &started))
		_, err := uuid.Parse(started.ScavengeID)
		assert.NoError(t, err)
		bad := http.StatusBadRequest
		assert.Equal(t, bad, request(t, "POST", url+"?threads=0", admin, "").StatusCode)
		assert.Equal(t, bad, request(t, "POST", url+"?startFromChunk=x", admin, "").StatusCode)
		if persona != estest.Persona2310 {
			return
		}
		assert.Regexp(t, `^ScavengeId: [0-9a-f-]{36}$`, string(text))
		assert.Equal(t, bad, request(t, "POST", url+"?throttlePercent=101", admin, "").StatusCode)
		assert.Equal(t, http.StatusNotFound, request(t, "DELETE", url+"/"+started.ScavengeID, admin, "").StatusCode)
		assert.Equal(t, http.StatusUnauthorized, request(t, "GET", url+"/current", nil, "").StatusCode)
	})
}

func TestThePriorityOfANodeDecidesElections(t *testing.T) {
	c := estest.RunCluster(t, 3, estest.WithPersona(estest.Persona2310))
	priority := func(path string, as *esproto.Credentials) int {
		return request(t, "POST", c.Node(2).HTTPURL()+"/admin/node/priority/"+path, as, "").StatusCode
	}
	assert.Equal(t, http.StatusUnauthorized, priority("5", nil))
	assert.Equal(t, http.StatusBadRequest, priority("high", admin))
	assert.Equal(t, http.StatusOK, priority("5", ops))
	var gossip struct{ Members []struct{ NodePriority int } }
	require.Eventually(t, func() bool {
		getJSON(t, c.Node(2).HTTPURL()+"/gossip", &gossip)
		return gossip.Members[2].NodePriority == 5
	}, patience, eagerness)
	assert.Zero(t, gossip.Members[0].NodePriority)
	require.NoError(t, c.Stop(0))
	require.Eventually(t, func() bool { return c.Leader() == 2 }, patience, eagerness)
}
