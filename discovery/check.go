package discovery

import (
	"context"
	"fmt"
)

// LostError is about a node that its cluster goes on without.
type LostError struct {
	Endpoint Endpoint // of the node's TCP API
	Leader   Endpoint // of the leader's
}

// Error names both nodes.
func (e *LostError) Error() string {
	return fmt.Sprintf("discovery: the cluster goes on without the node %s: %s leads it", e.Endpoint, e.Leader)
}

// Check asks the cluster whether the node with this TCP endpoint still belongs to it, for a client that is connected to
// the node and would not notice otherwise. The error is a *LostError if most of the nodes have a leader who takes it
// for dead, or if it calls itself leader and they have a later one. Where nobody can tell, it is nil.
//
// It costs one request, to a node chosen at random, as long as nothing looks wrong, and none if there is no other node.
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

// others returns the HTTP endpoints of the other nodes, in random order. known is false if the node itself is not one
// of those that the last attempt saw.
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

// vouches reports whether another node sees the node alive, in a cluster with one leader.
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

// testimony is what a node says, by which it is known: Member is its description of itself.
type testimony struct {
	Member
	members []Member
}

// aliveAmong counts the nodes that take part in the cluster, and those of them that are alive.
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

// denies reports whether it says that a node is dead.
func (t *testimony) denies(is func(Member) bool) bool {
	for _, m := range t.members {
		if is(m) {
			return !m.Alive
		}
	}
	return false
}

// latestLeader returns the latest of those who call themselves leader and see most of the cluster; nil if there is
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

// leaderWithout returns the leader of a cluster that goes on without the node with this TCP endpoint; nil if it does
// not, or if that is not known.
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
