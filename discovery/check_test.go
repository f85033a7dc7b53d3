package discovery_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/watermill-eventstore/watermill-eventstore/discovery"
)

// apart is the gossip of a node that lists others as dead, or has another state.
func apart(all []member, change func(m *member)) []member {
	all = slices.Clone(all)
	for i := range all {
		change(&all[i])
	}
	return all
}

func TestCheckFindsANodeThatLostItsCluster(t *testing.T) {
	t.Parallel()
	// 10.0.0.2 leads; the client is connected to 10.0.0.1.
	all := []member{
		{ip: "10.0.0.1", state: "Follower", epoch: 4}, {ip: "10.0.0.2", state: "Leader", epoch: 5},
		{ip: "10.0.0.3", state: "Follower", epoch: 5},
	}
	dead := func(ips ...string) func(m *member) {
		return func(m *member) { m.dead = slices.Contains(ips, m.ip) }
	}
	for name, tt := range map[string]struct {
		says   map[string][]member
		silent []string
		lost   bool
	}{
		"it is in the cluster": {},
		"the others have lost it": {lost: true, says: map[string][]member{
			"10.0.0.1": apart(all, dead("10.0.0.2", "10.0.0.3")),
			"10.0.0.2": apart(all, dead("10.0.0.1")), "10.0.0.3": apart(all, dead("10.0.0.1")),
		}},
		"the others have lost it, and it is silent": {lost: true, silent: []string{"10.0.0.1"},
			says: map[string][]member{
				"10.0.0.2": apart(all, dead("10.0.0.1")), "10.0.0.3": apart(all, dead("10.0.0.1")),
			}},
		"it still calls itself leader": {lost: true, says: map[string][]member{
			"10.0.0.1": apart(all, func(m *member) {
				m.state, m.epoch = "Follower", 4
				if m.ip == "10.0.0.1" {
					m.state = "Leader"
				}
			}),
			"10.0.0.2": apart(all, func(m *member) {
				if m.ip == "10.0.0.1" {
					m.state = "Leader"
				}
			}),
			"10.0.0.3": apart(all, dead("10.0.0.1")),
		}},
		"one other node alone has lost it": {says: map[string][]member{
			"10.0.0.3": apart(all, dead("10.0.0.1")),
		}},
		"the leader has lost most nodes": {says: map[string][]member{
			"10.0.0.2": apart(all, dead("10.0.0.1", "10.0.0.3")),
			"10.0.0.3": apart(all, func(m *member) { m.state = "Unknown" }),
		}},
		"there is no leader": {says: map[string][]member{
			"10.0.0.1": apart(all, func(m *member) { m.state = "Unknown" }),
			"10.0.0.2": apart(all, func(m *member) { m.state, m.dead = "Unknown", m.ip == "10.0.0.1" }),
			"10.0.0.3": apart(all, func(m *member) { m.state, m.dead = "Unknown", m.ip == "10.0.0.1" }),
		}},
		"the others are silent": {silent: []string{"10.0.0.2", "10.0.0.3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, form20, all...)
				g := c.gossip(discovery.GossipConfig{})
				find(t, g)
				c.set(func(c *cluster) { c.says = tt.says })
				for _, ip := range tt.silent {
					c.stop[ip]()
				}
				err := g.Check(t.Context(), ep("10.0.0.1:1113"))
				if !tt.lost {
					assert.NoError(t, err)
					return
				}
				var lost *discovery.LostError
				require.ErrorAs(t, err, &lost)
				assert.Equal(t, ep("10.0.0.2:1113"), lost.Leader)
				assert.ErrorContains(t, err, "10.0.0.1:1113")
				assert.Equal(t, ep("10.0.0.2:1113"), find(t, g).Endpoint)
				assert.NoError(t, g.Check(t.Context(), ep("10.0.0.2:1113")), "it is not left in turn")
			})
		})
	}
}

func TestCheckCostsOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, three()...)
		g := c.gossip(discovery.GossipConfig{})
		target := find(t, g)
		time.Sleep(time.Second)
		asked := func() (n int) {
			c.set(func(c *cluster) {
				for _, k := range c.asked {
					n += k
				}
			})
			return n
		}
		before := asked()
		require.NoError(t, g.Check(t.Context(), target.Endpoint))
		assert.Equal(t, before+1, asked())
	})
}

func TestCheckSendsNothingAboutASingleNode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, form20, member{ip: "10.0.0.1", state: "Leader"})
		g := c.gossip(discovery.GossipConfig{})
		target := find(t, g)
		require.NoError(t, g.Check(t.Context(), target.Endpoint))
		assert.Equal(t, 1, c.asked["10.0.0.1"])
	})
}

// A node that prefers followers would come back to the follower that the cluster has lost.
func TestANodeThatTheLeaderHasLostComesLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := []member{
			{ip: "10.0.0.1", state: "Follower"}, {ip: "10.0.0.2", state: "Leader", epoch: 5},
			{ip: "10.0.0.3", state: "Follower", epoch: 5},
		}
		c := newCluster(t, form20, all...)
		c.set(func(c *cluster) {
			lost := apart(all, func(m *member) { m.dead = m.ip == "10.0.0.1" })
			c.says["10.0.0.2"], c.says["10.0.0.3"] = lost, lost
		})
		g := c.gossip(discovery.GossipConfig{Preference: discovery.PreferFollower})
		for range 20 {
			assert.Equal(t, ep("10.0.0.3:1113"), find(t, g).Endpoint)
		}
	})
}
