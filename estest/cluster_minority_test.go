package estest

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/esproto"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/groups"
)

// pushedIDs is a consumer that remembers which events it has.
type pushedIDs []esproto.GUID

func (p *pushedIDs) Deliver(event, _ *eventlog.Record, _ int) { *p = append(*p, event.ID) }
func (p *pushedIDs) Drop()                                    {}
func (p *pushedIDs) Peer() groups.Peer                        { return groups.Peer{} }

// TestALeaderWithoutAMajorityWritesNoCheckpoint: readers never see a checkpoint that the next leader may not have.
func TestALeaderWithoutAMajorityWritesNoCheckpoint(t *testing.T) {
	c := RunCluster(t, 3, WithStepDownDelay(time.Hour), WithElectionDelay(time.Hour))
	_, err := c.Node(0).Append("s", make20()...)
	require.NoError(t, err)
	var got pushedIDs
	correlation := esproto.CorrelationID(eventlog.NewGUID())
	leader := c.Node(0).core
	c.mu.Lock()
	result, _ := leader.groups.Create("admin", "s", "g", groups.Settings{
		CheckpointMax: 10, LiveBufferSize: 100, BufferSize: 100, ReadBatchSize: 20, Strategy: groups.RoundRobin,
	})
	require.Equal(t, groups.Success, result)
	g := leader.groups.Find("s", "g")
	g.Join(&got, correlation, "", 20)
	c.mu.Unlock()
	require.Len(t, got, 20)
	marked := func(ids []esproto.GUID) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		g.Ack(ids, correlation)
		return g.Counters().Checkpoint >= 0
	}
	c.Partition(0)
	assert.False(t, marked(got[:15]), "alone")
	c.Heal()
	assert.True(t, marked(got[15:]), "with the others")
}

func make20() []Event {
	events := make([]Event, 20)
	for i := range events {
		events[i].Type = "T"
	}
	return events
}

// A request that was brought to the leader finds another one elected.
func TestANodeThatLeadsNoMoreStartsNoProjections(t *testing.T) {
	c := RunCluster(t, 3, WithProjections(), WithPersona(Persona2310))
	s := c.Node(1)
	s.core.mu.Lock()
	end := s.core.log.End()
	assert.Nil(t, s.core.projector.Add("own", s.core.projector.NewState("JS", "")))
	s.core.mu.Unlock()
	r := httptest.NewRequest(http.MethodPost, "/projections/restart", http.NoBody)
	w := httptest.NewRecorder()
	s.httpRestartProjections(w, r)
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	assert.False(t, s.core.projector.Running())
	assert.Equal(t, end, s.core.log.End())
}

// Appends are frequent, so they must not wake nodes without projections.
func TestProjectionsAreWokenWhereTheyRun(t *testing.T) {
	p := eventlog.NewProjector(Run(t).core.log, nil, nil)
	p.Signal()
	assert.Empty(t, p.Wake())
	p.Start()
	assert.Len(t, p.Wake(), 1)
}
