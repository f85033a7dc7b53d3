package estest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestALeaderWithoutAMajorityWritesNoCheckpoint holds that readers never see what the next leader may not have.
func TestALeaderWithoutAMajorityWritesNoCheckpoint(t *testing.T) {
	c := RunCluster(t, 3, WithStepDownDelay(time.Hour), WithElectionDelay(time.Hour))
	leader := c.Node(0).core
	c.mu.Lock()
	g := &group{core: leader, name: "g", stream: "s", lastKnown: 4999, progress: 5000}
	g.settings.checkpointMax, g.settings.checkpointMin = 1000, 10
	c.mu.Unlock()
	marked := func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		g.mark(false)
		s := leader.stream(g.checkpointStream())
		return s != nil && s.last() >= 0
	}
	c.Partition(0)
	assert.False(t, marked(), "alone")
	c.Heal()
	assert.True(t, marked(), "with the others")
}

// A request that was brought to the leader finds another one elected.
func TestANodeThatLeadsNoMoreStartsNoProjections(t *testing.T) {
	c := RunCluster(t, 3, WithProjections(), WithPersona(Persona2310))
	s := c.Node(1)
	s.core.mu.Lock()
	end := s.core.end
	assert.Nil(t, s.core.projector.add("own", s.core.persona.newProjectionState("JS", "")))
	s.core.mu.Unlock()
	r := httptest.NewRequest(http.MethodPost, "/projections/restart", http.NoBody)
	w := httptest.NewRecorder()
	s.httpRestartProjections(w, r)
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	assert.False(t, s.core.projector.running)
	assert.Equal(t, end, s.core.end)
}

// Appends come often: they wake nobody on nodes that have no projections to run.
func TestProjectionsAreWokenWhereTheyRun(t *testing.T) {
	p := newProjector(Run(t).core.eventLog, nil, nil)
	p.signal()
	assert.Empty(t, p.wake)
	p.running = true
	p.signal()
	assert.Len(t, p.wake, 1)
}
