package estest

import (
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
