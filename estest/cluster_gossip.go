package estest

import (
	"maps"
	"slices"
	"time"
)

// Member describes a node in the gossip of a cluster.
type Member struct {
	Node       int // its number in the Cluster
	Role       Role
	Alive      bool
	TCPAddr    string    // host:port; empty for a node without one
	HTTPAddr   string    // host:port
	Time       time.Time // when it was so
	InstanceID string    // of the node's process
	LastCommit int64     // position of the last record
	LogEnd     int64     // position of the next record

	// The epoch that the node has heard of last.
	EpochNumber   int
	EpochID       string
	EpochPosition int64

	Priority int // among nodes with logs of the same age; /admin/node/priority sets it
}

// Members returns the current gossip of a node.
func (c *Cluster) Members(i int) []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i].members()
}

// SetGossip changes the gossip of a node. For each request the node calls lie with the true members, as far as it knows
// them, and answers with the result. The cluster holds its lock during the call, so lie must not call the cluster. A
// nil function restores the truth.
//
// Gossip that lags is an earlier result of Members:
//
//	old := cluster.Members(1)
//	cluster.SetGossip(1, func([]estest.Member) []estest.Member { return old })
func (c *Cluster) SetGossip(i int, lie func(members []Member) []Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i].lie = lie
}

// members returns the gossip of a node. A node that it does not reach appears in its last known state, but dead.
func (n *node) members() []Member {
	n.listen()
	list := slices.Collect(maps.Values(n.known))
	slices.SortFunc(list, func(a, b Member) int { return a.Node - b.Node })
	if n.lie != nil {
		list = n.lie(list)
	}
	return list
}

// listen records the present state of all nodes that the node reaches.
func (n *node) listen() {
	for _, o := range n.cluster.nodes {
		if n.hears(o) {
			n.known[o.index] = o.member()
		} else if m, ok := n.known[o.index]; ok {
			m.Alive = false
			n.known[o.index] = m
		}
	}
}

// member returns the state of the node itself.
func (n *node) member() Member {
	log, epoch := n.core.log, n.core.log.Epoch()
	return Member{
		Node: n.index, Role: n.role, Alive: true, TCPAddr: n.addr, HTTPAddr: n.web, Time: n.core.now(),
		InstanceID: n.core.instance, LastCommit: log.LastCommit(), LogEnd: log.End(),
		EpochNumber: epoch.Number, EpochID: epoch.ID, EpochPosition: epoch.Position,
		Priority: n.core.priority,
	}
}

// state returns the name of a role in gossip.
func (p *persona) state(r Role) string {
	switch r {
	case RoleLeader:
		return p.leaderName
	case RoleFollower:
		return p.followerName
	}
	return "Unknown"
}
