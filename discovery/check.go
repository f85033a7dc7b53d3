package discovery

import (
	"context"
	"fmt"
)

// LostError reports that the cluster works without the node that the client is connected to.
type LostError struct {
	Endpoint Endpoint // the node's TCP endpoint
	Leader   Endpoint // the leader's TCP endpoint
}

// Error names the node and the leader.
func (e *LostError) Error() string {
	return fmt.Sprintf("discovery: the cluster goes on without the node %s: %s leads it", e.Endpoint, e.Leader)
}

// Check asks the cluster whether the node with this TCP endpoint still belongs to it. A client that is connected to an
// isolated node would not notice otherwise. The error is a [*LostError] if the leader of a majority lists the node as
// dead, or if the node calls itself leader and the majority has a later leader. If no other node answers, it is nil.
//
// Check sends one request, to a node chosen at random, and more only if the answer is not as expected. It sends none if
// the cluster has no other node.
func (g *Gossip) Check(ctx context.Context, endpoint Endpoint) error {
	others, known := g.others(endpoint)
	if known && (len(others) == 0 || g.vouches(ctx, others[0], endpoint)) || ctx.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := g.newRound()
	for ev := range g.ask(ctx, r.sources) {
		r.take(ev)
	}
	g.learn(r)
	if leader := r.leaderWithout(endpoint); leader != nil {
		return &LostError{Endpoint: endpoint, Leader: leader.TCP}
	}
	return nil
}

// others returns the HTTP endpoints of the other nodes, in random order. known is false if the last attempt did not see
// the node itself.
func (g *Gossip) others(endpoint Endpoint) (list []Endpoint, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.members {
		switch {
		case m.TCP == endpoint:
			known = true
		case m.HTTP.Port != 0:
			list = append(list, m.HTTP)
		}
	}
	shuffle(list)
	return list, known
}

// vouches reports whether another node lists the node as alive, in a cluster with one leader.
func (g *Gossip) vouches(ctx context.Context, other, endpoint Endpoint) bool {
	addrs, err := lookupAddresses(ctx, g.cfg.Resolver, other, g.cfg.Timeout)
	if err != nil || len(addrs) == 0 {
		return false
	}
	v, err := g.fetch(ctx, other, addrs[0])
	if err != nil {
		return false
	}
	alive, leaders := false, 0
	for _, m := range v.members {
		if m.Alive && m.TCP == endpoint {
			alive = true
		}
		if m.Alive && m.State == StateLeader {
			leaders++
		}
	}
	return alive && leaders == 1
}

// testimony is the gossip of one node. Member is the node's description of itself.
type testimony struct {
	Member
	members []Member
}

// aliveAmong counts the voting nodes of the cluster, and the live ones among them.
func (t *testimony) aliveAmong() (alive, all int) {
	for _, m := range t.members {
		if m.State == StateManager || m.ReadOnlyReplica {
			continue
		}
		all++
		if m.Alive {
			alive++
		}
	}
	return alive, all
}

// denies reports whether the testimony lists a node as dead.
func (t *testimony) denies(is func(Member) bool) bool {
	for _, m := range t.members {
		if is(m) {
			return !m.Alive
		}
	}
	return false
}

// latestLeader returns the node with the latest epoch that calls itself leader and sees a majority; nil if there is
// none.
func (r *round) latestLeader() (latest *testimony) {
	for i := range r.testimonies {
		t := &r.testimonies[i]
		if t.State != StateLeader || !t.Alive {
			continue
		}
		if alive, all := t.aliveAmong(); 2*alive <= all {
			continue
		}
		if latest == nil || t.EpochNumber > latest.EpochNumber {
			latest = t
		}
	}
	return latest
}

// leaderWithout returns the leader if the cluster works without the node with this TCP endpoint, and otherwise nil.
func (r *round) leaderWithout(endpoint Endpoint) *testimony {
	leader := r.latestLeader()
	if leader == nil || leader.TCP == endpoint {
		return nil
	}
	if leader.denies(func(m Member) bool { return m.TCP == endpoint }) {
		return leader
	}
	for _, t := range r.testimonies {
		if t.TCP == endpoint && t.State == StateLeader && t.EpochNumber < leader.EpochNumber {
			return leader
		}
	}
	return nil
}
