package estest

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/watermill-eventstore/watermill-eventstore/estest/internal/eventlog"
)

// Role is the role of a node in its cluster.
type Role int

// The roles.
const (
	RoleUnknown  Role = iota // it knows of no leader
	RoleFollower             // it replicates the leader's writes
	RoleLeader
)

// node is a server's place in a cluster. The lock that the cores share guards it. A nil node is that of a single
// server.
type node struct {
	cluster *Cluster
	index   int
	srv     *Server
	core    *core
	addr    string // for TCP, once it has listened
	web     string // for HTTP

	up      bool
	paused  bool   // its process hangs: it sends, receives and changes nothing
	network []bool // for each partition, on which side it is

	role   Role
	leader *node // whom it follows, or itself; nil while it knows of none
	quorum bool  // of a leader: it reaches a majority
	stepAt time.Time
	held   []*heldWrite // the oldest first
	lost   bool         // it has given up the leadership with writes that it held

	known map[int]Member // the last state that it received from each other node
	lie   func([]Member) []Member
}

// joins tells the cluster that the process of a node has started.
func (n *node) joins() {
	if n == nil {
		return
	}
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	n.core.instance = uuid.NewString()
	n.core.log.LoadDefaults()
	n.up, n.addr, n.web = true, n.srv.Addr(), n.srv.HTTPAddr()
	n.cluster.settle()
}

// leaves tells the cluster that the process of a node ends, and clears the state that a process loses.
func (n *node) leaves() {
	if n == nil {
		return
	}
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	n.up, n.paused = false, false
	n.role, n.leader, n.held, n.lost = RoleUnknown, nil, nil, false
	n.core.log.ForgetIDs()
	n.core.groups.Clear()
	n.core.projector.Forget()
	n.cluster.settle()
}

// hangs tells the cluster that the process of a node hangs, or does so no more.
func (n *node) hangs(paused bool) {
	if n == nil {
		return
	}
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	n.paused = paused && n.up
	n.quorum = n.quorum && !paused
	n.cluster.settle()
}

// hears reports whether two nodes reach each other.
func (n *node) hears(o *node) bool {
	return n == o || n.up && o.up && !n.paused && !o.paused && slices.Equal(n.network, o.network)
}

// side returns the nodes that a node reaches, itself included.
func (n *node) side() []*node {
	return slices.DeleteFunc(slices.Clone(n.cluster.nodes), func(o *node) bool { return !n.hears(o) })
}

// newest returns the node of a side with the most recent log. If the side is a majority, that log has every
// acknowledged write.
func newest(side []*node) *node {
	return slices.MaxFunc(side, func(a, b *node) int {
		return cmp.Or(
			cmp.Compare(a.core.log.Epoch().Number, b.core.log.Epoch().Number),
			cmp.Compare(a.core.log.Records().Len(), b.core.log.Records().Len()),
			cmp.Compare(a.core.log.End(), b.core.log.End()), cmp.Compare(len(a.held), len(b.held)),
			cmp.Compare(a.core.priority, b.core.priority), cmp.Compare(b.index, a.index))
	})
}

func (c *Cluster) isMajority(side []*node) bool { return len(side) > len(c.nodes)/2 }

// leader returns the node that leads the majority; nil if there is none.
func (c *Cluster) leader() *node {
	for _, n := range c.nodes {
		if n.up && n.role == RoleLeader && n.quorum {
			return n
		}
	}
	return nil
}

// schedule has settle called when something is due by the clock.
func (c *Cluster) schedule() {
	if c.alarm != nil {
		c.alarm.callOff()
		c.alarm = nil
	}
	if due := c.due(); !due.IsZero() {
		c.alarm = c.alarms.after(due.Sub(c.alarms.clock.Now()), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.settle()
		})
	}
}

// due returns when something is due next; zero if nothing is.
func (c *Cluster) due() (next time.Time) {
	note := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	note(c.electAt)
	for _, n := range c.nodes {
		if n.paused {
			continue
		}
		note(n.stepAt)
		for _, w := range n.held {
			note(w.answerAt)
		}
	}
	return next
}

// settle brings the nodes in line with the network and the clock. The cluster calls it after every change of either.
func (c *Cluster) settle() {
	now := c.alarms.clock.Now()
	done := make(map[*node]bool)
	majority := false
	for _, n := range c.nodes {
		if n.up && !n.paused && !done[n] {
			side := n.side()
			for _, o := range side {
				done[o] = true
			}
			majority = majority || c.isMajority(side)
			c.settleSide(side, now)
		}
	}
	if !majority {
		c.electAt = time.Time{}
	}
	for _, n := range c.nodes {
		n.answerLate(now)
		n.listen()
	}
	c.schedule()
}

// settleSide settles nodes that reach each other.
func (c *Cluster) settleSide(side []*node, now time.Time) {
	leader := c.leaderOf(side)
	if c.isMajority(side) {
		leader = c.elected(side, leader, now)
	} else if leader != nil {
		leader = leader.withoutMajority(now, c.delays.stepDownDelay)
	}
	for _, n := range side {
		switch {
		case n == leader:
		case leader == nil:
			n.become(RoleUnknown, nil)
		default:
			n.follow(leader)
		}
	}
	if leader != nil && leader.quorum {
		leader.writeHeld()
		leader.core.projector.Signal()
	}
}

// leaderOf returns the leader of a side: the one that was elected last, if several nodes call themselves leader.
func (c *Cluster) leaderOf(side []*node) (leader *node) {
	for _, n := range side {
		if n.role == RoleLeader && (leader == nil || n.core.log.Epoch().Number > leader.core.log.Epoch().Number) {
			leader = n
		}
	}
	return leader
}

// elected returns the leader of the majority, after an election if that is due; nil while there is none.
func (c *Cluster) elected(side []*node, leader *node, now time.Time) *node {
	if leader != nil {
		c.electAt, leader.stepAt, leader.quorum = time.Time{}, time.Time{}, true
		return leader
	}
	if c.electAt.IsZero() {
		c.electAt = now.Add(c.delays.electionDelay)
	}
	if now.Before(c.electAt) {
		return nil
	}
	c.electAt = time.Time{}
	leader = newest(side)
	leader.lead()
	return leader
}

// withoutMajority returns the leader as long as it goes on without a majority, and then nil.
func (n *node) withoutMajority(now time.Time, patience time.Duration) *node {
	n.quorum = false
	if n.stepAt.IsZero() {
		n.stepAt = now.Add(patience)
	}
	if now.Before(n.stepAt) {
		return n
	}
	return nil
}

// lead makes a node the leader. The first leader adds the users of the options.
func (n *node) lead() {
	c := n.cluster
	var cfg *config
	if !c.begun {
		c.begun, cfg = true, &n.srv.cfg
	}
	n.become(RoleLeader, n)
	n.quorum = true
	n.core.log.ForgetIDs()
	n.core.groups.Restart()
	n.core.leads(cfg)
}

// follow gives a node the log of the leader.
func (n *node) follow(leader *node) {
	n.become(RoleFollower, leader)
	if truncated := n.core.log.CatchUp(leader.core.log); truncated || n.lost || len(n.held) > 0 {
		n.startAnew()
	}
}

// become changes the role of a node. A former leader drops the clients of its groups.
func (n *node) become(role Role, leader *node) {
	if n.role == RoleLeader && role != RoleLeader {
		n.core.groups.DropClients()
		n.core.groups.Clear()
		n.core.projector.Stop()
		n.quorum, n.stepAt, n.lost = false, time.Time{}, len(n.held) > 0
	}
	n.role, n.leader = role, leader
}

// startAnew ends the process of a node that has to cut off the end of its log, and starts another.
func (n *node) startAnew() {
	n.held, n.lost = nil, false
	n.core.instance = uuid.NewString()
	for c := range n.core.conns {
		c.forget()
	}
	for c := range n.core.conns {
		c.end()
	}
}

// replicate observes the log. It copies the new records to the followers of the node.
func (n *node) replicate(eventlog.Commit) {
	if n == nil || n.role != RoleLeader {
		return
	}
	for _, o := range n.cluster.nodes {
		if o != n && o.role == RoleFollower && o.leader == n && o.hears(n) {
			o.core.log.CatchUp(n.core.log)
		}
	}
}
